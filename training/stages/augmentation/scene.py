"""Changes of the scene, which crop, target and label show alike: mirror images, rolled cameras, yaws, colors of all."""

import math

import torch

from training.loop.distributed import draw_shard
from training.loop.loaders import CROP_KEYS, FRAME_KEYS, Batch
from training.stages.augmentation.colors import hue_rotations, on_normalized_colors
from training.stages.augmentation.geometry import roll_input, rotate_poses, warp
from utils.geometry import mirror_pose, mirror_vectors, rotate_points, rotation_about

PICTURE_KEYS = (*CROP_KEYS, "mask_crop")


def random_mirrors(count: int, group: int, generator: torch.Generator) -> torch.Tensor:
    """Which of `count` crops are mirrored (count,): half of their groups of `group` crops, at random."""
    return (draw_shard(torch.rand, count // group, generator=generator) < 0.5).repeat_interleave(group)


def mirror(batch: Batch, chosen: torch.Tensor) -> Batch:
    """`batch` with the `chosen` (B,) of its crops or frames mirrored left to right. The vertical stays as it is.

    Pictures (B,3,H,W) are flipped and rotations (B,3,3) become those of mirrored cameras in a mirrored world, as do the
    cameras' places (B,3) and, of frames, their `intrinsics` (B,3,3). Poses `3D` (B,51) and the `vertical` (B,3) are
    mirrored in the camera frame. `points` (B,P,3) become `mirrored_points`, those of the flipped crop. Mirrored people
    move as people do, so a set stands for twice as many motions and rooms.
    """
    mirrored = {key: batch[key].flip(3) for key in (*PICTURE_KEYS, *FRAME_KEYS) if key in batch}
    for key in ("extrinsic_rot", "extrinsic_rot_inv"):
        if key in batch:
            mirrored[key] = _mirror_rotations(batch[key])
    if "camera_position" in batch:
        mirrored["camera_position"] = mirror_vectors(batch["camera_position"])
    if "img" in batch and "intrinsics" in batch:
        mirrored["intrinsics"] = _mirror_intrinsics(batch["intrinsics"], batch["img"].shape[3])
    if "3D" in batch:
        mirrored["3D"] = mirror_pose(batch["3D"])
    if "points" in batch:
        mirrored |= {"points": batch["mirrored_points"], "vertical": mirror_vectors(batch["vertical"])}
    # A choice by `where`, not by index: how many are mirrored, only the device knows, and indexing would wait for it.
    changed = {
        key: torch.where(chosen.view(-1, *[1] * (values.dim() - 1)), values, batch[key])
        for key, values in mirrored.items()
    }
    return {**batch, **changed}


def _mirror_rotations(rotations: torch.Tensor) -> torch.Tensor:
    """M @ R @ M (B,3,3), where M changes the sign of x."""
    return mirror_vectors(mirror_vectors(rotations).mT).mT


def _mirror_intrinsics(intrinsics: torch.Tensor, width: int) -> torch.Tensor:
    """Intrinsics (B,3,3) of flipped frames, `width` pixels wide, the first of which has its center at 0."""
    mirrored = intrinsics.clone()
    mirrored[:, 0, 1:] *= -1
    mirrored[:, 0, 2] += width - 1
    return mirrored


def random_rolls(count: int, limit: float, generator: torch.Generator) -> torch.Tensor:
    """Rotations (count,3,3) about the viewing axis z by up to `limit` degrees either way.

    They rotate the scene: X_cam becomes roll @ X_cam.
    """
    drawn = draw_shard(torch.rand, count, generator=generator)
    return rotation_about("z", (drawn * 2 - 1) * math.radians(limit))


def roll_cameras(batch: Batch, rolls: torch.Tensor) -> Batch:
    """`batch` with all that is in camera frames rotated by `rolls` (B,3,3): crops, rotations and poses."""
    # Corners that no camera saw repeat the nearest pixel of the border.
    rolled = {key: warp(batch[key], rolls.mT[:, :2]) for key in PICTURE_KEYS if key in batch}
    # The world stays where it is: what rotates is each camera, about its viewing axis.
    if "extrinsic_rot" in batch:
        rolled["extrinsic_rot"] = rolls @ batch["extrinsic_rot"]
    return {**roll_input(batch, rolls), **rolled}


def random_yaws(count: int, limit: float, generator: torch.Generator) -> torch.Tensor:
    """Angles (count,1), radians, of up to `limit` degrees either way."""
    drawn = draw_shard(torch.rand, count, 1, generator=generator)
    return (drawn * 2 - 1) * math.radians(limit)


def yaw_labels(batch: Batch, angle: torch.Tensor) -> Batch:
    """`batch` with `points` (B,P,3) and `3D` (B,51) of each label rotated about its `vertical` (B,3) by `angle` (B,1).

    Stage 1 taught the points to rotate with the person, so one label stands for many headings.
    """
    # Imported here, because it imports torch's compiler, which takes a second and 100 MiB.
    import roma

    rotation = roma.rotvec_to_rotmat(batch["vertical"] * angle)
    return {
        **batch,
        "points": rotate_points(batch["points"], rotation),
        "3D": rotate_poses(batch["3D"], rotation),
    }


def jitter_points(batch: Batch, strength: float, noise: torch.Tensor) -> Batch:
    """`batch` with normal `noise` (B,P,3) added to its `points` (B,P,3).

    The noise gets `strength` times the standard deviation of all coordinates of the crop. It stands for unseen people,
    whose points differ a little from those of the labels.
    """
    points = batch["points"]
    return {**batch, "points": points + strength * points.std(dim=(1, 2), keepdim=True) * noise}


def augment_color(batch: Batch, matrices: torch.Tensor, shifts: torch.Tensor) -> Batch:
    """`batch` with the colors of its normalized crops and backgrounds (B,3,R,R) mapped by `random_colors`."""
    changed = {
        key: torch.baddbmm(shifts, matrices, batch[key].flatten(2)).view(batch[key].shape)
        for key in CROP_KEYS
        if key in batch
    }
    return {**batch, **changed}


def random_colors(count: int, group: int, strength: float, generator: torch.Generator) -> Batch:
    """Affine maps of normalized colors: `color_matrices` (count,3,3) and `color_shifts` (count,3,1).

    The crops of a group show one person, whose colors must agree over views and with the background: they change
    alike. Hue rotates by up to `strength` * 180 degrees about the gray axis; contrast and the gain of each channel vary
    by up to `strength` * 30 percent.
    """
    matrices, shifts = _random_color_maps(count // group, strength, generator)
    return {
        "color_matrices": matrices.repeat_interleave(group, 0),
        "color_shifts": shifts.repeat_interleave(group, 0),
    }


def _random_color_maps(count: int, strength: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Affine maps of normalized colors: matrices (count,3,3) and shifts (count,3,1)."""

    def uniform(*shape: int) -> torch.Tensor:
        return (draw_shard(torch.rand, *shape, generator=generator) * 2 - 1) * strength

    hue = hue_rotations(uniform(count) * math.pi)
    gain = (1 + 0.3 * uniform(count, 3)) * (1 + 0.3 * uniform(count, 1))
    # The map acts on colors in 0..1 about mid-gray.
    matrix = gain[:, :, None] * hue
    return on_normalized_colors(matrix, 0.5 - matrix.sum(2, keepdim=True) * 0.5)
