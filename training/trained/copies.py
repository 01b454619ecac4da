"""A pose of a crop, and how far to trust it, from the crop and changed copies of it in one batch."""

from typing import NamedTuple

import torch

from models import EncodeDecode
from training.stages.augmentation.geometry import place_by, warp
from utils.geometry import mirror_pose, rotation_about

Encoded = tuple[torch.Tensor, torch.Tensor]  # appearance and points


class Estimate(NamedTuple):
    """`pose` (B,51) in meters, camera frame; `trust`, `expected_error` in mm, `flagged` (B,) as models/parts/trust.py.

    They are None of a network that was not calibrated.
    """

    pose: torch.Tensor
    trust: torch.Tensor | None = None
    expected_error: torch.Tensor | None = None
    flagged: torch.Tensor | None = None


def direct_poses(network: EncodeDecode, crops: torch.Tensor, encoded: Encoded | None = None) -> torch.Tensor:
    """Normalized crops (B,3,R,R), `encoded` or not -> poses (B,51) in meters, camera frame."""
    _, points = network.encode(crops) if encoded is None else encoded
    return network.denormalize_pose(network.pose(points))


def mirrored_poses(network: EncodeDecode, crops: torch.Tensor) -> torch.Tensor:
    """The same from the mirrored crops, mirrored back. The mean of both is more accurate than either (`flip_test`)."""
    return mirror_pose(direct_poses(network, crops.flip(3)))


def estimate_poses(
    network: EncodeDecode, crops: torch.Tensor, flip_test: bool, trust: bool = True, encoded: Encoded | None = None
) -> Estimate:
    """Poses of normalized crops (B,3,R,R), judged where `trust` is wanted and `network` has a head for it.

    `encoded`: what `network.encode` gave of the crops; None: they are encoded here.
    """
    if not trust or network.trust is None:
        pose = direct_poses(network, crops, encoded)
        return Estimate((pose + mirrored_poses(network, crops)) / 2 if flip_test else pose)
    latents, poses = encode_copies(network, crops, network.trust.copies, encoded)
    pose = poses[:, :2].mean(1) if flip_test else poses[:, 0]
    return Estimate(pose, *network.trust(latents, poses))


def encode_copies(
    network: EncodeDecode, crops: torch.Tensor, copies: torch.Tensor, encoded: Encoded | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (B,K,D) and poses (B,K,51), changed back, of `copies` (K,4) of normalized crops; see TrustHead.

    The first copy is the crop itself, which is not encoded again where it is `encoded`.
    """
    count, changes = len(copies), copies.tolist()
    moved = [move_crops(crops, *change[:3], bool(change[3])) for change in changes[1:]]
    if encoded is None:
        appearance, points = network.encode(torch.cat([crops, *moved]))
    else:
        appearance, points = map(torch.cat, zip(encoded, network.encode(torch.cat(moved)), strict=True))
    poses = network.denormalize_pose(network.pose(points))
    poses = list(poses.unflatten(0, (count, -1)))
    for copy, (_, _, scale, mirrored) in enumerate(changes[1:], 1):
        pose = poses[copy] / scale
        poses[copy] = mirror_pose(pose) if mirrored else pose
    latents = torch.cat([appearance.float(), points.flatten(1)], dim=1)
    return latents.unflatten(0, (count, -1)).transpose(0, 1), torch.stack(poses, dim=1)


def move_crops(
    crops: torch.Tensor,
    right: float | torch.Tensor,
    down: float | torch.Tensor,
    scale: float | torch.Tensor = 1.0,
    mirrored: bool = False,
    roll: float | torch.Tensor = 0.0,
) -> torch.Tensor:
    """What crops (B,3,R,R) show, enlarged by `scale` and rotated clockwise by `roll` radians about the center, then
    moved by shares of the side, then mirrored. Numbers or (B,). The border is continued beyond the crop."""
    right, down, scale, roll = (_column(value, crops) for value in (right, down, scale, roll))
    # In the coordinates of a crop, from -1 to 1, its side is 2 long.
    shifts = 2 * torch.stack([right, down], dim=1)
    moved = warp(crops, place_by(rotation_about("z", roll), scale, shifts))
    unmoved = (right == 0) & (down == 0) & (scale == 1) & (roll == 0)
    # Interpolation on whole pixels is exact only up to rounding.
    moved = torch.where(unmoved[:, None, None, None], crops, moved)
    return moved.flip(3) if mirrored else moved


def _column(value: float | torch.Tensor, crops: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(value, dtype=torch.float32, device=crops.device).expand(len(crops))
