"""Images with one Gaussian blob per color channel, to measure where a crop shows three joints of a person."""

import numpy as np

from datasets.cameras.crop_camera import project_to_crop
from datasets.layout.labels import Labels
from datasets.layout.png import read_png
from datasets.layout.writer import image_path

JOINTS = (10, 13, 16)  # head top, left wrist, right wrist: in the red, green and blue channel
FLOOR = 20  # gray level of the background
PEAK = 235  # of a blob; below 255, so that resampling does not clip it


def render_markers(pixels: np.ndarray, width: int, height: int, radius: float) -> np.ndarray:
    """Image (height,width,3) uint8 with blobs of `radius` at `pixels` (3,2); whole numbers are pixel centers."""
    image = np.empty((height, width, 3))
    for channel, (x, y) in enumerate(pixels):
        across = np.exp(-0.5 * ((np.arange(width) - x) / radius) ** 2)
        down = np.exp(-0.5 * ((np.arange(height) - y) / radius) ** 2)
        image[..., channel] = FLOOR + (PEAK - FLOOR) * down[:, None] * across
    return image.round().astype(np.uint8)


def read_crop(root, labels: Labels, row: int, kind: str = "img_crop") -> np.ndarray:
    """A crop (R,R,3) uint8 of the layout `root`."""
    return read_png(image_path(root, *(labels[name][row] for name in ("seq", "cam", "frame")), kind))


def marker_offsets(root) -> list[float]:
    """Distances in pixels between markers and labels, for all markers well inside crops of 2 m."""
    labels, offsets = Labels(root), []
    for row in range(labels.num_rows):
        crop, intrinsic = read_crop(root, labels, row), labels["intrinsic_crop"][row]
        # The root lies on the optical axis, at a distance of 2 m times the focal length in crop widths.
        in_view = labels["3D"][row].reshape(17, 3)[list(JOINTS)] + np.array([0, 0, 2.0 * intrinsic[0, 0]])
        expected = project_to_crop(in_view, intrinsic)
        inside = ((expected > 0.15) & (expected < 0.85)).all(-1)
        offsets.extend(np.linalg.norm(find_markers(crop) - expected, axis=-1)[inside] * len(crop))
    return offsets


def find_markers(crop: np.ndarray, background: float = FLOOR) -> np.ndarray:
    """Centers (3,2) of the blobs in a crop (R,R,3), in crop coordinates 0..1; NaN where a channel shows none."""
    # Centers of mass of what is clearly brighter than the background: noise far away must not shift them.
    excess = crop.astype(float) - background
    weight = np.where(excess > 0.25 * (PEAK - FLOOR), excess, 0.0)
    centers = (np.arange(len(crop)) + 0.5) / len(crop)
    with np.errstate(invalid="ignore"):
        total = weight.sum((0, 1))
        x, y = (np.einsum(f"ijc,{index}->c", weight, centers) / total for index in "ji")
    return np.stack([x, y], axis=-1)
