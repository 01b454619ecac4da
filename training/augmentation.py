"""Random colour changes, so that five training subjects stand for many clothes."""

import math

import ignite.distributed as idist
import torch

from training.distributed import own_part
from utils.images import IMAGE_MEAN, IMAGE_STD


def augment_color(
    images: list[torch.Tensor], group: int, strength: float, generator: torch.Generator
) -> list[torch.Tensor]:
    """Change the colours of normalised crops (B,3,R,R), the same way within each run of `group` crops.

    The crops of a group show the same person and must keep the same colours; so must their
    backgrounds, which is why several image tensors are changed together. Hue turns by up to
    `strength` * 180 degrees about the grey axis, contrast and each channel's gain vary by up to
    `strength` * 30 percent.
    """
    if strength == 0:
        return images
    count = images[0].shape[0] // group
    joined = count * idist.get_world_size()
    matrices, shifts = (own_part(part) for part in _random_color_maps(joined, strength, generator))
    device = images[0].device
    matrices = matrices.repeat_interleave(group, 0).to(device)
    shifts = shifts.repeat_interleave(group, 0).to(device)
    return [torch.baddbmm(shifts, matrices, image.flatten(2)).view(image.shape) for image in images]


def _random_color_maps(count: int, strength: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Affine maps of normalised colours: matrices (count,3,3) and shifts (count,3,1)."""

    def uniform(*shape: int) -> torch.Tensor:
        return (torch.rand(*shape, generator=generator) * 2 - 1) * strength

    angle = uniform(count) * math.pi
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    hue = cos * torch.eye(3) + (1 - cos) * grey + sin * cross
    gain = (1 + 0.3 * uniform(count, 3)) * (1 + 0.3 * uniform(count, 1))
    matrix = gain[:, :, None] * hue  # acts on colours in 0..1 about mid-grey
    shift = 0.5 - matrix.sum(2, keepdim=True) * 0.5
    mean, std = torch.tensor(IMAGE_MEAN).view(3, 1), torch.tensor(IMAGE_STD).view(3, 1)
    return matrix * (std.T / std), (matrix @ mean + shift - mean) / std
