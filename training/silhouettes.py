"""Silhouettes without a label: where a frame is not its empty background, nor a shadow on it."""

import torch

from utils.geometry import at_least_float32
from utils.images import denormalize

_FAINT = 0.008  # mean difference of colors (0..1) that is noise
_CLEAR = 0.03  # and that is surely a person
_SHADOW = 0.7  # what a shadow leaves of the light, at least


@torch.no_grad()
def silhouettes(frames: torch.Tensor, backgrounds: torch.Tensor) -> torch.Tensor:
    """Where normalized `frames` differ from their `backgrounds` (B,3,H,W) by more than a shadow: (B,H,W) in 0..1.

    A shadow makes all colors of the background darker by one factor.
    """
    frames, backgrounds = (at_least_float32(denormalize(images)) for images in (frames, backgrounds))
    factor = (frames * backgrounds).sum(1, keepdim=True) / backgrounds.square().sum(1, keepdim=True).clamp(min=1e-4)
    difference = (frames - factor.clamp(_SHADOW, 1) * backgrounds).abs().mean(1)
    return ((difference - _FAINT) / (_CLEAR - _FAINT)).clamp(0, 1)
