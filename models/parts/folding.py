"""Batch norm folded into the convolution before it: the same function in eval mode, with less to compute."""

import copy
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return a copy of `network` in eval mode whose convolutions include the batch norm that followed them.

    Outputs are the same up to rounding. The copy is for testing only: its parameters are frozen, because training
    them would be another problem than training those of `network`. Batch norm that follows no convolution stays.
    """
    # In eval mode batch norm is an affine map per channel, which a convolution can do on the way: scaled kernels and
    # another bias. Folding saves one pass over every feature map.
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
        else:
            # Outside of a Sequential the order of children need not be that of the computation. torchvision's
            # names tell it: conv1 and bn1, conv2 and bn2.
            candidates = ((name, name.replace("conv", "bn")) for name in names if name.startswith("conv"))
        for conv, norm in candidates:
            is_conv = isinstance(getattr(parent, conv), nn.Conv2d)
            if is_conv and isinstance(getattr(parent, norm, None), nn.BatchNorm2d):
                yield parent, conv, norm
