"""What cameras filmed of one person: where the person is at each instant, and which frames show it."""

from numbers import Real
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.cameras.camera import Camera
from utils.errors import UserError

DEFAULT_FIELD = 60.0  # degrees, across the longer side of an image: that of most phones' videos


class Shot(NamedTuple):
    """One person in C cameras at T instants.

    videos, cameras: by name, in one order. frames: (C,T) frame numbers, -1 where a video has ended. instants: (T,).
    rate: instants 0, 1, ... per second. space: "world" (z up) of calibrated cameras, or "camera". roots: (T,3) meters,
    the hip in this space, NaN where unknown. seen: (C,T) bool, which frames show the person. triangulated: (T,17,3)
    meters, NaN where the cameras do not agree; None of one camera. notes: lines of the report. detected: (T,17,3)
    meters, the pose that the detector alone gives of one camera, by which to tell what is up; None of several.
    """

    name: str
    videos: dict[str, Path]
    cameras: dict[str, Camera]
    frames: np.ndarray
    instants: np.ndarray
    rate: float
    space: str
    roots: np.ndarray
    seen: np.ndarray
    triangulated: np.ndarray | None
    notes: tuple[str, ...]
    detected: np.ndarray | None = None

    @property
    def offsets(self) -> dict[str, int]:
        """Frame number at instant 0 by camera: no video ends before its first instant."""
        return dict(zip(self.videos, (self.frames[:, 0] - self.instants[0]).tolist(), strict=True))


def assumed_camera(width: int, height: int, field: float = DEFAULT_FIELD, pixel_aspect: float = 1.0) -> Camera:
    """A camera without distortion that sees `field` degrees across the longer side of its image; it is the origin.

    width, height: pixels, which are shown `pixel_aspect` times as wide as high. Raises UserError for a bad field.
    """
    if not isinstance(field, Real):
        raise UserError(f"field of view is {field!r}; expected a number of degrees")
    if not 5 <= field <= 150:
        raise UserError(f"field of view is {field:g} degrees; expected 5 to 150")
    focal = max(pixel_aspect * width, height) / 2 / np.tan(np.radians(field) / 2)
    # Whole numbers are pixel centers.
    intrinsics = np.array([[focal / pixel_aspect, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera(np.eye(3), np.zeros(3), intrinsics, np.zeros(5), width, height)
