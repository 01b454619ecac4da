"""What a viewer shows around people in 3D: bodies, latent points and cameras over a floor; z is up, in meters.

It holds numbers only: training/trained/spaces.py computes them, utils/browser draws them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ANKLE_HEIGHT = 0.08  # meters between the floor and the lowest joint of who stands on it
CLOUD_RADIUS = 0.9  # meters that latent points reach around a person: their own unit means nothing
_OUTLIERS = 0.02  # share of latent points that may lie farther away

Color = tuple[float, float, float]


class Body(NamedTuple):
    """A person: the root's `position` (3,) and `joints` (17,3) around it, or None, which a yaw turns in place.

    `color`: RGB in 0..1 of the person; None: the colors of left and right. `true`: a label, and no prediction. `points`
    (N,3): the latent points that it was predicted from, around the root, at the scale of a person.
    """

    position: np.ndarray
    joints: np.ndarray | None
    color: Color | None = None
    true: bool = False
    points: np.ndarray | None = None


class SpaceCamera(NamedTuple):
    """A camera at `position` (3,); `rotation` (3,3) from its frame to the world; `image` (H,W,3) in 0..1.

    `field`: vertical angle of view, radians, around the optical axis.
    """

    name: str
    position: np.ndarray
    rotation: np.ndarray
    field: float
    image: np.ndarray


class Space(NamedTuple):
    """People before the yaw and the cameras that see them; the first camera is the input's. `trust`: 0..1, or None."""

    bodies: Sequence[Body]
    cameras: Sequence[SpaceCamera]
    trust: float | None = None


def standing_height(joints: np.ndarray) -> float:
    """Height of the root above the floor, of joints (17,3) around it that stand on it; world axes."""
    return ANKLE_HEIGHT - float(joints[:, 2].min())


def at_persons_scale(points: np.ndarray) -> np.ndarray:
    """Latent points (N,3) around their center, all but a few within CLOUD_RADIUS."""
    centered = points - np.median(points, axis=0)
    reach = np.quantile(np.linalg.norm(centered, axis=1), 1 - _OUTLIERS)
    return centered * (CLOUD_RADIUS / max(reach, 1e-9))
