"""Crops out of a camera's full pictures, seen by the turned camera of `crop_camera`: one sampling, from distorted
pixels straight to the crop, the same for the picture and its background."""

import functools
from typing import NamedTuple

import numpy as np

from datasets.cameras import Camera, opencv
from datasets.crop_camera import CropCamera
from datasets.rgb import Box

CELLS = 32  # the distortion is computed at the corners of so many cells, and is linear between: under 0.03 pixels off
SPACING = 1.5  # pixels of the picture between samples, at most: each covers two, and 1.0 looks the same
MAX_OVERSAMPLING = 8
BOX_STEP = 64  # sides of boxes, pixels: many of one size are converted quicker than each of its own


class CropMap(NamedTuple):
    """Where a crop's samples lie in the full picture. `pixels` (S,S,2) float32, x and y from the corner of `box`, which
    holds all that the crop shows; S is a multiple of `size`, the side of the crop: samples are averaged."""

    pixels: np.ndarray
    size: int
    box: Box

    def sample(self, image: np.ndarray) -> np.ndarray:
        """The crop (size,size,3) uint8 of a full picture (H,W,3) uint8; black beyond the picture's border."""
        return self.sample_box(self.box.of(image))

    def sample_box(self, image: np.ndarray) -> np.ndarray:
        """The same, of the picture in `box` alone."""
        cv2 = opencv()
        samples = cv2.remap(image, self.pixels, None, cv2.INTER_LINEAR)
        return (
            samples
            if len(samples) == self.size
            else cv2.resize(samples, (self.size,) * 2, interpolation=cv2.INTER_AREA)
        )


def crop_map(camera: Camera, turn: np.ndarray, intrinsic_crop: np.ndarray, size: int) -> CropMap:
    """The map of one crop: `turn` (3,3) original -> turned camera, and `intrinsic_crop` (3,3), as in CropCamera.

    There are nearly as many samples as the crop has pixels of the picture (at most 8 x 8 in a crop's pixel), so that
    small crops of large boxes do not alias.
    """
    corners = np.arange(CELLS + 1) / CELLS
    u, v = np.meshgrid(corners, corners)
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(intrinsic_crop).T @ turn
    pixels = camera.project(rays)
    pixels[camera.far_outside(rays)] = -1e4
    steps = [np.linalg.norm(np.diff(pixels, axis=axis), axis=-1) for axis in (0, 1)]
    middle = max(step[CELLS // 2, CELLS // 2] for step in steps) * CELLS / size
    oversampling = int(np.clip(np.ceil(middle / SPACING), 1, MAX_OVERSAMPLING))
    box = _box(pixels, camera)
    weights = _interpolation(size * oversampling)
    shifted = (pixels - (box.x0, box.y0)).astype(np.float32)
    x, y = (weights @ shifted[..., axis] @ weights.T for axis in (0, 1))
    return CropMap(opencv().merge([x, y]), size, box)


def crop_rows(rotation: np.ndarray, joints_cam: np.ndarray, crop: CropCamera) -> dict[str, np.ndarray]:
    """Rows of labels.h5 for N crops (any leading dimensions): `3D` (N,17,3), `extrinsic_rot`, `extrinsic_rot_inv`,
    `bounding_box_cam`, `intrinsic_crop`.

    rotation: (3,3) or (N,3,3) world -> original camera. joints_cam: (N,17,3) metres, original camera's frame, root
    first. crop: of these N roots.
    """
    rotations = crop.turn @ rotation
    return {
        "3D": (joints_cam - joints_cam[..., :1, :]) @ crop.turn.swapaxes(-1, -2),
        "extrinsic_rot": rotations,
        "extrinsic_rot_inv": rotations.swapaxes(-1, -2),
        "bounding_box_cam": crop.bounding_box_cam,
        "intrinsic_crop": crop.intrinsic_crop,
    }


def _box(pixels: np.ndarray, camera: Camera) -> Box:
    """The part of a camera's picture with all pixels that samples between `pixels` (...,2) are interpolated from."""
    ends = []
    for axis, side in ((0, camera.width), (1, camera.height)):
        first = int(np.clip(pixels[..., axis].min(), 0, side - 2)) // 2 * 2
        length = max(pixels[..., axis].max() + 2 - first, 2)
        ends.append((first, min(first + int(-(-length // BOX_STEP) * BOX_STEP), side)))
    (x0, x1), (y0, y1) = ends
    return Box(x0, y0, x1, y1)


@functools.lru_cache(maxsize=16)
def _interpolation(count: int) -> np.ndarray:
    """Weights (count, CELLS+1) float32 of the cells' corners for `count` samples in the middles of equal intervals."""
    place = (np.arange(count) + 0.5) / count * CELLS
    return np.clip(1 - np.abs(place[:, None] - np.arange(CELLS + 1)), 0, 1).astype(np.float32)
