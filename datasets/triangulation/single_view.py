"""Where a person is whom one camera sees: from the size of the 2D landmarks, since there are no rays to meet."""

from collections.abc import Sequence

import numpy as np

from datasets.cameras.camera import Camera
from datasets.detection.blazepose import LANDMARK_NAMES
from datasets.triangulation.people import MAX_SPEED, Group, longest_chain
from datasets.triangulation.points import LANDMARKS

_HIPS = [LANDMARK_NAMES.index(name) for name in ("left_hip", "right_hip")]
MIN_DEPTH = 0.1  # meters: a nearer person is a wrong detection
DEPTH_SECONDS = 1.0  # over which the median of a person's distance is taken


def root_positions(camera: Camera, pixels: np.ndarray, visibility: np.ndarray, world: np.ndarray) -> np.ndarray:
    """Middle of the hips (...,3), meters, camera frame; NaN where a person is unknown or not in front of the camera.

    pixels (...,33,2), visibility (...,33) and world (...,33,3) are what BlazePose finds: `world` tells the size of the
    person, a guess from one image. The position is the one from which `world` projects to `pixels`, by least squares.
    """
    chosen = list(LANDMARKS)
    places, points = camera.normalized(pixels[..., chosen, :]), np.asarray(world[..., chosen, :], np.float64)
    known = np.isfinite(places).all((-1, -2)) & np.isfinite(points).all((-1, -2))
    places, points = np.nan_to_num(places), np.nan_to_num(points)
    weights = np.clip(np.nan_to_num(visibility[..., chosen]), 0.05, 1)
    # place * (z + t_z) = (x, y) + t_xy is linear in t.
    rows = np.zeros((*places.shape, 3))
    rows[..., 0, 0] = rows[..., 1, 1] = 1
    rows[..., 2] = -places
    right = places * points[..., 2:] - points[..., :2]
    left = np.einsum("...p,...pai,...paj->...ij", weights, rows, rows) + 1e-9 * np.eye(3)
    shift = np.linalg.solve(left, np.einsum("...p,...pai,...pa->...i", weights, rows, right)[..., None])[..., 0]
    roots = shift + np.nan_to_num(world[..., _HIPS, :].mean(-2))
    return np.where((known & (roots[..., 2] > MIN_DEPTH))[..., None], roots, np.nan)


def follow_in_one_view(roots: np.ndarray, seconds: float) -> np.ndarray:
    """Which of up to K people to follow, (T,) int, -1 for none: the one seen most often, of equals the nearest.

    roots: (T,K,3) meters, camera frame, NaN for nobody. seconds: between two instants.
    """
    distance = np.linalg.norm(roots, axis=-1)
    if not np.isfinite(distance).any():
        return np.full(len(roots), -1)
    # The distance is a guess, which jumps: people are told apart by where they are in the image.
    across = roots / distance[..., None] * np.nanmedian(distance)
    groups = [
        [Group({0: k}, across[instant, k]) for k in np.argsort(distance[instant]) if np.isfinite(distance[instant, k])]
        for instant in range(len(roots))
    ]
    chosen = np.full(len(roots), -1)
    for instant, group in longest_chain(groups, MAX_SPEED * seconds).items():
        chosen[instant] = group.members[0]
    return chosen


def steady_distances(roots: np.ndarray, seconds: float) -> np.ndarray:
    """Roots (T,3) of one camera with their distances replaced by the median of the second around, NaN stays NaN."""
    distance = np.linalg.norm(roots, axis=-1)
    reach = round(DEPTH_SECONDS / 2 / seconds)
    return roots * (_medians(distance, reach) / distance)[:, None]


def _medians(values: Sequence[float], reach: int) -> np.ndarray:
    windows = (values[max(0, place - reach) : place + reach + 1] for place in range(len(values)))
    return np.array([np.nanmedian(window) if np.isfinite(window).any() else np.nan for window in windows])
