"""Crops out of a camera's full pictures, seen by the turned camera of `crop_camera`: one sampling, from distorted
pixels straight to the crop, the same for the picture and its background."""

import functools
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

from datasets.cameras.camera import Camera, opencv

NODES = 9  # across and down a crop: the polynomial through them is under 0.001 pixels off
BEYOND = -1e4  # pixels that are in no picture
MAX_FOOTPRINT = 16  # pixels of the picture that are averaged for one of the crop, across and down


class Box(NamedTuple):
    """Pixels x0 <= x < x1, y0 <= y < y1 of a picture; x0 and y0 are even."""

    x0: int
    y0: int
    x1: int
    y1: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """This part of an image (H,W,...), not copied."""
        return image[self.y0 : self.y1, self.x0 : self.x1]

    def halved(self) -> "Box":
        """The same part of a picture of half the resolution."""
        return Box(self.x0 // 2, self.y0 // 2, -(-self.x1 // 2), -(-self.y1 // 2))


class CropMap(NamedTuple):
    """Where the pixels of a crop lie in the full picture.

    pixels: (S,S,2) float32, x and y from the corner of `box`, the part of the picture that the crop is made of.
    footprint: (2,) pixels of the picture that one pixel of the crop covers, across and down, in the middle.
    """

    pixels: np.ndarray
    footprint: np.ndarray
    box: Box

    def sample(self, image: np.ndarray, beyond: int = 0) -> np.ndarray:
        """The crop (S,S,...) uint8 of a full picture (H,W,...) uint8; `beyond` is the value beyond its border.

        First each pixel becomes the mean of as many as one of the crop covers, so that nothing aliases; between these
        means the crop is interpolated.
        """
        cv2 = opencv()
        across, down = map(_averaging, self.footprint)
        means = cv2.sepFilter2D(self.box.of(image), -1, across, down, borderType=cv2.BORDER_REPLICATE)
        return cv2.remap(means, self.pixels, None, cv2.INTER_LINEAR, borderValue=(beyond,) * 4)

    def halved(self) -> "CropMap":
        """The map of the same crop for a picture of half the resolution, whose pixels each cover 2 x 2."""
        return CropMap(self.pixels / 2 - np.float32(0.25), self.footprint / 2, self.box.halved())


def crop_map(camera: Camera, turn: np.ndarray, intrinsic_crop: np.ndarray, size: int) -> CropMap:
    """The map of one crop: `turn` (3,3) original -> turned camera, and `intrinsic_crop` (3,3), as in CropCamera."""
    pixels = _pixels(camera, np.linalg.inv(intrinsic_crop).T @ turn, size)
    middle = size // 2
    steps = pixels[middle, middle] - pixels[[middle - 1, middle], [middle, middle - 1]]
    # of a parallelogram, the box that is spread as wide
    footprint = np.minimum(np.linalg.norm(steps, axis=0), MAX_FOOTPRINT)
    box = _box(pixels, footprint, camera)
    pixels -= np.array([box.x0, box.y0], np.float32)
    return CropMap(pixels, footprint, box)


def _box(pixels: np.ndarray, footprint: np.ndarray, camera: Camera) -> Box:
    """The part of a camera's picture that a crop is made of, whose pixels lie at `pixels` (S,S,2)."""
    ends = []
    margin = int(footprint.max()) + 4  # averaging reaches half as far; one more is interpolated with
    for axis, side in ((0, camera.width), (1, camera.height)):
        first, last = pixels[..., axis].min() - margin, pixels[..., axis].max() + margin
        first = int(np.clip(first, 0, side - 1)) // 2 * 2
        ends.append((first, int(np.clip(last, first + 1, side))))
    (x0, x1), (y0, y1) = ends
    return Box(x0, y0, x1, y1)


def _pixels(camera: Camera, to_rays: np.ndarray, size: int) -> np.ndarray:
    """Where the pixels of a crop lie (size,size,2) float32. to_rays: (3,3) crop coordinates (u, v, 1), times it."""
    places, weights = _nodes(size)
    rays = _grid(places) @ to_rays
    if not camera.far_outside(rays).any():
        pixels = camera.project(rays).astype(np.float32)
        return opencv().merge([weights @ pixels[..., axis] @ weights.T for axis in (0, 1)])
    rays = _grid((np.arange(size) + 0.5) / size) @ to_rays
    return np.where(camera.far_outside(rays)[..., None], BEYOND, camera.project(rays)).astype(np.float32)


@functools.lru_cache(maxsize=16)
def _nodes(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (NODES,) between 0 and 1 where the distortion is computed, and weights (size,NODES) of the polynomial
    through them in the middles of `size` equal intervals."""
    nodes = chebyshev.chebpts1(NODES)
    middles = (2 * np.arange(size) + 1) / size - 1
    weights = chebyshev.chebvander(middles, NODES - 1) @ np.linalg.inv(chebyshev.chebvander(nodes, NODES - 1))
    return (nodes + 1) / 2, weights.astype(np.float32)


def _grid(places: np.ndarray) -> np.ndarray:
    """Points (N,N,3) of a crop, homogeneous, at all pairs of `places` (N,)."""
    u, v = np.meshgrid(places, places)
    return np.stack([u, v, np.ones_like(u)], axis=-1)


@functools.lru_cache(maxsize=64)
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
