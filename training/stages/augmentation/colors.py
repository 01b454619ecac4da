"""Colors: affine maps of them about mid-gray, and curves of brightness."""

import math

import torch

from training.loop.distributed import draw_shard
from utils.images import IMAGE_MEAN, IMAGE_STD


def hue_rotations(angle: torch.Tensor) -> torch.Tensor:
    """Rotations (N,3,3) of colors about the gray axis by `angle` (N,), radians."""
    # Rodrigues' formula for the rotation about (1, 1, 1).
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    gray = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return cos * torch.eye(3) + (1 - cos) * gray + sin * cross


def on_normalized_colors(matrix: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A map of colors in 0..1, matrix (N,3,3) and shift (N,3,1) -> the same map of normalized colors."""
    mean, std = torch.tensor(IMAGE_MEAN).view(3, 1), torch.tensor(IMAGE_STD).view(3, 1)
    return matrix * (std.T / std), (matrix @ mean + shift - mean) / std


def draw_color_maps(
    count: int, strength: float, generator: torch.Generator, keep: torch.Tensor | None = None
) -> torch.Tensor:
    """Affine maps (count,3,4) of colors in 0..1: matrix and shift, for `map_colors`.

    Of strength 1: any hue, one picture in four with two channels swapped, one in ten negated, one in five gray;
    brightness up to 2.2 times more or less, contrast 1.8, each channel 1.35. Each picture draws its own part of
    `strength`, so that most change less. Those where `keep` (count,) bool is True stay as they are.
    """
    drawn = draw_shard(torch.rand, count, 11, generator=generator)
    chance, severity = drawn[:, :3], drawn[:, 3:4] * strength
    spread = (drawn[:, 4:] * 2 - 1) * severity
    matrix = hue_rotations(spread[:, 0] * math.pi)
    swap = torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
    matrix = torch.where((chance[:, 0] < 0.25 * strength).view(-1, 1, 1), swap @ matrix, matrix)
    gray = torch.tensor([0.299, 0.587, 0.114]).expand(3, 3)
    # Pale, or all gray.
    share = torch.where(chance[:, 1] < 0.2 * strength, torch.ones(count), spread[:, 1].clamp(min=0)).view(-1, 1, 1)
    matrix = matrix + share * (gray @ matrix - matrix)
    gain = torch.exp(spread[:, 2:5] * math.log(1.35) + spread[:, 5:6] * math.log(1.8))[:, :, None]
    matrix = gain * matrix
    matrix = torch.where((chance[:, 2] < 0.1 * strength).view(-1, 1, 1), -matrix, matrix)
    brightness = torch.exp(spread[:, 6] * math.log(2.2)).view(-1, 1, 1)
    # Brightness is a factor; all else acts about mid-gray.
    maps = brightness * torch.cat([matrix, 0.5 - 0.5 * matrix.sum(2, keepdim=True)], dim=2)
    return maps if keep is None else torch.where(keep.view(-1, 1, 1), torch.eye(3, 4), maps)


def map_colors(pictures: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Pictures (B,3,R,R) in 0..1 with their colors mapped by `maps` (B,3,4), and clamped."""
    changed = torch.baddbmm(maps[:, :, 3:], maps[:, :, :3], pictures.flatten(2))
    return changed.clamp_(0, 1).view(pictures.shape)


def draw_curves(
    count: int, strength: float, generator: torch.Generator, keep: torch.Tensor | None = None
) -> torch.Tensor:
    """Bends (count,1,1,1) of `bend_colors`, up to 1 either way at strength 1; 0 where `keep` is True."""
    bends = (draw_shard(torch.rand, count, generator=generator) * 2 - 1) * strength
    return (bends if keep is None else bends.masked_fill(keep, 0.0)).view(-1, 1, 1, 1)


def bend_colors(pictures: torch.Tensor, bends: torch.Tensor) -> torch.Tensor:
    """Pictures (B,3,R,R) in 0..1 along the curve x + bend x (1 - x): for -1 that of gamma 2, for 1 about its inverse.

    It takes a tenth of the time of a power.
    """
    return torch.addcmul(pictures, pictures * bends, 1 - pictures)
