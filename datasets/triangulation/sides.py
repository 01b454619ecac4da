"""Left and right: detectors exchange them in some images, of the whole person or of one pair of joints."""

from itertools import product

import numpy as np

from datasets.triangulation.points import MIRRORED_POINTS, PAIRS, nose_ahead
from datasets.triangulation.rays import robust_points

MAX_CAMERAS_AT_ONCE = 6  # of all combinations; 2^5 of them
SWAP_COST = 0.02  # of an exchange of the whole person, over the number of points
CLEARLY = 0.8  # an exchange must lower the squared distance to this part ...
NOISE = 0.01  # ... and by more than the square of this, in normalized coordinates: 3 cm at 3 m


def exchange_people(centers: np.ndarray, rays: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which cameras exchange the sides of the whole person: (C,T) bool, for unit rays (C,T,P,3), weights (C,T,P).

    At each instant, that combination of cameras whose rays agree best; of equal ones the one with fewer exchanges.
    Where half of the cameras that see the person exchange sides, the others may as well: rays agree in both cases, and
    the one in which the nose is in front is taken. The second result, (T,) bool, tells these instants.
    """
    cameras, instants = rays.shape[:2]
    mirrored = list(MIRRORED_POINTS)
    best, exchanged = np.full(instants, np.inf), np.zeros((cameras, instants), dtype=bool)
    for choice in product((False, True), repeat=min(cameras, MAX_CAMERAS_AT_ONCE)):
        flags = np.array([*choice, *[False] * (cameras - len(choice))])
        if flags.sum() > cameras / 2:
            continue
        swapped, weight = rays.copy(), weights.copy()
        swapped[flags], weight[flags] = rays[flags][:, :, mirrored], weights[flags][:, :, mirrored]
        _, costs = robust_points(centers, swapped, weight)
        costs = np.where(np.isfinite(costs), costs, 0).sum(-1) + SWAP_COST * rays.shape[2] * flags.sum()
        better = costs < best
        best[better], exchanged[:, better] = costs[better], flags[:, None]
    seen, flags = (weights > 0).any(-1), exchanged[..., None]
    either = exchanged.any(0) & (2 * exchanged.sum(0) == seen.sum(0))
    swapped = np.where(flags[..., None], rays[:, :, mirrored], rays)
    points, _ = robust_points(centers, swapped, np.where(flags, weights[:, :, mirrored], weights))
    other = either & (nose_ahead(points) < 0)
    exchanged[:, other] = (seen & ~exchanged)[:, other]
    return exchanged, either


def exchange_pairs(predicted: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Which pairs of joints are exchanged in which image: (C,T,N) bool for the N pairs of PAIRS.

    predicted, places: (C,T,P,2) where the current track would be seen, and where the detector saw the points.
    """
    left, right = np.array(PAIRS).T
    kept = _squares(predicted, places, left, left) + _squares(predicted, places, right, right)
    crossed = _squares(predicted, places, left, right) + _squares(predicted, places, right, left)
    return crossed + NOISE**2 < CLEARLY * kept


def swap_pairs(values: np.ndarray, exchanged: np.ndarray) -> np.ndarray:
    """values (C,T,P,...) with left and right of the pairs `exchanged` (C,T,N) in each other's place."""
    result = values.copy()
    for number, (left, right) in enumerate(PAIRS):
        flags = exchanged[..., number]
        result[..., left, :][flags], result[..., right, :][flags] = (
            values[..., right, :][flags],
            values[..., left, :][flags],
        )
    return result


def _squares(predicted: np.ndarray, places: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return ((predicted[..., first, :] - places[..., second, :]) ** 2).sum(-1)
