"""All calibrated cameras of an instant fused: a mean of their poses in the world, by trust, agreement and depth."""

from typing import NamedTuple

import numpy as np

from utils.errors import UserError
from utils.readers import reason
from utils.skeleton import NUM_JOINTS

# Meters: cameras that differ by less are averaged, of those that differ by more the majority counts. Chosen on held-out
# crops and a real recording (docs/trust.md), with two to four cameras.
AGREEMENT = 0.05
# A camera errs more in depth than across: deviations along its viewing direction count as this many times as large.
# Chosen with them (docs/trust.md); more costs where two or three cameras stand close together.
DEPTH = 1.5
# Poses of real cameras move by at most 0.3 mm after 10, and by 0.004 mm after these.
_ROUNDS = 20


class Fused(NamedTuple):
    """One pose per instant, root-centered, in the world frame, and what it was made of."""

    poses: np.ndarray  # (I,17,3), meters
    trust: np.ndarray | None  # (I,): the mean of the cameras', weighted as their poses
    instants: np.ndarray  # (I,) the ids that were given, sorted
    of_camera: np.ndarray  # (N,17,3): the fused pose in the frame of each camera


def fuse_cameras(
    poses: np.ndarray, rotations: np.ndarray, instants: np.ndarray | None = None, trust: np.ndarray | None = None
) -> Fused:
    """Fuse poses (N,17,3) or (N,51) in the frames of their cameras, whose rotations world -> camera are (N,3,3).

    Poses with equal `instants` (N,) show the same person at the same time; None: all do. The square of `trust` (N,)
    weights them; None: equal weights, which poses of an instant also have where all of them have a trust of 0.

    A mean in which each camera weighs 1 / sqrt(d^2 + AGREEMENT^2), where d is the distance of its pose from that mean,
    the root of the mean over joints: between the mean and the geometric median, so that a camera that mistakes front
    for back does not spoil what the others see. Found by weighting anew (E. Weiszfeld, 1937). Along its viewing
    direction a camera weighs 1 / DEPTH^2 of that: others tell the depth better.
    """
    poses = _array("poses", poses, np.float64)
    if poses.ndim == 0 or poses.shape[1:] not in ((NUM_JOINTS, 3), (3 * NUM_JOINTS,)):
        raise UserError(f"poses have shape {poses.shape}; expected (N, {NUM_JOINTS}, 3) or (N, {3 * NUM_JOINTS})")
    if not np.isfinite(poses).all():
        raise UserError("poses contain NaN or infinity; expected those of cameras that saw the person")
    poses = poses.reshape(-1, NUM_JOINTS, 3)
    trust = None if trust is None else _array("trust", trust, np.float64)
    rotations = _array("rotations", rotations, np.float64)
    instants = np.zeros(len(poses), np.int64) if instants is None else _array("instants", instants)
    _check(poses, rotations, instants, trust)
    # Joints are rows, so that this product applies the inverse rotations.
    in_world = poses @ rotations
    try:
        ids, index = np.unique(instants, return_inverse=True)
    except TypeError as error:
        raise UserError(f"instants are of several types ({reason(error)}); expected ids of one type") from error
    weight = np.ones(len(poses)) if trust is None else trust**2
    lost = np.bincount(index, weight) <= 0
    weight = np.where(lost[index], 1.0, weight)
    # Of each camera: what its poses tell along the axes of the world, all but some of the depth.
    forward = rotations[:, 2]
    precision = np.eye(3) - (1 - DEPTH**-2) * forward[:, :, None] * forward[:, None]
    fused, share = _weighted_mean(in_world, precision, index, weight)
    for _ in range(_ROUNDS):
        squared = ((in_world - fused[index]) ** 2).sum(2).mean(1)
        fused, share = _weighted_mean(in_world, precision, index, weight / np.sqrt(squared + AGREEMENT**2))
    fused_trust = None if trust is None else np.bincount(index, share * trust).astype(np.float32)
    of_camera = fused[index] @ rotations.swapaxes(1, 2)
    return Fused(fused.astype(np.float32), fused_trust, ids, of_camera.astype(np.float32))


def _weighted_mean(
    poses: np.ndarray, precision: np.ndarray, index: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means (I,17,3) of the poses (N,17,3) of each `index` by precision (N,3,3), and the shares (N,) of weight."""
    total = np.bincount(index, weight)
    share = weight / total[index]
    weighted = share[:, None, None] * precision
    precisions, sums = np.zeros((len(total), 3, 3)), np.zeros((len(total), 3, poses.shape[1]))
    np.add.at(precisions, index, weighted)
    np.add.at(sums, index, weighted @ poses.swapaxes(1, 2))
    return np.linalg.solve(precisions, sums).swapaxes(1, 2), share


def check_rotations(rotations: np.ndarray, count: int) -> None:
    """UserError unless `rotations` are `count` rotations (N,3,3), and no reflections, which would mirror the poses."""
    if rotations.shape != (count, 3, 3):
        raise UserError(f"rotations have shape {rotations.shape}; expected ({count}, 3, 3), one per pose")
    if not np.allclose(rotations @ rotations.swapaxes(1, 2), np.eye(3), atol=1e-3):
        raise UserError("rotations are not orthonormal; expected rotations world -> camera of the crops")
    mirrored = np.flatnonzero(np.linalg.det(rotations) < 0)
    if len(mirrored):
        raise UserError(
            f"rotation {mirrored[0]} is a reflection of determinant -1; expected rotations world -> camera of the crops"
        )


def _array(name: str, values: object, dtype: type | None = None) -> np.ndarray:
    try:
        return np.asarray(values, dtype)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} are no array ({reason(error)}); expected an array, one entry per pose") from error


def _check(poses: np.ndarray, rotations: np.ndarray, instants: np.ndarray, trust: np.ndarray | None) -> None:
    count = len(poses)
    check_rotations(rotations, count)
    if instants.shape != (count,):
        raise UserError(f"instants have shape {instants.shape}; expected ({count},), one per pose")
    if trust is None:
        return
    if trust.shape != (count,):
        raise UserError(f"trust has shape {trust.shape}; expected ({count},), one per pose")
    wrong = np.flatnonzero(~((trust >= 0) & np.isfinite(trust)))
    if len(wrong):
        raise UserError(f"trust of pose {wrong[0]} is {trust[wrong[0]]}; expected a number of 0 or more")
