"""Finding what makes the host wait for a GPU, where there is none: it is simulated with torch's fake tensors."""

import warnings
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from models import build_network
from training.loop import graphs
from training.loop.engine import learning_rate, make_optimizer, set_learning_rate
from training.loop.hardware import Hardware
from training.loop.loaders import VIEW_KEYS, cache_on_device, open_training_set, training_batches
from training.stages.labels import CachedLatents
from training.stages.losses import ImageLoss
from training.stages.novel_views import NovelViewStep
from training.stages.pose import PoseStep
from utils.transfer import to_device


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait for `device`: results, or their shapes, that only the device knows, and copies
    to it that are not asynchronous or not from pinned memory. Without a GPU, pinned memory is simulated too."""

    REFUSED = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique", "unique_")

    def __init__(self, device: str):
        super().__init__()
        self.device, self.seen, self.pinned = device, set(), []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name, kwargs = str(function).removeprefix("aten."), kwargs or {}
        self.seen.add(name)
        if name.startswith("_pin_memory"):
            self.pinned.append(args[0])
            return args[0]
        if name.startswith(self.REFUSED):
            assert args[0].device.type != self.device, f"{name} waits for the device"
        if name.startswith(("index.", "index_put", "_index_put_impl")):
            masks = [index for index in args[1] if index is not None and index.dtype in (torch.bool, torch.uint8)]
            assert not masks, f"{name} by a mask waits for the device"
        if name == "_fused_adamw_.tensor_lr" and self.device != "cpu":
            return None  # torch cannot simulate it; it changes its arguments, and gives nothing back
        result = function(*args, **kwargs)
        if name.startswith("_to_copy") and result.device != args[0].device:
            self._check_copy(args[0], result, kwargs.get("non_blocking"))
        if name.startswith("copy_") and args[0].device != args[1].device:
            self._check_copy(args[1], args[0], len(args) > 2 and args[2])
        return result

    def _check_copy(self, source: torch.Tensor, target: torch.Tensor, non_blocking: bool | None) -> None:
        at_once = non_blocking and any(source is tensor for tensor in self.pinned)
        assert at_once, f"a copy to {target.device} waits for the device"


@contextmanager
def simulated_gpu():
    """Tensors have shapes and devices, among them "cuda", but no values. Once in a process: torch 2.14 dies of two."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield


def train_on_a_simulated_gpu(config: dict) -> None:
    """Steps of stage 1, reading included; the backward pass needs a real GPU and is left out."""
    dataset = open_training_set(config, VIEW_KEYS)
    captured = []
    with simulated_gpu():
        hardware = Hardware("cuda", "float32")
        with torch.device("cuda"):
            network, criterion = build_network(config), ImageLoss(config)
        optimizer = make_optimizer(network.stage1_parameters(), config)
        dataset = cache_on_device(dataset, config, hardware.device)

        def read(rows):
            # torch's loader, which reads crops that travel, does not run on simulated tensors
            if config["crops_on_device"] == "never":
                return dataset.__getitems__(rows)
            return next(iter(training_batches(dataset, [rows], config)))

        def backward(loss):
            for parameter in network.parameters():
                parameter.grad = torch.empty_like(parameter)

        def capture(run, device):
            captured.append(device)
            return run

        with patch("torch.Tensor.backward", backward), patch.object(graphs, "capture_cuda_graph", capture):
            step = NovelViewStep(network, criterion, optimizer, hardware, config, dataset)
            for iteration in range(1, graphs.WARM_UP + 3):
                with NoWaiting("cuda") as watch:
                    set_learning_rate(optimizer, learning_rate(config, iteration))
                    losses = step(read(np.arange(8)), iteration)
    assert losses["loss"].device.type == "cuda" and len(captured) == (config["compile"] != "never")
    assert any(name.startswith("_fused_adamw_") for name in watch.seen)
    crops = 2 * 8 * 3 * config["inputDimension"] ** 2
    assert (sum(tensor.nbytes for tensor in watch.pinned) >= crops) == (config["crops_on_device"] == "never")
    # In a captured step all that is small travels at once.
    assert len(watch.pinned) == 1 if captured else len(watch.pinned) > 5


def train_poses_on_a_simulated_gpu(config: dict) -> None:
    """Steps of stage 2 on the points of a frozen encoder, without the backward pass."""
    captured = []
    with simulated_gpu():
        with torch.device("cuda"):
            network = build_network(config).requires_grad_(False)
            network.to_pose.requires_grad_(True)
            latents = CachedLatents.__new__(CachedLatents)
            shapes = {"points": (20, 10, 3), "mirrored_points": (20, 10, 3), "3D": (20, 51), "vertical": (20, 3)}
            latents.tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
        optimizer = make_optimizer(network.stage2_parameters(), config)

        def backward(loss):
            for parameter in network.to_pose.parameters():
                parameter.grad = torch.empty_like(parameter)

        def capture(run, device):
            captured.append(device)
            return run

        with patch("torch.Tensor.backward", backward), patch.object(graphs, "capture_cuda_graph", capture):
            step = PoseStep(network, optimizer, Hardware("cuda", "float32"), config, latents)
            for iteration in range(1, graphs.WARM_UP + 3):
                batch = next(iter(latents.read_training([np.arange(8)])))
                with NoWaiting("cuda") as watch:
                    losses = step(batch, iteration)
    assert losses["loss"].device.type == "cuda" and len(captured) == 1 and len(watch.pinned) == 1


def copy_to_a_simulated_gpu() -> None:
    """Copies that wait are found, and that of `to_device` does not."""
    with simulated_gpu():
        values = torch.ones(3)
        for waits in (lambda: torch.tensor([1.0, 2.0], device="cuda"), lambda: values.to("cuda", non_blocking=True)):
            with pytest.raises(AssertionError, match="waits"), NoWaiting("cuda"):
                waits()
        with NoWaiting("cuda"):
            assert to_device(values, torch.device("cuda")).is_cuda
