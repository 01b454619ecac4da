"""All calibrated cameras of an instant fused: the mean of their poses in the world, weighted by the square of trust."""

from typing import NamedTuple

import numpy as np

from utils.errors import UserError
from utils.skeleton import NUM_JOINTS


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
    """
    poses = np.asarray(poses, np.float64).reshape(-1, NUM_JOINTS, 3)
    rotations = np.asarray(rotations, np.float64)
    instants = np.zeros(len(poses), np.int64) if instants is None else np.asarray(instants)
    _check(poses, rotations, instants, trust)
    # Joints are rows, so that this product applies the inverse rotations.
    in_world = poses @ rotations
    ids, index = np.unique(instants, return_inverse=True)
    weight = np.ones(len(poses)) if trust is None else np.asarray(trust, np.float64) ** 2
    lost = np.bincount(index, weight) <= 0
    weight = np.where(lost[index], 1.0, weight)
    weight /= np.bincount(index, weight)[index]
    fused = np.zeros((len(ids), NUM_JOINTS, 3))
    np.add.at(fused, index, weight[:, None, None] * in_world)
    fused_trust = (
        None if trust is None else np.bincount(index, weight * np.asarray(trust, np.float64)).astype(np.float32)
    )
    of_camera = fused[index] @ rotations.swapaxes(1, 2)
    return Fused(fused.astype(np.float32), fused_trust, ids, of_camera.astype(np.float32))


def _check(poses: np.ndarray, rotations: np.ndarray, instants: np.ndarray, trust: np.ndarray | None) -> None:
    count = len(poses)
    if rotations.shape != (count, 3, 3):
        raise UserError(f"rotations have shape {rotations.shape}; expected ({count}, 3, 3), one per pose")
    if not np.allclose(rotations @ rotations.swapaxes(1, 2), np.eye(3), atol=1e-3):
        raise UserError("rotations are not orthonormal; expected rotations world -> camera of the crops")
    if instants.shape != (count,):
        raise UserError(f"instants have shape {instants.shape}; expected ({count},), one per pose")
    if trust is not None and (np.shape(trust) != (count,) or not np.all(np.asarray(trust) >= 0)):
        raise UserError(f"trust has shape {np.shape(trust)}; expected ({count},) numbers of 0 or more")
