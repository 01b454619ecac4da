"""Resamples a camera's full image into the crop that the camera of `crop_camera` would see, or into a smaller frame.

One resampling leads from distorted pixels to those of a camera without distortion. It is the same for the image and its
background.
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

from datasets.cameras.camera import Camera, opencv

NODES = 9  # across and down a crop: the polynomial through them is accurate to 0.001 pixels
OUTSIDE = -1e4  # a pixel coordinate outside of every image
MAX_FOOTPRINT = 16  # pixels of the image that are averaged for one pixel of the crop, across and down


class Box(NamedTuple):
    """Pixels x0 <= x < x1, y0 <= y < y1 of an image; x0 and y0 are even, so that `halved` is exact."""

    x0: int
    y0: int
    x1: int
    y1: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """This part of an image (H,W,...), not copied."""
        return image[self.y0 : self.y1, self.x0 : self.x1]

    def halved(self) -> "Box":
        """The same part of an image of half the resolution."""
        return Box(self.x0 // 2, self.y0 // 2, -(-self.x1 // 2), -(-self.y1 // 2))


class CropMap(NamedTuple):
    """Where the pixels of a crop lie in the full image.

    pixels: (S,S,2) float32, x and y relative to the corner of `box`, the part of the image that the crop needs.
    footprint: (2,) pixels of the image that one pixel in the middle of the crop covers, across and down.
    """

    pixels: np.ndarray
    footprint: np.ndarray
    box: Box

    def sample(self, image: np.ndarray, outside: int = 0) -> np.ndarray:
        """The crop (S,S,...) uint8 of a full image (H,W,...) uint8; `outside` is the value beyond its border.

        The image is first averaged over the footprint of a crop pixel, so that nothing aliases; the crop is then
        interpolated between the averages.
        """
        cv2 = opencv()
        across, down = map(_averaging, self.footprint)
        means = cv2.sepFilter2D(self.box.of(image), -1, across, down, borderType=cv2.BORDER_REPLICATE)
        return cv2.remap(means, self.pixels, None, cv2.INTER_LINEAR, borderValue=(outside,) * 4)

    def halved(self) -> "CropMap":
        """The map of the same crop for an image of half the resolution, whose pixels each cover 2 x 2."""
        # Whole numbers are pixel centers: the first pixel of half size has its center at 0.5, between pixels 0 and 1.
        return CropMap(self.pixels / 2 - np.float32(0.25), self.footprint / 2, self.box.halved())


def crop_map(camera: Camera, rotation: np.ndarray, intrinsic_crop: np.ndarray, size: int) -> CropMap:
    """The map of one crop; `rotation` (3,3) and `intrinsic_crop` (3,3) are those of its CropCamera."""
    pixels = _pixels(camera, np.linalg.inv(intrinsic_crop).T @ rotation, size)
    middle = size // 2
    steps = pixels[middle, middle] - pixels[[middle - 1, middle], [middle, middle - 1]]
    # A crop pixel covers a parallelogram; its footprint is the box of the same spread along x and y.
    footprint = np.minimum(np.linalg.norm(steps, axis=0), MAX_FOOTPRINT)
    box = _box(pixels, footprint, camera)
    pixels -= np.array([box.x0, box.y0], np.float32)
    return CropMap(pixels, footprint, box)


def frame_intrinsics(camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """Intrinsics (3,3) of the same camera for an image of `size` (height, width), pixel centers at integers."""
    scale = np.array([size[1] / camera.width, size[0] / camera.height])
    intrinsics = np.array(camera.intrinsics, dtype=np.float64)
    # Pixel centers are at integers: the border of the image, at -0.5, stays the border.
    intrinsics[:2, 2] += 0.5
    intrinsics[:2] *= scale[:, None]
    intrinsics[:2, 2] -= 0.5
    return intrinsics


def frame_map(camera: Camera, size: tuple[int, int]) -> CropMap:
    """The map of a whole frame of `size` (height, width), as a camera of `frame_intrinsics` without distortion sees."""
    height, width = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(frame_intrinsics(camera, size)).T
    outside = camera.far_outside(rays)[..., None]
    pixels = np.where(outside, OUTSIDE, camera.project(rays)).astype(np.float32)
    footprint = np.minimum([camera.width / width, camera.height / height], MAX_FOOTPRINT)
    whole = Box(0, 0, camera.width, camera.height)
    return CropMap(pixels, footprint, whole)


def _box(pixels: np.ndarray, footprint: np.ndarray, camera: Camera) -> Box:
    """The part of a camera's image that a crop needs whose pixels lie at `pixels` (S,S,2)."""
    ends = []
    # Averaging reaches half a footprint beyond the crop, and interpolation one pixel more.
    margin = int(footprint.max()) + 4
    for axis, side in ((0, camera.width), (1, camera.height)):
        first, last = pixels[..., axis].min() - margin, pixels[..., axis].max() + margin
        first = int(np.clip(first, 0, side - 1)) // 2 * 2
        ends.append((first, int(np.clip(last, first + 1, side))))
    (x0, x1), (y0, y1) = ends
    return Box(x0, y0, x1, y1)


def _pixels(camera: Camera, to_rays: np.ndarray, size: int) -> np.ndarray:
    """Where the pixels of a crop lie, (size,size,2) float32. (u, v, 1) @ `to_rays` (3,3) is a ray."""
    # The distortion is smooth over a crop: OpenCV computes it at 9 x 9 nodes only, and the polynomial through them
    # gives all pixels by two small matrix products.
    places, weights = _nodes(size)
    rays = _grid(places) @ to_rays
    if not camera.far_outside(rays).any():
        pixels = camera.project(rays).astype(np.float32)
        return opencv().merge([weights @ pixels[..., axis] @ weights.T for axis in (0, 1)])
    # Far outside the image the distortion folds back and is not smooth: every pixel is computed on its own.
    rays = _grid((np.arange(size) + 0.5) / size) @ to_rays
    return np.where(camera.far_outside(rays)[..., None], OUTSIDE, camera.project(rays)).astype(np.float32)


@functools.lru_cache(maxsize=16)
def _nodes(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev nodes (NODES,) in 0..1, and weights (size,NODES) that interpolate from them to `size` pixels."""
    nodes = chebyshev.chebpts1(NODES)
    middles = (2 * np.arange(size) + 1) / size - 1
    weights = chebyshev.chebvander(middles, NODES - 1) @ np.linalg.inv(chebyshev.chebvander(nodes, NODES - 1))
    return (nodes + 1) / 2, weights.astype(np.float32)


def _grid(places: np.ndarray) -> np.ndarray:
    """Homogeneous points (N,N,3) of a crop at all pairs of `places` (N,)."""
    u, v = np.meshgrid(places, places)
    return np.stack([u, v, np.ones_like(u)], axis=-1)


@functools.lru_cache(maxsize=64)
def _averaging(width: float) -> np.ndarray:
    """Weights of the average over `width` pixels, a real number: equal except for the outermost two.

    Their variance is that of a box of `width` pixels minus that of one pixel, since a pixel is an average already.
    """
    variance = max(width**2 - 1, 0) / 12
    inner = int((np.sqrt(1 + 12 * variance) - 1) / 2)  # to each side
    squares = inner * (inner + 1) * (2 * inner + 1) / 3
    outermost = (variance * (2 * inner + 1) - squares) / (2 * ((inner + 1) ** 2 - variance))
    weights = np.array([outermost, *[1.0] * (2 * inner + 1), outermost])
    return weights / weights.sum()
