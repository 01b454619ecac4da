"""Hidden patches of the input view: what stands before the person, and the end of the frame."""

import math

import torch

from training.loop.distributed import draw_shard, local_shard, world_size
from training.stages.augmentation.some import some_crops

PATCHES = 2


def draw_patches(count: int, limit: float, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Half of the crops, `patched` (N,), and for each of them what hides it.

    `patch_boxes` (N,PATCHES+1,4): centers x, y and half sides, from -1 to 1; each side is up to `limit` times that of
    the crop. `patch_colors` (N,PATCHES+1,3). The last patch is a black band along one side, as where a box reaches
    beyond the frame; every other one of these crops has it.
    """
    chosen = some_crops(count, 1 / 2, generator)
    drawn = draw_shard(torch.rand, len(chosen), PATCHES, 7, generator=generator)
    patches = torch.cat([drawn[..., :2] * 2 - 1, drawn[..., 2:4] * limit], dim=2)
    chance, side, width = local_shard(torch.rand(3, len(chosen) * world_size(), generator=generator).T).T
    # Left, top, right or bottom: its center lies on the border, so that one half of it is outside.
    angles = (side * 4).floor() * (math.pi / 2)
    center = torch.stack([angles.cos(), angles.sin()], dim=1).round()
    half = torch.where(center == 0, 2.0, width[:, None] * limit)
    # A half side below 0 hides nothing.
    band = torch.cat([center, torch.where(chance[:, None] < 0.5, half, -1.0)], dim=1)
    black = torch.zeros(len(chosen), 1, 3)
    return {
        "patched": chosen,
        "patch_boxes": torch.cat([patches, band[:, None]], dim=1),
        "patch_colors": torch.cat([drawn[..., 4:], black], dim=1),
    }


def hide(pictures: torch.Tensor, boxes: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
    """Pictures (B,3,R,R) with rectangles `boxes` (B,N,4) filled with `colors` (B,N,3), one over the other."""
    size = pictures.shape[2]
    places = (torch.arange(size, device=pictures.device) + 0.5) * (2 / size) - 1
    inside = (places - boxes[:, :, :2, None]).abs() < boxes[:, :, 2:, None]
    for patch in range(boxes.shape[1]):
        along_x, along_y = inside[:, patch].unbind(1)
        hidden = along_y[:, None, :, None] & along_x[:, None, None, :]
        pictures = torch.where(hidden, colors[:, patch, :, None, None], pictures)
    return pictures
