"""Crops out of a camera's full pictures, seen by the turned camera of `crop_camera`: one sampling, from distorted
pixels straight to the crop, the same for the picture and its background."""

import functools
from typing import NamedTuple

import numpy as np

from datasets.cameras import Camera, opencv
from datasets.crop_camera import CropCamera
from datasets.rgb import Box

CELLS = 48  # the distortion is computed at the corners of so many cells, and is linear between: under 0.02 pixels off
MAX_FOOTPRINT = 16  # pixels of the picture that are averaged for one of the crop, to each side


class CropMap(NamedTuple):
    """Where the pixels of a crop lie in the full picture.

    pixels: (S,S,2) float32, x and y. footprint: (2,) pixels of the picture that one pixel of the crop covers, across
    and down, in the middle. box: the part of the picture that the crop is made of.
    """

    pixels: np.ndarray
    footprint: np.ndarray
    box: Box

    def sample(self, image: np.ndarray, scale: int = 1, beyond: int = 0) -> np.ndarray:
        """The crop (S,S,...) uint8 of a full picture (H,W,...) uint8.

        First each pixel becomes the mean of as many as one of the crop covers, so that nothing aliases; between these
        means the crop is interpolated. scale: 2 for a picture of half the resolution, whose pixels each cover 2 x 2.
        beyond: value beyond the picture's border.
        """
        cv2 = opencv()
        box = self.box.shrunk(scale)
        across, down = (_averaging(float(width) / scale) for width in self.footprint)
        means = cv2.sepFilter2D(box.of(image), -1, across, down, borderType=cv2.BORDER_REPLICATE)
        corner = scale * np.array([box.x0, box.y0]) + (scale - 1) / 2
        places = (self.pixels - corner.astype(np.float32)) / np.float32(scale)
        return cv2.remap(means, places, None, cv2.INTER_LINEAR, borderValue=(beyond,) * 4)


def crop_map(camera: Camera, turn: np.ndarray, intrinsic_crop: np.ndarray, size: int) -> CropMap:
    """The map of one crop: `turn` (3,3) original -> turned camera, and `intrinsic_crop` (3,3), as in CropCamera."""
    rays = _grid() @ (np.linalg.inv(intrinsic_crop).T @ turn)
    pixels = camera.project(rays)
    pixels[camera.far_outside(rays)] = -1e4
    middle = CELLS // 2
    steps = pixels[[middle + 1, middle], [middle, middle + 1]] - pixels[[middle - 1, middle], [middle, middle - 1]]
    # of a parallelogram, the box that is spread as wide
    footprint = np.minimum(np.linalg.norm(steps, axis=0) / 2 * CELLS / size, MAX_FOOTPRINT)
    weights = _interpolation(size)
    x, y = (weights @ pixels[..., axis].astype(np.float32) @ weights.T for axis in (0, 1))
    return CropMap(opencv().merge([x, y]), footprint, _box(pixels, footprint, camera))


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


def _box(pixels: np.ndarray, footprint: np.ndarray, camera: Camera) -> Box:
    """The part of a camera's picture with all that is averaged for crops whose corners are among `pixels` (...,2)."""
    ends = []
    margin = int(footprint.max()) + 4  # averaging reaches half as far; one more is interpolated with
    for axis, side in ((0, camera.width), (1, camera.height)):
        first, last = pixels[..., axis].min() - margin, pixels[..., axis].max() + margin
        first = int(np.clip(first, 0, side - 1)) // 2 * 2
        ends.append((first, int(np.clip(last, first + 1, side))))
    (x0, x1), (y0, y1) = ends
    return Box(x0, y0, x1, y1)


@functools.cache
def _grid() -> np.ndarray:
    """Corners (CELLS+1,CELLS+1,3) of the cells of a crop, 0..1, homogeneous."""
    corners = np.arange(CELLS + 1) / CELLS
    u, v = np.meshgrid(corners, corners)
    return np.stack([u, v, np.ones_like(u)], axis=-1)


@functools.lru_cache(maxsize=16)
def _interpolation(count: int) -> np.ndarray:
    """Weights (count, CELLS+1) float32 of the cells' corners for `count` pixels in the middles of equal intervals."""
    place = (np.arange(count) + 0.5) / count * CELLS
    return np.clip(1 - np.abs(place[:, None] - np.arange(CELLS + 1)), 0, 1).astype(np.float32)


def _averaging(width: float) -> np.ndarray:
    """Weights of the pixels around one, for the mean over `width` pixels: equal but for the outermost two.

    Their spread is that of `width` pixels less that of one, which each pixel is the mean of already.
    """
    variance = max(width**2 - 1, 0) / 12
    inner = int((np.sqrt(1 + 12 * variance) - 1) / 2)  # to each side
    squares = inner * (inner + 1) * (2 * inner + 1) / 3
    outermost = (variance * (2 * inner + 1) - squares) / (2 * ((inner + 1) ** 2 - variance))
    weights = np.array([outermost, *[1.0] * (2 * inner + 1), outermost])
    return weights / weights.sum()
