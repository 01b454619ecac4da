"""What becomes of a run that ends early: it is stopped between iterations, and goes on without gaps."""

import os
import signal

import pytest
import torch

from tests.runs import Died
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from training.loop.engine import Stage, fit
from training.loop.run_folder import RunFolder
from utils.errors import UserError
from utils.interrupts import Terminated
from utils.locks import writing


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data"), size=SIZE, subjects=(1,), sequences_per_subject=1)


@pytest.fixture
def run(data, tmp_path):
    """The smallest run that the loop can do: `run(at, what)` calls `what` in the step of iteration `at`."""
    config = tiny_config(data, tmp_path, num_training_iterations=6, test_every=2, plot_every=4, print_every=1)
    config |= {"optimizer": "adam"}

    def run(at=None, what=None, plot=None) -> RunFolder:
        torch.manual_seed(0)
        network, folder = torch.nn.Linear(2, 1), RunFolder(config, "encode")
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)

        def step(batch, iteration):
            optimizer.zero_grad()
            loss = network(batch["x"]).square().mean()
            loss.backward()
            optimizer.step()
            if iteration == at:
                what()
            return {"loss": loss.detach()}

        def batches(first, last):
            return [{"x": torch.full((4, 2), float(iteration + 1))} for iteration in range(first, last)]

        def draw(path):
            if plot:
                plot(path)
            path.write_text(str(network.weight.sum().item()))

        fit(Stage(network, optimizer, step, lambda: {"loss": 1.0}, batches, "loss", draw), config, folder, resume=True)
        return folder

    return run


def contents(folder: RunFolder) -> dict:
    state = torch.load(folder.state_file, weights_only=True)
    pictures = {path.name: path.read_text() for path in folder.images.iterdir()}
    return {"pictures": pictures, "iteration": state["iteration"], "weight": state["network"]["weight"].tolist()}


@pytest.mark.parametrize(("sign", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_signals_let_the_iteration_end_and_the_run_goes_on(run, sign, error, tmp_path):
    with pytest.raises(error, match=r"interrupted at iteration 3; continue with --resume"):
        run(3, lambda: os.kill(os.getpid(), sign))
    stopped = contents(only_run(tmp_path))
    assert stopped["iteration"] == 3
    assert contents(run())["iteration"] == 6


@pytest.mark.parametrize("iteration", [4, 6])
def test_a_picture_that_a_kill_prevented_is_drawn_when_training_goes_on(run, iteration, tmp_path):
    def die(path):
        if path.name == f"example_{iteration:06d}.png":
            raise Died

    whole = contents(run())
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    with pytest.raises(Died):
        run(plot=die)
    killed = contents(only_run(tmp_path))
    assert killed["iteration"] == iteration and f"example_{iteration:06d}.png" not in killed["pictures"]
    assert contents(run()) == whole


def test_what_a_killed_run_was_writing_is_removed(run, tmp_path):
    folder = run()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    litter = [folder.models / f".network_last_val.pth.{pid}.part", folder.images / f".example_000004.png.{pid}.part"]
    litter += [folder.path / f".run.json.{pid}.part", folder.path.parent / f".latest.{pid}.part"]
    for path in litter:
        path.touch()
    run()
    assert not [path for path in litter if path.exists()]


def test_a_run_that_is_being_trained_is_not_opened_again(run, tmp_path):
    refused = []

    def start_again():
        with pytest.raises(UserError, match="is being written by this process") as error:
            run()
        refused.append(error)

    folder = run(3, start_again)
    assert refused and len((folder.path / "debug_log_training.txt").read_text().splitlines()) == 1 + 6
    with writing(folder.path):
        pass


def only_run(output) -> RunFolder:
    """The one run in an output folder."""
    folder = RunFolder.__new__(RunFolder)
    (folder.path,) = [path for path in output.iterdir() if path.is_dir() and not path.is_symlink()]
    folder.models, folder.images = folder.path / "models", folder.path / "images"
    folder.state_file = folder.models / "training_state.pth"
    return folder
