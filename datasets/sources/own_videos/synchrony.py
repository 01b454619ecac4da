"""Are cameras synchronized? Rays through a moving person meet best where all show the same moment."""

from collections.abc import Sequence

import numpy as np

from datasets.sources.own_videos.recordings import offsets_option
from datasets.triangulation.rays import meeting_points, ray_misses

MUCH_BETTER = 0.5  # shifted cameras must lower the misses to this part to be reported
MIN_GAIN = 0.005  # meters
MAX_SECONDS = 1.0
MAX_INSTANTS = 100
FEWEST_INSTANTS = 30  # of fewer, noise decides
MIN_SHARE = 0.7  # of each camera's instants must be left where cameras are shifted


def synchrony_note(
    names: Sequence[str], centers: np.ndarray, rays: np.ndarray, offsets: Sequence[int], every: int, rate: float
) -> list[str]:
    """A line of the report on cameras that seem to have started at other times; none where all seem synchronized.

    centers: (C,3) of the cameras. rays: (C,T,P,3) unit, world, of P points at T instants, zero where unknown. offsets:
    frames of each camera at instant 0. every: frames between two instants. rate: frames per second.
    """
    if (rays.any((2, 3)).sum(0) >= 2).sum() < FEWEST_INSTANTS:
        return []
    rays = _smoothed(rays)
    reach = round(MAX_SECONDS * rate)
    shifts, first = np.zeros(len(names), dtype=int), _miss(centers, rays, np.zeros(len(names)), every)
    best = first
    # Several cameras may be off: each time, the one that gains most is shifted against the others.
    for _ in range(2 * len(names)):
        tries = []
        for camera in range(len(names)):
            for shift in range(-reach, reach + 1):
                tried = shifts.copy()
                tried[camera] = shift
                tries.append((_miss(centers, rays, tried, every), tried))
        found, tried = min(tries, key=lambda one: one[0])
        if not found < 0.98 * best:
            break
        best, shifts = found, tried
    if not (best < MUCH_BETTER * first and first - best > MIN_GAIN):
        return []
    corrected = np.array(offsets) + shifts
    corrected -= min(0, corrected.min())
    listed = offsets_option(dict(zip(names, corrected.tolist(), strict=True)))
    return [
        f"WARNING: the cameras do not seem to be synchronized: rays miss the person by {1000 * first:.0f} mm, and by "
        f"{1000 * best:.0f} mm with {listed}"
    ]


def _miss(centers: np.ndarray, rays: np.ndarray, shifts: np.ndarray, every: int) -> float:
    """How far rays miss the points nearest to them, meters, with each camera's frames shifted: median, mean of
    cameras; infinity where too few instants are left to tell."""
    instants = np.arange(rays.shape[1])[:: max(1, rays.shape[1] // MAX_INSTANTS)]
    shifted = np.stack([_at(ray, instants + shift / every) for ray, shift in zip(rays, shifts, strict=True)])
    there, before = (_seen_twice(directions) for directions in (shifted, rays[:, instants]))
    # Of each camera: else cameras that see different people are shifted until they share no moment, and agree.
    if not there.any() or (there.any(2).sum(1) < MIN_SHARE * before.any(2).sum(1)).any():
        return np.inf
    misses = ray_misses(centers, shifted, meeting_points(centers, shifted, there.astype(float)))
    return float(np.mean([np.median(miss[seen]) for miss, seen in zip(misses, there, strict=True) if seen.any()]))


def _seen_twice(rays: np.ndarray) -> np.ndarray:
    """Which of the rays (C,T,P,3) are known and met by another camera's: (C,T,P) bool."""
    known = rays.any(-1)
    return known & (known.sum(0) >= 2)


def _smoothed(rays: np.ndarray) -> np.ndarray:
    """Rays (C,T,P,3) averaged over three instants: between two instants, at which shifted rays are taken, noise is
    averaged too, which must not be taken for a gain."""
    padded = np.pad(rays, ((0, 0), (1, 1), (0, 0), (0, 0)))
    weights = padded.any(-1, keepdims=True) * 1.0
    sums = (parts[:, :-2] + 2 * parts[:, 1:-1] + parts[:, 2:] for parts in (padded, weights))
    mean = np.divide(*sums, out=np.zeros_like(rays), where=weights[:, 1:-1] > 0)
    return mean / np.maximum(np.linalg.norm(mean, axis=-1, keepdims=True), 1e-9)


def _at(rays: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Rays (N,P,3) of one camera (T,P,3) at `times` (N,), interpolated; zero where a neighbor is unknown."""
    before = np.floor(times).astype(int)
    part = (times - before)[:, None, None]
    inside = (before >= 0) & (np.ceil(times) < len(rays))
    first, second = (rays[np.clip(place, 0, len(rays) - 1)] for place in (before, before + (part[:, 0, 0] > 0)))
    known = first.any(-1) & second.any(-1) & inside[:, None]
    between = np.where(known[..., None], (1 - part) * first + part * second, 0)
    return between / np.maximum(np.linalg.norm(between, axis=-1, keepdims=True), 1e-9)
