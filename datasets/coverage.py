"""How well the poses of one set cover those of another: the distance of each pose to its nearest neighbor.

The distance is N-MPJPE, the mean distance of the 17 joints after the best scale, between root-centered poses in the
camera frame. So it is also the least error that a method can have which answers with poses of the covering set.
"""

import functools
from pathlib import Path

import numpy as np
import torch

from datasets.layout.labels import Labels
from utils.errors import UserError
from utils.geometry import mirror_pose
from utils.skeleton import NUM_JOINTS

QUANTILES = (0.1, 0.5, 0.9, 0.99)
_BLOCK = 2**22  # pairs of poses whose distances are in memory at once


def nearest_distances(poses: np.ndarray, covering: np.ndarray, mirror: bool = False) -> np.ndarray:
    """N-MPJPE (N,) of each pose (N,51) to the nearest of the covering poses (M,51), in the unit of `poses`.

    mirror: the covering poses also count mirrored left to right.
    """
    queries = _joints(poses)
    covers = _joints(covering)
    nearest = torch.full((len(queries),), float("inf"))
    rows = max(1, _BLOCK // len(queries))
    for block in covers.split(rows):
        for candidates in (block, mirrored(block)) if mirror else (block,):
            nearest = torch.minimum(nearest, _pairwise(queries, candidates).amin(1))
    return nearest.numpy()


def mirrored(poses: torch.Tensor) -> torch.Tensor:
    """Poses (N,17,3) of the camera frame as a mirror shows them: x negated, left and right joints swapped."""
    return mirror_pose(poses.flatten(1)).unflatten(1, (-1, 3))


def coverage_report(root: str | Path, covering: str | Path, mirror: bool = False) -> str:
    """One line: how far the poses of the layout `root` are from the nearest ones of the layout `covering`, mm.

    Raises UserError for a layout without poses.
    """
    poses, covers = (_poses(Labels(folder)) for folder in (root, covering))
    distance = 1000 * nearest_distances(poses, covers, mirror)
    quantiles = ", ".join(f"{q:.0%} {np.quantile(distance, q):.0f}" for q in QUANTILES)
    what = f"{len(covers)} poses of {covering}" + (", also mirrored" if mirror else "")
    return (
        f"{len(poses)} poses of {root}, distance to the nearest of {what}: "
        f"mean {distance.mean():.1f} mm, median {np.median(distance):.1f} mm (quantiles {quantiles} mm)"
    )


def _poses(labels: Labels) -> np.ndarray:
    if "3D" not in labels:
        raise UserError(f"{labels.path} has no '3D'; expected a set with poses")
    poses = labels["3D"].reshape(-1, 3 * NUM_JOINTS)
    # Full frames have columns of nobody.
    poses = poses[np.isfinite(poses).all(1)]
    if not len(poses):
        raise UserError(f"{labels.path} has no finite pose in '3D'; expected a set with poses")
    return poses


def _joints(poses: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(poses, dtype=np.float32)).reshape(-1, NUM_JOINTS, 3)


def _pairwise(poses: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """N-MPJPE (N,M) of all pairs of poses (N,17,3) and others (M,17,3), which are scaled."""
    products = torch.einsum("njc,mjc->jnm", poses, others)
    squares, other_squares = poses.square().sum(-1), others.square().sum(-1)  # (N,17), (M,17)
    scale = products.sum(0) / other_squares.sum(-1).clamp_min(1e-9)

    def joint_distance(joint: int) -> torch.Tensor:
        # |p - s q|^2 multiplied out: the products of all pairs are one matrix product.
        squared = squares[:, joint, None] + scale * (scale * other_squares[:, joint] - 2 * products[joint])
        return squared.clamp_min_(0).sqrt_()

    return functools.reduce(torch.Tensor.add_, map(joint_distance, range(NUM_JOINTS))) / NUM_JOINTS
