"""Doubling the side of feature maps, bilinear with aligned corners, as published."""

import torch
from torch import nn


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
