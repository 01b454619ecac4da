"""Calibrated cameras in place of drawn ones: people of the wild world stand where a recording's cameras look."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.cameras.calibration import check_cameras, read_calibration
from datasets.cameras.camera import Camera
from datasets.rendered.wild.interiors import Space
from datasets.rendered.wild.rigs import Rig, draw_looks
from utils.errors import UserError

FEWEST_CAMERAS = 2
_AREAS = np.arange(1.5, 0.25, -0.1)  # meters, the widest first
_HIPS = 0.9  # meters, of somebody who stands
_NEAREST, _FARTHEST = 1.5, 15.0  # meters between the people and a camera
_PULL = 1e-4  # towards the middle of the cameras, which matters only where axes are parallel


class RecordedCameras(NamedTuple):
    """C calibrated cameras, without distortion and with the principal point in the middle of the image.

    centers: (C,3) in a world whose floor is z = 0, and whose origin is below the point where the optical axes meet.
    rotations: (C,3,3) world -> camera. frustum: (C,2) half width and height of the image at a depth of 1. area: all
    cameras see the hips of people within |x|, |y| <= area. upright: crops are rolled so that z is up in them.
    """

    centers: np.ndarray
    rotations: np.ndarray
    frustum: np.ndarray
    area: float
    upright: bool

    @property
    def space(self) -> Space:
        """What a room around these cameras must hold."""
        return Space(float(np.abs(self.centers[:, :2]).max()), float(self.centers[:, 2].max()), self.area)

    @property
    def up(self) -> np.ndarray | None:
        """(C,3) the upward direction in the frame of each camera; None where crops keep the cameras' roll."""
        return self.rotations[:, :, 2] if self.upright else None

    def rig(self, rng: np.random.Generator) -> Rig:
        """These cameras, with looks of their own."""
        return Rig(self.centers, self.rotations, self.frustum, draw_looks(len(self.centers), rng))

    def describe(self) -> dict[str, Any]:
        """For render.json. The area follows from the rest."""
        arrays = {"centers": self.centers, "rotations": self.rotations, "frustum": self.frustum}
        return {name: value.round(6).tolist() for name, value in arrays.items()} | {"upright": self.upright}


def read_recorded_cameras(path: str | Path, upright: bool = False) -> RecordedCameras:
    """The cameras of a calibration file, as `read_calibration` takes it: z up, floor at z = 0.

    Raises UserError for a bad file, fewer than two cameras, and cameras without a common place on the floor.
    """
    calibration = read_calibration(path)
    check_cameras(calibration, [*calibration.cameras, *calibration.unusable], path)
    named = calibration.cameras
    if len(named) < FEWEST_CAMERAS:
        raise UserError(f"{path} has {len(named)} camera; expected {FEWEST_CAMERAS} or more, which see one place")
    cameras = list(named.values())
    centers, rotations = (np.stack([getattr(camera, name) for camera in cameras]) for name in ("center", "rotation"))
    below = centers[:, 2] <= 0
    if below.any():
        name, height = list(named)[below.argmax()], centers[below.argmax(), 2]
        raise UserError(f"{path}: camera {name!r} is at a height of {height:.2f} m; expected a floor at z = 0 below it")
    place = _where_axes_meet(centers, rotations[:, 2]) * [1, 1, 0]
    frustum = np.stack([_half_image(camera) for camera in cameras])
    found = RecordedCameras(centers - place, rotations, frustum, 0.0, upright)
    for area in _AREAS:
        blind = ~_see(found, area)
        if not blind.any():
            return found._replace(area=float(area.round(1)))
    where = f"({place[0]:.2f}, {place[1]:.2f}) m of the floor, where the optical axes meet"
    raise UserError(
        f"{path}: camera {list(named)[blind.argmax()]!r} does not see somebody who stands at {where}; expected cameras "
        f"that look at one place, {_NEAREST:g} to {_FARTHEST:g} m away, and a world with z up and its floor at z = 0"
    )


def _where_axes_meet(centers: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The point (3,) nearest to all optical axes: centers (C,3), unit directions (C,3)."""
    across = np.eye(3) - axes[:, :, None] * axes[:, None]
    weight = across + _PULL * np.eye(3)
    pull = (across @ centers[..., None])[..., 0] + _PULL * centers.mean(0)
    return np.linalg.solve(weight.sum(0), pull.sum(0))


def _half_image(camera: Camera) -> np.ndarray:
    """(2,) half width and height of the image at a depth of 1. Files without sizes have only the principal point."""
    size = np.array([camera.width, camera.height]) if camera.width else 2 * camera.intrinsics[:2, 2]
    return size / 2 / camera.intrinsics[[0, 1], [0, 1]]


def _see(cameras: RecordedCameras, area: float) -> np.ndarray:
    """Which cameras (C,) see the hips at all corners of the area, from a distance in which people are rendered."""
    corners = np.array([(x, y, _HIPS) for x in (-area, area) for y in (-area, area)])
    seen = np.einsum("cij,cpj->cpi", cameras.rotations, corners - cameras.centers[:, None])
    depth = seen[..., 2:]
    inside = (np.abs(seen[..., :2]) < cameras.frustum[:, None] * depth) & (depth > _NEAREST) & (depth < _FARTHEST)
    return inside.all((1, 2))
