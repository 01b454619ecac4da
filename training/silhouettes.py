"""Silhouettes without a label: where a frame is not its empty background, nor a shadow on it."""

import torch

from utils.geometry import at_least_float32
from utils.images import denormalize

_FAINT = 0.008  # mean difference of colors (0..1) that is noise
_CLEAR = 0.03  # and that is surely a person
_SHADOW = 0.7  # what a shadow leaves of the light, at least
_BLACK = 1e-4  # square of a color so dark (black borders of crops) that no shadow shows on it


@torch.no_grad()
def silhouettes(frames: torch.Tensor, backgrounds: torch.Tensor) -> torch.Tensor:
    """Where normalized `frames` differ from their `backgrounds` (B,3,H,W) by more than a shadow: (B,H,W) in 0..1.

    A shadow makes all colors of the background darker by one factor.
    """
    return _people_and_shadows(frames, backgrounds)[0]


@torch.no_grad()
def hidden_shares(frames: torch.Tensor, backgrounds: torch.Tensor) -> torch.Tensor:
    """How much normalized `frames` hide of their `backgrounds` (B,3,H,W): (B,H,W) in 0..1.

    It is 1 where somebody is, and what a shadow takes of the light elsewhere.
    """
    people, shadows = _people_and_shadows(frames, backgrounds)
    return people.maximum(shadows)


def _people_and_shadows(frames: torch.Tensor, backgrounds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Silhouettes, and what a shadow would take of the light, both (B,H,W)."""
    frames, backgrounds = (at_least_float32(denormalize(images)) for images in (frames, backgrounds))
    light, reflected = (_BLACK + (images * backgrounds).sum(1, keepdim=True) for images in (backgrounds, frames))
    factor = (reflected / light).clamp(_SHADOW, 1)
    difference = (frames - factor * backgrounds).abs().mean(1)
    return ((difference - _FAINT) / (_CLEAR - _FAINT)).clamp(0, 1), 1 - factor.squeeze(1)
