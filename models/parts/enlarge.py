"""Doubling the side of feature maps, bilinear with aligned corners, as published."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Enlarge(nn.Upsample):
    """Bilinear (B,C,n,n) -> (B,C,2n,2n), corners aligned, for maps of one side `n`: as two products on CUDA.

    The products give what `nn.Upsample` gives, to rounding. There is nothing to train or to store.
    """

    def __init__(self, side: int):
        super().__init__(scale_factor=2, mode="bilinear", align_corners=True)
        self.register_buffer("matrix", enlargement(side), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # On a GPU the gradient of interpolation is a scattered addition in float32, which autocast asks for: a quarter
        # of the published step. That of a product is a product, in bfloat16 (measured on an H100).
        return enlarge(x, self.matrix) if x.is_cuda else super().forward(x)


def enlargement(side: int) -> torch.Tensor:
    """The matrix (2n,n) that interpolates n values at 2n places, from the first value to the last, n = `side`."""
    places = torch.arange(2 * side) * ((side - 1) / (2 * side - 1))
    return (1 - (places[:, None] - torch.arange(side)).abs()).clamp(min=0)


def enlarge(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """(B,C,n,n) -> (B,C,2n,2n) in the same memory layout; `matrix` (2n,n) acts on the rows, and on the columns."""
    if not x.is_contiguous(memory_format=torch.channels_last):
        return matrix @ x @ matrix.T
    # In channels-last memory a row of pixels is one row of a matrix, so that nothing is copied.
    batch, channels, height, width = x.shape
    rows = matrix @ x.permute(0, 2, 3, 1).reshape(batch, height, width * channels)
    pixels = matrix @ rows.reshape(batch * 2 * height, width, channels)
    return pixels.reshape(batch, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)


def enlarge_and_convolve(x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """`conv`, of 3x3 with padding 1, of the enlarged x: (B,C,n,n) -> (B,C',2n,2n), on a CPU.

    The enlarged map is four times as large as x and cheap to compute: it is computed again in the backward pass and not
    kept until then. Unlike with `torch.utils.checkpoint`, the convolution is not.
    """
    autocast = torch.is_autocast_enabled(x.device.type)
    dtype = torch.get_autocast_dtype(x.device.type) if autocast else conv.weight.dtype
    return _EnlargedConvolution.apply(x.to(dtype), conv.weight.to(dtype), conv.bias.to(dtype))


class _EnlargedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(x, weight)
        return functional.conv2d(_interpolate(x), weight, bias, padding=1)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, weight = context.saved_tensors
        enlarged = _interpolate(x)
        geometry = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)  # stride, padding, dilation, transposed, ..., groups
        to_enlarged, to_weight, to_bias = torch.ops.aten.convolution_backward(
            gradient, enlarged, weight, [len(weight)], *geometry, [True, True, True]
        )
        to_x = torch.ops.aten.upsample_bilinear2d_backward(to_enlarged, enlarged.shape[2:], x.shape, True)
        return to_x, to_weight, to_bias


def _interpolate(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
