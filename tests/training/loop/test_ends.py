"""What becomes of a run that ends early: it is stopped between iterations, and goes on without gaps."""

import os
import signal

import pytest
import torch

from models.parts.weights import read_file
from tests.runs import Died, interrupt_at
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from training.loop import curves, provenance
from training.loop.engine import Stage, fit
from training.loop.run_folder import RunFolder
from training.stages.novel_views import train_novel_views
from training.stages.step import TrainingStep
from utils.errors import UserError
from utils.interrupts import Terminated
from utils.locks import writing


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data"), size=SIZE, subjects=(1,), sequences_per_subject=1)


class Batches:
    """Those of iterations first+1..last, made when they are asked for."""

    def __init__(self, first, last, look):
        self.iterations, self.look = range(first + 1, last + 1), look

    def __len__(self):
        return len(self.iterations)

    def __iter__(self):
        for iteration in self.iterations:
            self.look("read", iteration)
            yield {"x": torch.full((4, 2), float(iteration))}


@pytest.fixture
def run(data, tmp_path):
    """The smallest run that the loop can do: `run(at, what)` calls `what` in the step of iteration `at`.

    `look(phase, iteration)` is called in each phase: "batches" (before the first one), "read", "step", "test", "plot".
    """
    config = tiny_config(data, tmp_path, num_training_iterations=6, test_every=2, plot_every=4, print_every=1)
    config |= {"optimizer": "adam"}

    def run(at=None, what=None, plot=None, look=lambda phase, iteration: None) -> RunFolder:
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
            look("step", iteration)
            return {"loss": loss.detach()}

        def batches(first, last):
            look("batches", first)
            return Batches(first, last, look)

        def evaluate():
            state = optimizer.state[network.weight]
            look("test", int(state["step"]))
            return {"loss": float(network.weight.detach().square().sum())}

        def draw(path):
            if plot:
                plot(path)
            look("plot", int(path.stem.removeprefix("example_")))
            path.write_text(str(network.weight.sum().item()))

        fit(Stage(network, optimizer, step, evaluate, batches, "loss", draw), config, folder, resume=True)
        return folder

    return run


def contents(folder: RunFolder) -> dict:
    state = torch.load(folder.state_file, weights_only=True)
    pictures = {path.name: path.read_text() for path in folder.images.iterdir()}
    momenta = [held["exp_avg"].tolist() for held in state["optimizer"]["state"].values()]
    logs = [(folder.path / "debug_log_testing.txt").read_text()]
    logs += [[row.rpartition(",")[0] for row in (folder.path / "debug_log_training.txt").read_text().splitlines()]]
    weights = [
        [file.name, read_file(file)["weights"]["weight"].tolist()] for file in sorted(folder.models.glob("n*.pth"))
    ]
    numbers = {key: state[key] for key in ("iteration", "best", "best_iteration")}
    return numbers | {"pictures": pictures, "weights": weights, "momenta": momenta, "logs": logs}


@pytest.mark.parametrize(("sign", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_signals_let_the_iteration_end_and_the_run_goes_on(run, sign, error, tmp_path):
    with pytest.raises(error, match=r"interrupted at iteration 3; continue with --resume"):
        run(3, lambda: os.kill(os.getpid(), sign))
    stopped = contents(only_run(tmp_path))
    assert stopped["iteration"] == 3
    assert contents(run())["iteration"] == 6


def test_an_interrupted_run_whose_loss_is_not_finite_keeps_its_last_state(tmp_path, monkeypatch):
    interrupt_at(monkeypatch, 4)
    original = TrainingStep.__call__

    def call(self, batch, iteration):
        losses = original(self, batch, iteration)
        return {**losses, "loss": losses["loss"] * (torch.nan if iteration == 4 else 1)}

    monkeypatch.setattr(TrainingStep, "__call__", call)
    several = write_synthetic_layout(tmp_path / "data", size=SIZE, sequences_per_subject=3)
    config = tiny_config(several, tmp_path / "output", num_training_iterations=6, test_every=3, print_every=6)
    with pytest.raises(UserError, match=r"the loss became nan at iteration 4; .*the last good network"):
        train_novel_views(config)
    (folder,) = [path for path in (tmp_path / "output").iterdir() if not path.is_symlink()]
    assert torch.load(folder / "models" / "training_state.pth", weights_only=True)["iteration"] == 3


PHASES = [("batches", 0), ("plot", 0), ("read", 1), ("step", 1), ("read", 4), ("step", 4), ("test", 4), ("plot", 6)]


def test_wherever_a_run_is_interrupted_it_ends_as_if_it_was_not(run, tmp_path, monkeypatch):
    # They would take most of the time.
    monkeypatch.setattr(curves, "save_curves", lambda folder: None)
    monkeypatch.setattr(provenance, "commit", lambda: None)
    whole = contents(run())
    for phase in PHASES:
        remove_all(tmp_path)
        before = phase[1] - (phase[0] == "read")
        with pytest.raises(KeyboardInterrupt, match=f"interrupted at iteration {before};"):
            run(look=lambda *now, phase=phase: os.kill(os.getpid(), signal.SIGINT) if now == phase else None)
        assert contents(run()) == whole, phase


def remove_all(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.mark.parametrize("iteration", [4, 6])
def test_a_picture_that_a_kill_prevented_is_drawn_when_training_goes_on(run, iteration, tmp_path):
    def die(path):
        if path.name == f"example_{iteration:06d}.png":
            raise Died

    whole = contents(run())
    remove_all(tmp_path)
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
