"""`compile`: the same training as without, as one graph, and no step waits for the device."""

import pytest
import torch
from torch._dynamo.utils import counters

from models import build_network
from models.checkpoints import read_checkpoint
from tests.networks import some_inputs
from tests.processes import run_processes
from tests.runs import Died, die_at, losses
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from tests.waiting import NoWaiting, copy_to_a_pretended_gpu, train_on_a_pretended_gpu
from training.loop import compiling, progress
from training.loop.compiling import compile_training
from training.loop.engine import make_optimizer, seed_everything
from training.loop.hardware import Hardware
from training.stages.losses import ImageLoss
from training.stages.novel_views import NovelViewStep, train_novel_views
from utils.errors import UserError

CPU = torch.device("cpu")
# the fewest layers that still have all that a graph must hold
SMALLEST = {
    "encoderType": "UNet", "num_encoding_layers": 2, "latent_fg": 4, "latent_3d": 6, "precision": "float32",
    "num_training_iterations": 4, "test_every": 2, "compile": "always",
}  # fmt: skip
AUGMENTED = {
    "augment_mirror": True, "augment_rotation": 20.0, "augment_color": 0.3, "target_other_view": True,
    "add_background": True, "loss_weight_gradient": 1.0, "loss_weight_imageNet": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data") / "train", size=SIZE, sequences_per_subject=3)


@pytest.fixture
def compiler():
    """Compiling starts afresh, and a second compilation of anything is an error."""
    if reason := compiling.why_not_compiled(CPU):
        pytest.skip(f"nothing can be compiled here: {reason}")
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield


def test_compiled_training_has_the_losses_of_eager_training_and_one_graph(data, tmp_path, compiler):
    config = {**tiny_config(data, tmp_path, latent_dropout=0.0), **SMALLEST}
    compiled = losses(train_novel_views(config))
    graphs, breaks = counters["stats"]["unique_graphs"], dict(counters["graph_break"])
    eager = losses(train_novel_views({**config, "compile": "never", "output_folder": str(tmp_path / "eager")}))
    assert len(eager) == 4 and eager[1] != eager[4]
    assert compiled == pytest.approx(eager, rel=1e-4)
    assert graphs == 2 and not breaks  # the trial's and the step's


def test_compiled_training_resumes_and_repeats_what_an_unbroken_run_does(data, tmp_path, compiler, monkeypatch):
    config = {**tiny_config(data, tmp_path / "whole", latent_dropout=0.0), **SMALLEST}
    whole = train_novel_views(config)
    config["output_folder"] = str(tmp_path / "halves")
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, 4)
        train_novel_views(config)
    torch._dynamo.reset()
    resumed = train_novel_views(config, resume=True)
    assert losses(resumed) == losses(whole) and len(losses(whole)) == 4
    ours, theirs = (read_checkpoint(run.last_network).weights for run in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_compiled_dropout_is_a_function_of_seed_and_iteration(compiler):
    dropout, ones = torch.compile(torch.nn.Dropout(0.5)), torch.ones(64)
    masks = []
    for iteration in (5, 6, 5):
        seed_everything(0, iteration)
        masks.append(dropout(ones))
    assert torch.equal(masks[0], masks[2]) and not torch.equal(masks[0], masks[1])


# on top of the smallest network
VARIANTS = {
    "everything": AUGMENTED,
    "learned rotation": {"implicit_rotation": True},
    "nothing of the background": {"skip_background": False},
    "transposed convolutions": {"upsampling_bilinear": False, "MAE": False},
    "residual": {"encoderType": "ResNet18", "precision": "bfloat16"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_network_is_one_graph(variant):
    torch._dynamo.reset()
    step = make_step(tiny_config("", "", **{**SMALLEST, "compile": "never", **VARIANTS[variant]}))
    inputs = step.prepare(make_batch(), torch.Generator().manual_seed(0))
    losses = torch.compile(step.compare, backend="eager", fullgraph=True, dynamic=False)
    with step.hardware.autocast():
        losses(inputs)["loss"].backward()
    assert step.network.decoder.to_image.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("changes", [{}, AUGMENTED, {"optimizer": "muon"}])
def test_no_step_waits_for_the_device(changes):
    step, batch = make_step(tiny_config("", "", **changes)), make_batch()
    step(batch, 1)
    with NoWaiting("cpu") as watch:
        step(batch, 2)
        step(batch, 3)
    assert {"convolution_backward.default", "_fused_adamw_.default"} <= watch.seen


@pytest.mark.parametrize(("held", "optimizer"), [("always", "adam"), ("never", "adam"), ("always", "muon")])
def test_no_step_waits_for_a_gpu(data, held, optimizer):
    config = tiny_config(data, "", preload_images=True, crops_on_device=held, optimizer=optimizer, **AUGMENTED)
    assert run_processes(1, train_on_a_pretended_gpu, config) == [0]


def test_what_waits_for_the_device_is_found():
    values = torch.ones(3)
    for waits in (lambda: values[values > 0], lambda: values.sum().item(), lambda: bool(values[0] > 0)):
        with pytest.raises(AssertionError, match="waits"), NoWaiting("cpu"):
            waits()
    assert run_processes(1, copy_to_a_pretended_gpu) == [0]


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
    module = torch.nn.Linear(2, 2)
    monkeypatch.setattr(compiling, "why_not_compiled", lambda device: None)
    modes = []
    monkeypatch.setattr("torch.compile", lambda module, dynamic, mode: modes.append((dynamic, mode)) or module)
    compiled = [compile_training(module, {"compile": wanted}, CPU) for wanted in ("auto", "never", "always")]
    assert compiled[0] is compiled[1] is module is not compiled[2]
    assert compile_training(module, {"compile": "auto"}, torch.device("cuda")) is not module
    assert compile_training(module, {"compile": "never"}, torch.device("cuda")) is module
    assert modes == [(False, None), (False, "reduce-overhead")]
    monkeypatch.setattr("ignite.distributed.get_world_size", lambda: 2)
    assert compile_training(module, {"compile": "auto"}, torch.device("cuda")) is module


def test_without_a_compiler_auto_goes_on_and_always_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    module = torch.nn.Linear(2, 2)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    with torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        with pytest.raises(UserError, match=r"compile is 'always'.*no-such-compiler.*expected auto or never") as error:
            compile_training(module, {"compile": "always"}, CPU)
        assert "\n" not in str(error.value)
        monkeypatch.setattr(compiling, "compiles_by_default", lambda device: True)
        assert compile_training(module, {"compile": "auto"}, CPU) is module
    assert "not compiled" in capsys.readouterr().out


def test_several_processes_are_not_compiled(monkeypatch):
    monkeypatch.setattr("ignite.distributed.get_world_size", lambda: 2)
    with pytest.raises(UserError, match="several processes"):
        compile_training(torch.nn.Linear(2, 2), {"compile": "always"}, CPU)


def make_step(config) -> NovelViewStep:
    torch.manual_seed(0)
    hardware = Hardware("cpu", config["precision"])
    network = hardware.place(build_network(config))
    network.to_pose.requires_grad_(False)
    optimizer = make_optimizer(network.stage1_parameters(), config)
    return NovelViewStep(network, hardware.place(ImageLoss(config)), optimizer, hardware, config)


def make_batch(count=8) -> dict[str, torch.Tensor]:
    """As `MultiViewDataset` gives it."""
    batch = some_inputs(SIZE, batch=count)
    crops = {key: (60 * batch[key] + 128).clamp(0, 255).to(torch.uint8) for key in ("img_crop", "bg_crop")}
    return {key: crops.get(key, batch[key]) for key in (*crops, "extrinsic_rot", "extrinsic_rot_inv")}
