"""Residual blocks are torchvision's: the same tensors by name, the same random start, the same outputs to the bit."""

import subprocess
import sys

import pytest
import torch

from models.parts.blocks import BasicBlock, Bottleneck, residual_stage
from utils.paths import ROOT


@pytest.mark.parametrize("ours", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("stride", [1, 2])
def test_residual_stages_are_those_of_torchvision(ours, stride):
    from torchvision.models import resnet

    stages = []
    for block in (ours, getattr(resnet, ours.__name__)):
        torch.manual_seed(0)
        stages.append(residual_stage(block, 8, 4, 2, stride))
    first, second = (stage.state_dict() for stage in stages)
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    images = torch.randn(3, 8, 10, 10, requires_grad=True)
    outputs = [stage(images) for stage in stages]
    assert torch.equal(*outputs) and outputs[0].shape[2] == 10 // stride
    gradients = [torch.autograd.grad(output.square().sum(), images)[0] for output in outputs]
    assert torch.equal(*gradients)


@pytest.mark.parametrize(
    "module", ["geometry_aware_pose", "training.stages.novel_views", "training.trained.evaluation"]
)
def test_importing_a_program_imports_neither_torchvision_nor_the_compiler(module):
    # A second and 110 MiB of every start.
    heavy = ("torchvision", "torch._dynamo")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
