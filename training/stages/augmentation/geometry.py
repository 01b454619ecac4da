"""Geometry of the input view: a box that is off, too small or too large, and a camera that is rolled."""

import math

import torch
from torch.nn import functional

from training.loop.distributed import draw_shard
from training.loop.loaders import Batch
from utils.geometry import rotate_points, rotation_about


def draw_placements(
    count: int, shift: float, scale: float, roll: float, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Where the picture of each of `count` crops goes: `placements` (count,2,3), and `input_rolls` (count,3,3).

    The picture moves by up to `shift` of the crop's side along both axes, gets up to 1 + `scale` times as large or as
    small, and rolls by up to `roll` degrees either way. The rolls rotate the scene: X_cam becomes roll @ X_cam.
    """
    drawn = draw_shard(torch.rand, count, 4, generator=generator) * 2 - 1
    factors = torch.exp(drawn[:, 0] * math.log1p(scale))
    # In the coordinates of a crop, from -1 to 1, its side is 2 long.
    shifts = drawn[:, 1:3] * 2 * shift
    rolls = rotation_about("z", drawn[:, 3] * math.radians(roll))
    return {"placements": place_by(rolls, factors, shifts), "input_rolls": rolls}


def place_by(rolls: torch.Tensor, factors: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Placements (B,2,3) that roll by `rolls` (B,3,3), enlarge by `factors` (B,), then move by `shifts` (B,2).

    They are what `warp` takes: for each place of the new picture, that in the old one; both from -1 to 1.
    """
    back = rolls.mT[:, :2, :2] / factors[:, None, None]
    return torch.cat([back, -back @ shifts[:, :, None]], dim=2)


def warp(pictures: torch.Tensor, placements: torch.Tensor) -> torch.Tensor:
    """Pictures (B,C,R,R) resampled once, at `placements` (B,2,3); what was not seen repeats the border."""
    if not len(pictures):  # which torch refuses
        return pictures
    if not pictures.is_floating_point():  # masks, uint8, which torch refuses too
        return warp(pictures.float(), placements).round().to(pictures.dtype)
    grid = functional.affine_grid(placements.to(pictures), list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def roll_input(batch: Batch, rolls: torch.Tensor) -> Batch:
    """What follows of `batch` where the input cameras are rolled by `rolls` (B,3,3): poses `3D`, the `vertical`, and
    the rotation from the camera to the world.

    The rotation from the world to the camera stays: it is that of the target.
    """
    rolled = {}
    if "extrinsic_rot_inv" in batch:
        rolled["extrinsic_rot_inv"] = batch["extrinsic_rot_inv"] @ rolls.mT
    if "3D" in batch:
        rolled["3D"] = rotate_poses(batch["3D"], rolls)
    if "vertical" in batch:
        rolled["vertical"] = rotate_points(batch["vertical"][:, None], rolls)[:, 0]
    return {**batch, **rolled}


def rotate_poses(poses: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Poses (B,51) rotated by `rotations` (B,3,3)."""
    return rotate_points(poses.unflatten(1, (-1, 3)), rotations).flatten(1)
