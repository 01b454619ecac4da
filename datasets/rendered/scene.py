"""The cameras and the light: a setup like Human3.6M's, slightly different for each subject.

World frame: z up, meters. Camera frames: x right, y down, z forward.
"""

from typing import NamedTuple

import numpy as np

from datasets.rendered.raycast import Light
from datasets.rendered.room import lamp_points

NUM_CAMERAS = 4
AREA = 1.5  # the subject's root stays within |x|, |y| <= AREA, meters
_AZIMUTHS = (48.0, 132.0, -128.0, -52.0)  # degrees
_DISTANCES = (5.0, 4.9, 5.3, 5.1)  # from the middle, meters
_HEIGHTS = (1.60, 1.52, 1.66, 1.56)


class Cameras(NamedTuple):
    """The cameras of one subject: centers (C,3) in the world, rotations (C,3,3) world -> camera."""

    centers: np.ndarray
    rotations: np.ndarray


def subject_cameras(subject: int) -> Cameras:
    """The four cameras of a subject, the same in every set and for every seed."""
    # 36 only separates this stream from those of other users of a subject's number.
    rng = np.random.default_rng([36, subject])
    azimuth = np.radians(_AZIMUTHS + rng.uniform(-6, 6, NUM_CAMERAS))
    distance = _DISTANCES + rng.uniform(-0.3, 0.3, NUM_CAMERAS)
    height = _HEIGHTS + rng.uniform(-0.12, 0.12, NUM_CAMERAS)
    centers = np.stack([distance * np.cos(azimuth), distance * np.sin(azimuth), height], axis=-1)
    targets = np.concatenate(
        [rng.uniform(-0.2, 0.2, (NUM_CAMERAS, 2)), rng.uniform(0.9, 1.0, (NUM_CAMERAS, 1))], axis=1
    )
    roll = np.radians(rng.uniform(-1.5, 1.5, NUM_CAMERAS))
    return Cameras(centers, look_at(centers, targets, roll))


def look_at(centers: np.ndarray, targets: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Rotations (C,3,3) world -> camera of cameras at `centers` (C,3) that look at `targets` (C,3).

    roll: (C,) radians by which a camera is rotated about its viewing axis, 0 for an upright one.
    """
    forward = targets - centers
    forward = forward / np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right = right / np.linalg.norm(right, axis=-1, keepdims=True)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([cosine * right + sine * down, cosine * down - sine * right, forward], axis=-2)


def sequence_light(rng: np.random.Generator) -> Light:
    """The room's lamps, with random strength and color like those of a camera's exposure and white balance."""
    tint = rng.uniform(0.9, 1.1) * np.array([1 + rng.uniform(-0.05, 0.05), 1.0, 1 + rng.uniform(-0.05, 0.05)])
    return Light(lamp_points(2), rng.uniform(1.1, 1.5), rng.uniform(0.38, 0.5), tint)
