"""The optimizer Muon: what its steps are, which weights it is for, and that its runs resume."""

import pytest
import torch

from models import build_network
from models.checkpoints import read_checkpoint
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from training.loop.engine import make_optimizer
from training.loop.muon import (
    Muon,
    _orthogonal,
    _orthogonal_by_gram,
    orthogonalize,
    orthogonalize_all,
    shape_classes,
)
from training.stages.novel_views import NovelViewStep, train_novel_views


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(16, 16), (12, 40), (40, 12)])
def test_orthogonalize_keeps_singular_vectors_and_evens_out_singular_values(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(3, shape[0], min(shape), generator=generator))
    right, _ = torch.linalg.qr(torch.randn(3, shape[1], min(shape), generator=generator))
    values = torch.logspace(0, -2, min(shape))
    even = left.mT @ orthogonalize(100 * (left * values) @ right.mT, dtype) @ right
    diagonal = even.diagonal(dim1=1, dim2=2)
    assert diagonal.min() > 0.3 and diagonal.max() < 1.4
    assert (even - torch.diag_embed(diagonal)).abs().max() < 0.05


def test_gram_matrices_give_what_the_steps_on_the_matrix_itself_give():
    generator = torch.Generator().manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(2, 24, 24, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(2, 90, 24, generator=generator))
    # The smallest singular values lie below what the steps even out; the last one is 0.
    values = torch.cat([torch.logspace(0, -4, 23), torch.zeros(1)])
    x = (left * values) @ right.mT / values.norm()
    torch.testing.assert_close(_orthogonal_by_gram(x), _orthogonal(x), rtol=1e-3, atol=2e-4)
    assert not _orthogonal_by_gram(torch.zeros(1, 4, 9)).any()


@pytest.mark.parametrize("padding", [0, 1e12])
def test_matrices_of_one_class_are_orthogonalized_as_each_alone(padding):
    generator = torch.Generator().manual_seed(0)
    shapes = [(8, 20), (20, 8), (8, 20), (6, 20), (3, 4), (30, 10), (16, 16)]
    matrices = [torch.randn(shape, generator=generator) for shape in shapes]
    together = orthogonalize_all(matrices, torch.float32, padding)
    for matrix, ours in zip(matrices, together, strict=True):
        alone = orthogonalize(matrix[None], torch.float32)[0]
        torch.testing.assert_close(ours, alone, rtol=1e-4, atol=1e-5)


def test_shapes_join_a_class_where_zeros_are_cheap():
    shapes = [(64, 576), (64, 576), (32, 576), (32, 288), (600, 600)]
    assert shape_classes(shapes, 0) == {shape: shape for shape in shapes}
    joined = shape_classes(shapes, 1e9)
    assert joined[(64, 576)] == joined[(32, 576)] == joined[(32, 288)] == (64, 576)
    assert joined[(600, 600)] == (600, 600)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_learning_rate_in_a_tensor_makes_the_same_steps(layout):
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3), torch.nn.Conv2d(8, 4, 1)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    rate = torch.tensor(0.1)
    steps = [
        Muon(network.to(memory_format=layout).parameters(), lr=lr, weight_decay=0.01, fused=True)
        for network, lr in ((ours, rate), (theirs, 0.1))
    ]
    for lr in (0.1, 0.01):
        rate.fill_(lr)
        for group in steps[1].param_groups:
            group["lr"] = lr
        gradients = [torch.randn_like(parameter) for parameter in ours.parameters()]
        for network, optimizer in zip((ours, theirs), steps, strict=True):
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter.grad = gradient.clone(memory_format=torch.preserve_format)
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert a.stride() == b.stride()
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_steps_are_orthogonal_for_convolutions_of_features_and_those_of_adam_elsewhere():
    torch.manual_seed(0)
    network = torch.nn.ModuleDict(
        {"image": torch.nn.Conv2d(3, 8, 3), "hidden": torch.nn.Conv2d(8, 4, 3), "linear": torch.nn.Linear(6, 5)}
    )
    other = torch.nn.ModuleDict(
        {"image": torch.nn.Conv2d(3, 8, 3), "hidden": torch.nn.Conv2d(8, 4, 3), "linear": torch.nn.Linear(6, 5)}
    )
    other.load_state_dict(network.state_dict())
    before = network["hidden"].weight.detach().clone()
    options = {"lr": 0.1, "weight_decay": 0.01, "fused": True}
    optimizers = [Muon(network.parameters(), **options), torch.optim.AdamW(other.parameters(), **options)]
    for parameters in zip(network.parameters(), other.parameters(), strict=True):
        gradient = torch.randn_like(parameters[0])
        for parameter in parameters:
            parameter.grad = gradient.clone()
    for optimizer in optimizers:
        optimizer.step()
    for (name, ours), theirs in zip(network.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs) == (name != "hidden.weight"), name
    change = (network["hidden"].weight - before * (1 - 0.1 * 0.01)).detach().flatten(1)
    singular = torch.linalg.svdvals(change)
    assert singular.max() / singular.min() < 2.5
    assert change.square().mean().sqrt() == pytest.approx(0.1 * 0.5, rel=0.3)


def test_the_config_names_the_optimizer(tmp_path):
    config = tiny_config(tmp_path, tmp_path, optimizer="muon")
    parameters = build_network(config).stage1_parameters()
    assert isinstance(make_optimizer(parameters, config), Muon)
    assert type(make_optimizer(parameters, {**config, "optimizer": "adam"})) is torch.optim.AdamW
    # a pose decoder has no convolution at all
    assert isinstance(make_optimizer([torch.nn.Parameter(torch.ones(3, 2))], config), Muon)


def test_a_run_with_muon_resumes_as_if_unbroken(tmp_path, monkeypatch):
    data = write_synthetic_layout(tmp_path / "train", size=SIZE, subjects=(1, 5), sequences_per_subject=3, instants=4)
    config = tiny_config(data, tmp_path / "whole", optimizer="muon")
    whole = train_novel_views(config)
    config["output_folder"] = str(tmp_path / "broken")
    step = NovelViewStep.__call__

    def break_off(self, batch, iteration):
        if iteration == 5:  # two after the last checkpoint
            raise RuntimeError("pulled the plug")
        return step(self, batch, iteration)

    with monkeypatch.context() as broken:
        broken.setattr(NovelViewStep, "__call__", break_off)
        with pytest.raises(RuntimeError, match="pulled the plug"):
            train_novel_views(config)
    resumed = train_novel_views(config, resume=True)
    assert resumed.path.name == whole.path.name
    ours, theirs = (read_checkpoint(folder.last_network).weights for folder in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_memory_layout_of_a_kernel_does_not_change_its_step():
    torch.manual_seed(0)
    kernels = [torch.nn.Parameter(torch.randn(6, 5, 3, 3))]
    gradient = torch.randn(6, 5, 3, 3)
    kernels.append(torch.nn.Parameter(kernels[0].detach().clone(memory_format=torch.channels_last)))
    for kernel in kernels:
        optimizer = Muon([kernel], lr=0.1, weight_decay=0.0, fused=True)
        optimizer.dtype = torch.float32
        kernel.grad = gradient.clone(
            memory_format=torch.channels_last if kernel is kernels[1] else torch.contiguous_format
        )
        optimizer.step()
    assert kernels[0].stride() != kernels[1].stride()
    torch.testing.assert_close(*kernels, rtol=1e-5, atol=1e-5)
