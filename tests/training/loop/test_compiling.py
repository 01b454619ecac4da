"""`compile`: the same training as without, and what is compiled where."""

import pytest
import torch

from models.checkpoints import read_checkpoint
from tests.runs import Died, die_at, losses
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, SMALLEST, tiny_config
from training.loop import compiling, progress
from training.loop.compiling import compile_training
from training.stages.novel_views import train_novel_views
from utils.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data") / "train", size=SIZE, sequences_per_subject=3)


@pytest.fixture(scope="module")
def compiled(data, tmp_path_factory):
    """The config of a compiled training, and its run."""
    if reason := compiling.why_not_compiled(CPU):
        pytest.skip(f"nothing can be compiled here: {reason}")
    torch.compiler.reset()
    config = {**tiny_config(data, tmp_path_factory.mktemp("compiled"), latent_dropout=0.0), **SMALLEST}
    return config, train_novel_views(config)


def test_compiled_training_has_the_losses_of_eager_training(compiled, tmp_path):
    config, run = compiled
    eager = losses(train_novel_views({**config, "compile": "never", "output_folder": str(tmp_path)}))
    assert len(eager) == 4 and eager[1] != eager[4]
    assert losses(run) == pytest.approx(eager, rel=1e-4)


def test_compiled_training_resumes_and_repeats_what_an_unbroken_run_does(compiled, tmp_path, monkeypatch):
    config, whole = compiled
    config = {**config, "output_folder": str(tmp_path)}
    torch.compiler.reset()
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, 4)
        train_novel_views(config)
    torch.compiler.reset()
    resumed = train_novel_views(config, resume=True)
    assert losses(resumed) == losses(whole) and len(losses(whole)) == 4
    ours, theirs = (read_checkpoint(run.last_network).weights for run in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_losses_on_the_bar_are_those_that_have_arrived(monkeypatch):
    arrived = []

    def begin_copy(losses):
        arrived.append(False)
        number = len(arrived) - 1
        return lambda: arrived[number], losses

    shown = progress.ShownLosses()
    assert shown({"loss": torch.tensor(1.0)}) == {"loss": "1.0000"}  # on a CPU they are there
    monkeypatch.setattr(progress, "begin_copy", begin_copy)
    assert shown({"loss": torch.tensor(2.0)}) == {"loss": "1.0000"}
    assert shown({"loss": torch.tensor(3.0)}) == {"loss": "1.0000"} and len(arrived) == 1
    arrived[0] = True
    assert shown({"loss": torch.tensor(4.0)}) == {"loss": "2.0000"}
    assert shown({"loss": torch.tensor(5.0)}) == {"loss": "2.0000"} and len(arrived) == 2


def test_what_is_compiled_where(monkeypatch):
    module, gpu = torch.nn.Linear(2, 2), torch.device("cuda")
    monkeypatch.setattr(compiling, "why_not_compiled", lambda device: None)
    compiled = []
    monkeypatch.setattr("torch.compile", lambda module, dynamic: compiled.append(dynamic) or (lambda x: x))

    def compiles(wanted, device, iterations=compiling.COMPILED_ITERATIONS):
        config = {"compile": wanted, "num_training_iterations": iterations}
        return compile_training(module, config, device) is not module

    assert [compiles(wanted, CPU) for wanted in ("auto", "never", "always")] == [False, False, True]
    assert [compiles(wanted, gpu) for wanted in ("auto", "never", "always")] == [True, False, True]
    # compiling must pay for itself
    assert not compiles("auto", gpu, compiling.COMPILED_ITERATIONS - 1) and compiles("always", gpu, 1)
    assert set(compiled) == {False}
    monkeypatch.setattr(compiling, "world_size", lambda: 2)
    assert not compiles("auto", gpu)


def test_where_nothing_compiles_auto_goes_on_and_always_says_so_in_one_line(monkeypatch, capsys):
    def fails(*arguments, **options):
        raise RuntimeError("no compiler here\nand a page of details")

    module = torch.nn.Linear(2, 2)
    monkeypatch.setattr("torch.compile", fails)
    with pytest.raises(UserError, match=r"compile is 'always'.*no compiler here.*expected auto or never") as error:
        compile_training(module, {"compile": "always"}, CPU)
    assert "\n" not in str(error.value)
    monkeypatch.setattr(compiling, "compiles_by_default", lambda config, device: True)
    assert compile_training(module, {"compile": "auto"}, CPU) is module
    assert "not compiled" in capsys.readouterr().out


def test_several_processes_are_not_compiled(monkeypatch):
    monkeypatch.setattr(compiling, "world_size", lambda: 2)
    with pytest.raises(UserError, match="several processes"):
        compile_training(torch.nn.Linear(2, 2), {"compile": "always"}, CPU)
