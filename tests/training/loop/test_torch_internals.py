"""One graph, and no step that waits for the device: tests by torch's own parts, which change with its releases."""

import functools

import pytest
import torch

from models import build_network
from tests.networks import some_inputs
from tests.processes import run_processes
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, SMALLEST, tiny_config, tiny_pose_config
from training.loop import compiling
from training.loop.compiling import compile_training
from training.loop.engine import make_optimizer, seed_everything
from training.loop.hardware import Hardware
from training.stages.losses import ImageLoss
from training.stages.novel_views import NovelViewStep, train_novel_views
from utils.errors import UserError

# Verified with 2.14. Other releases may lack these parts, or count otherwise, where training itself works.
VERSION = tuple(map(int, torch.__version__.split(".")[:2]))
pytestmark = pytest.mark.skipif(not (2, 14) <= VERSION < (2, 15), reason="looks into torch as of 2.14")
waiting = pytest.importorskip("tests.waiting", exc_type=ImportError)

CPU = torch.device("cpu")
AUGMENTED = {
    "augment_mirror": True, "augment_rotation": 20.0, "augment_color": 0.3, "target_other_view": True,
    "add_background": True, "loss_weight_gradient": 1.0, "loss_weight_imageNet": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data") / "train", size=SIZE, sequences_per_subject=3)


def test_training_is_one_graph(data, tmp_path, monkeypatch):
    from torch._dynamo.utils import counters

    eager = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr("torch.compile", lambda module, dynamic=None: eager(module, dynamic=dynamic))
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(error_on_recompile=True):
        train_novel_views({**tiny_config(data, tmp_path), **SMALLEST})
    # the trial's and the step's
    assert counters["stats"]["unique_graphs"] == 2 and not counters["graph_break"]


def test_compiled_dropout_is_a_function_of_seed_and_iteration():
    if reason := compiling.why_not_compiled(CPU):
        pytest.skip(f"nothing can be compiled here: {reason}")
    torch._dynamo.reset()
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
    batch = make_batch()
    inputs = step.prepare(batch | step.draw(batch, torch.Generator().manual_seed(0)))
    losses = torch.compile(step.compare, backend="eager", fullgraph=True, dynamic=False)
    with step.hardware.autocast():
        losses(inputs)["loss"].backward()
    assert step.network.decoder.to_image.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("changes", [{}, AUGMENTED, {"optimizer": "muon"}])
def test_no_step_waits_for_the_device(changes):
    step, batch = make_step(tiny_config("", "", **changes)), make_batch()
    step(batch, 1)
    with waiting.NoWaiting("cpu") as watch:
        step(batch, 2)
        step(batch, 3)
    assert {"convolution_backward.default", "_fused_adamw_.default"} <= watch.seen


@pytest.mark.parametrize(
    ("held", "optimizer", "compiled"),
    [("always", "adam", "auto"), ("never", "adam", "auto"), ("always", "muon", "auto"), ("never", "muon", "never")],
)
def test_no_step_waits_for_a_gpu(data, held, optimizer, compiled):
    changes = {"crops_on_device": held, "optimizer": optimizer, "compile": compiled, **AUGMENTED}
    config = tiny_config(data, "", preload_images=True, **changes)
    assert run_processes(1, waiting.train_on_a_simulated_gpu, config) == [0]


def test_no_step_of_stage_2_waits_for_a_gpu():
    augmented = {"augment_mirror": True, "augment_yaw": 180.0, "augment_points": 0.1, "pose_variance_floor": 0.1}
    assert run_processes(1, waiting.train_poses_on_a_simulated_gpu, tiny_pose_config("", "", None, **augmented)) == [0]


def test_what_waits_for_the_device_is_found():
    values = torch.ones(3)
    for waits in (lambda: values[values > 0], lambda: values.sum().item(), lambda: bool(values[0] > 0)):
        with pytest.raises(AssertionError, match="waits"), waiting.NoWaiting("cpu"):
            waits()
    assert run_processes(1, waiting.copy_to_a_simulated_gpu) == [0]


def test_without_a_compiler_auto_goes_on_and_always_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    module = torch.nn.Linear(2, 2)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    with torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        with pytest.raises(UserError, match=r"compile is 'always'.*no-such-compiler.*expected auto or never") as error:
            compile_training(module, {"compile": "always"}, CPU)
        assert "\n" not in str(error.value)
        monkeypatch.setattr(compiling, "compiles_by_default", lambda config, device: True)
        assert compile_training(module, {"compile": "auto"}, CPU) is module
    assert "not compiled" in capsys.readouterr().out


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
