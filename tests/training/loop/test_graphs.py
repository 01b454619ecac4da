"""A captured step trains as an eager one does, to the bit, wherever its run began; the GPU is emulated on a CPU."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import BatchNorm2d

from configs.config_robust import AUGMENTATION
from models import build_network
from tests.recorded_graph import record
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config, tiny_pose_config
from training.loop.engine import OPTIMIZERS, learning_rate, load_optimizer_state, set_learning_rate
from training.loop.graphs import WARM_UP, CapturedStep, StaticTensors, make_step
from training.loop.hardware import Hardware
from training.loop.loaders import VIEW_KEYS, open_training_set
from training.stages.labels import CachedLatents
from training.stages.losses import ImageLoss
from training.stages.novel_views import NovelViewStep
from training.stages.pose import PoseStep

CPU = torch.device("cpu")
ITERATIONS = 9
CHANGES = {
    "adam": {"augment_mirror": True, "augment_color": 0.3, "augment_rotation": 20.0, "latent_dropout": 0.3},
    "input view": {**AUGMENTATION, "augment_mirror": True},
    "muon": {"optimizer": "muon", "precision": "bfloat16", "color_by_appearance": True, "add_background": True},
    "EfficientNetLite0": {"encoderType": "EfficientNetLite0", "precision": "bfloat16"},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = write_synthetic_layout(tmp_path_factory.mktemp("data") / "train", size=SIZE, sequences_per_subject=3)
    return open_training_set(tiny_config(root, "", preload_images=True), VIEW_KEYS)


class Run:
    """A training on rows of `dataset`, as it would be on a GPU."""

    def __init__(self, dataset, changes: dict, captured: bool, rate_on_device: bool = True):
        total = {"num_training_iterations": ITERATIONS, "learning_rate_schedule": "cosine"}
        self.config = tiny_config("", "", **total, **changes)
        torch.manual_seed(0)
        hardware = Hardware("cpu", self.config["precision"])
        self.network = hardware.place(build_network(self.config))
        parameters = self.network.to_pose.requires_grad_(False) and self.network.stage1_parameters()
        rate = torch.tensor(1e-3) if rate_on_device else 1e-3
        self.optimizer = OPTIMIZERS[self.config["optimizer"]](parameters, lr=rate, weight_decay=0.01, fused=True)
        criterion = ImageLoss(self.config)
        self.step = NovelViewStep(self.network, criterion, self.optimizer, hardware, self.config, dataset)
        if captured:
            self.step.train = CapturedStep(self.step.compute, CPU, record)

    def train(self, first: int, last: int) -> list[dict[str, float]]:
        losses = []
        for iteration in range(first, last + 1):
            set_learning_rate(self.optimizer, learning_rate(self.config, iteration))
            batch = {"row": torch.from_numpy(np.arange(8) + 4 * iteration)}
            losses.append(self.step(batch, iteration))
        return [{name: float(value) for name, value in each.items()} for each in losses]

    def same_weights(self, other: "Run") -> bool:
        ours, theirs = self.network.state_dict(), other.network.state_dict()
        return all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("kind", CHANGES)
def test_captured_steps_are_those_of_eager_training(dataset, kind):
    eager, captured = (Run(dataset, CHANGES[kind], captured) for captured in (False, True))
    losses = eager.train(1, ITERATIONS)
    assert captured.train(1, ITERATIONS) == losses
    assert captured.step.train.calls == ITERATIONS > WARM_UP + 3 and captured.step.train.launch is not None
    assert captured.same_weights(eager) and len({each["loss"] for each in losses}) == ITERATIONS
    counters = [
        next(part.num_batches_tracked for part in run.network.encoder.modules() if isinstance(part, BatchNorm2d))
        for run in (eager, captured)
    ]
    assert counters[0] == counters[1] == ITERATIONS


@pytest.mark.parametrize("kind", CHANGES)
def test_a_captured_run_resumes_as_if_unbroken(dataset, kind):
    whole, first, second = (Run(dataset, CHANGES[kind], captured=True) for _ in range(3))
    losses = whole.train(1, ITERATIONS)
    first.train(1, 5)
    second.network.load_state_dict(first.network.state_dict())
    load_optimizer_state(second.optimizer, copy.deepcopy(first.optimizer.state_dict()))
    assert second.train(6, ITERATIONS) == losses[5:] and second.same_weights(whole)


def train_poses(captured: bool) -> tuple[list[float], dict[str, torch.Tensor]]:
    augmented = {"augment_mirror": True, "augment_yaw": 180.0, "augment_points": 0.1, "pose_variance_floor": 0.1}
    config = tiny_pose_config("", "", None, num_training_iterations=ITERATIONS, dropout_to3Dpose=0.3, **augmented)
    torch.manual_seed(0)
    network = build_network(config).requires_grad_(False)
    network.to_pose.requires_grad_(True)
    optimizer = OPTIMIZERS["adam"](network.stage2_parameters(), lr=torch.tensor(1e-3), weight_decay=0.01, fused=True)
    latents = CachedLatents.__new__(CachedLatents)
    shapes = {"points": (20, 10, 3), "mirrored_points": (20, 10, 3), "3D": (20, 51), "vertical": (20, 3)}
    latents.tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    step = PoseStep(network, optimizer, Hardware("cpu", "float32"), config, latents)
    if captured:
        step.train = CapturedStep(step.compute, CPU, record)
    losses = []
    for iteration in range(1, ITERATIONS + 1):
        rows = np.arange(8) + iteration
        batch = {"row": torch.from_numpy(rows)} if captured else next(latents.read([rows]))
        losses.append(float(step(batch, iteration)["loss"]))
        if iteration == 6:
            network.eval()  # as an evaluation does
    return losses, network.state_dict()


def test_captured_steps_of_stage_2_are_those_of_eager_training():
    (losses, weights), (ours, our_weights) = train_poses(captured=False), train_poses(captured=True)
    assert ours == losses and len(set(losses)) == ITERATIONS
    assert all(torch.equal(our_weights[name], weights[name]) for name in weights)


def test_what_does_not_lie_in_a_tensor_stays_as_it_was_captured(dataset):
    # the emulation forgives nothing that a GPU would not
    eager, captured = (Run(dataset, CHANGES["adam"], kind, rate_on_device=False) for kind in (False, True))
    losses = [run.train(1, ITERATIONS) for run in (eager, captured)]
    assert losses[0][: WARM_UP + 2] == losses[1][: WARM_UP + 2] and losses[0] != losses[1]


def test_where_nothing_is_captured_training_goes_on(dataset, capsys):
    def fails(run, device):
        raise RuntimeError("operation not permitted when stream is capturing\nand a page of details")

    eager, broken = (Run(dataset, CHANGES["adam"], captured=False) for _ in range(2))
    broken.step.train = CapturedStep(broken.step.compute, CPU, fails)
    assert broken.train(1, ITERATIONS) == eager.train(1, ITERATIONS) and broken.same_weights(eager)
    assert capsys.readouterr().out.count("no CUDA graph, which is slower: operation not permitted") == 1


def test_an_optimizer_loads_what_one_on_another_device_saved():
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    # as on a GPU, and as on a CPU
    saved = torch.optim.AdamW([parameter], lr=torch.tensor(0.5), fused=True, capturable=True)
    saved.step()
    other = torch.optim.AdamW([parameter], lr=0.1, fused=True)
    load_optimizer_state(other, saved.state_dict())
    assert other.param_groups[0]["lr"] == 0.1 and not other.param_groups[0]["capturable"]
    rate = saved.param_groups[0]["lr"]
    load_optimizer_state(saved, other.state_dict())
    assert saved.param_groups[0]["lr"] is rate and saved.param_groups[0]["capturable"]
    assert saved.state[parameter]["step"] == 1


def test_static_tensors_keep_their_places_types_and_shapes():
    generator = torch.Generator().manual_seed(0)

    def values():
        return {
            "flags": torch.rand(3, generator=generator) < 0.5,
            "rows": torch.randint(0, 1000, (5,), generator=generator),
            "rolls": torch.rand(3, 2, 2, generator=generator),
            "crops": torch.randint(0, 255, (2, 3, 512, 512), dtype=torch.uint8, generator=generator),
        }

    static = StaticTensors(values(), CPU)
    places = {name: tensor.data_ptr() for name, tensor in static.tensors.items()}
    for _ in range(2):
        given = values()
        static.fill(given)
        assert given.keys() == static.tensors.keys()
        assert all(torch.equal(tensor, given[name]) for name, tensor in static.tensors.items())
        assert places == {name: tensor.data_ptr() for name, tensor in static.tensors.items()}
    assert set(static.packed) == {"flags", "rows", "rolls"}
    with pytest.raises(ValueError, match=r"rows.*\[4\].*expected.*\[5\]"):
        static.fill({**values(), "rows": torch.arange(4)})


def test_what_is_captured_where(monkeypatch):
    class Place:
        device = torch.device("cuda")

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    def captures(wanted: str) -> bool:
        return isinstance(make_step(lambda inputs: inputs, {"compile": wanted}, Place()), CapturedStep)

    assert [captures(wanted) for wanted in ("auto", "always", "never")] == [True, True, False]
    monkeypatch.setattr("training.loop.graphs.world_size", lambda: 2)
    assert not captures("auto")
    monkeypatch.undo()
    Place.device = CPU
    assert not captures("auto") and not captures("always")
