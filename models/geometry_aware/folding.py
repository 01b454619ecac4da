"""Batch norm folded into the convolution before it: the same function in eval mode, with less to compute."""

import copy
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy of `network` in eval mode, whose convolutions do what the batch norm behind them did.

    For testing only: it gives the same outputs (to rounding), and what it would learn is not what `network` would.
    `network` itself is left as it is. Batch norm that follows no convolution stays.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    with torch.no_grad():
        for parent, conv, norm in list(_pairs(folded)):
            setattr(parent, conv, fuse_conv_bn_eval(getattr(parent, conv), getattr(parent, norm)))
            setattr(parent, norm, nn.Identity())
    return folded


def _pairs(network: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Every (parent, name of a convolution, name of the batch norm that takes its output)."""
    for parent in network.modules():
        names = [name for name, _ in parent.named_children()]
        if isinstance(parent, nn.Sequential):
            candidates = pairwise(names)
        else:  # torchvision's names: conv1 and bn1, conv2 and bn2
            candidates = ((name, name.replace("conv", "bn")) for name in names if name.startswith("conv"))
        for conv, norm in candidates:
            is_conv = isinstance(getattr(parent, conv), nn.Conv2d)
            if is_conv and isinstance(getattr(parent, norm, None), nn.BatchNorm2d):
                yield parent, conv, norm
