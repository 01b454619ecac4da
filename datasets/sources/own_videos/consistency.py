"""Do calibration and boxes describe the same scene? Wrong ones would give confident garbage.

Extrinsics that are inverted, transposed or exchanged between cameras let the rays through the boxes miss the person, or
put the person where boxes of that size cannot be. Every such mistake that is common is tried: one that explains the
boxes much better is named.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np

from datasets.cameras.camera import Camera
from datasets.sources.own_videos.boxes import DISTANCE_WEIGHT, PERSON_METERS, Boxes
from datasets.sources.own_videos.recordings import Recording
from datasets.sources.own_videos.video_sizes import MAX_MISS
from utils.errors import UserError

# Between the distance of the person and that of the size of the boxes. Boxes of infants, and of people who are seen by
# half, are a third as large as usual; wrong units err by 10 or more.
USUAL_SIZE_FACTOR, MAX_SIZE_FACTOR = 2.0, 4.0
MUCH_BETTER = 0.5  # another reading of the calibration must lower the cost to this part to be named
FINE = 0.04  # cost below which nothing is questioned
MISFIT_WEIGHT = 0.1  # of the log of the size factor, against offsets in heights of the person
MAX_INSTANTS = 200
MAX_LEFT_OUT = 0.5  # of the boxes of a camera
_TURNED_AXES = np.diag([1.0, -1.0, -1.0])  # y up, z backward
# Of the image about the optical axis, by degrees. A quarter turn keeps the size of square images alone.
_ROLLS = {
    180: np.diag([-1.0, -1.0, 1.0]),
    90: np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]]),
    -90: np.array([[0, 1.0, 0], [-1, 0, 0], [0, 0, 1]]),
}


class Sightings(NamedTuple):
    """Boxes of C cameras at T instants; NaN where a camera has none.

    rays: (C,T,3) unit, camera frames. distances: (C,T) meters, estimated from the size of the boxes.
    """

    rays: np.ndarray
    distances: np.ndarray


class Extrinsics(NamedTuple):
    """rotations: (C,3,3) world -> camera. centers: (C,3) of the cameras in the world."""

    rotations: np.ndarray
    centers: np.ndarray


class Misses(NamedTuple):
    """Of C cameras at T instants, NaN where fewer than two cameras have a box.

    meters: (C,T) between a ray and the point nearest to all rays. heights: the same, in heights of the person as they
    appear in the image. factors: (C,T) log of the ratio of the point's distance to that of the box size.
    """

    meters: np.ndarray
    heights: np.ndarray
    factors: np.ndarray

    @property
    def cost(self) -> float:
        """Small where rays meet in points whose distances fit the sizes of the boxes."""
        used = np.isfinite(self.heights).any(1)
        if not used.any():
            return 0.0
        # The mean over cameras, so that one wrong camera among many counts; over time the median, because boxes err.
        misfits = self.heights[used] + MISFIT_WEIGHT * np.abs(self.factors[used])
        return float(np.nanmedian(misfits, axis=1).mean())


def sightings(cameras: Sequence[Camera], boxes: np.ndarray) -> Sightings:
    """The rays through the centers of boxes (C,T,4) x0, y0, width, height, pixels; NaN where there is none."""
    rays, distances = np.full((*boxes.shape[:2], 3), np.nan), np.full(boxes.shape[:2], np.nan)
    for number, (camera, of_camera) in enumerate(zip(cameras, boxes, strict=True)):
        known = np.isfinite(of_camera).all(1)
        if known.any():
            centers = of_camera[known, :2] + of_camera[known, 2:] / 2
            places = camera.normalized(centers)
            ray = np.concatenate([places, np.ones((len(places), 1))], axis=1)
            length = np.linalg.norm(ray, axis=1)
            depth = camera.intrinsics[1, 1] * PERSON_METERS / of_camera[known, 2:].max(1)
            rays[number, known], distances[number, known] = ray / length[:, None], depth * length
    return Sightings(rays, distances)


def extrinsics(cameras: Sequence[Camera], to_z_up: np.ndarray) -> Extrinsics:
    """The extrinsics of cameras, in the world of their file, from which `to_z_up` (3,3) rotates."""
    rotations, centers = np.stack([c.rotation for c in cameras]), np.stack([c.center for c in cameras])
    return Extrinsics(rotations @ to_z_up, centers @ to_z_up)


def misses(given: Extrinsics, seen: Sightings) -> Misses:
    """How far the rays of all cameras miss the points nearest to them, which sizes of boxes pull along the rays."""
    there = np.isfinite(seen.distances)
    there &= there.sum(0) >= 2
    directions = np.einsum("cji,ctj->cti", given.rotations, np.where(there[..., None], seen.rays, 0))
    distances = np.where(there, seen.distances, 1)
    along = directions[..., :, None] * directions[..., None, :]
    weights = there[..., None, None] * (np.eye(3) - (1 - DISTANCE_WEIGHT**2) * along)
    ends = given.centers[:, None] + distances[..., None] * directions
    right = np.einsum("ctij,ctj->ti", weights, ends)
    points = np.linalg.solve(weights.sum(0) + 1e-12 * np.eye(3), right[..., None])[..., 0]
    offsets = points - given.centers[:, None]
    depth = (offsets * directions).sum(-1)
    meters = np.linalg.norm(offsets - depth[..., None] * directions, axis=-1)
    # A point behind a camera is as wrong as can be.
    ahead = np.maximum(depth, 1e-2)
    heights = np.where(depth > 0, meters / ahead * distances / PERSON_METERS, 10.0)
    values = meters, np.minimum(heights, 10.0), np.log(ahead / distances)
    return Misses(*(np.where(there, value, np.nan) for value in values))


def ray_miss(cameras: Sequence[Camera], boxes: np.ndarray) -> float:
    """How far rays through boxes (C,T,4) miss each other, meters: the mean over cameras of medians over time.

    Infinity where no instant has boxes of two cameras.
    """
    boxes = boxes[:, np.isfinite(boxes).all(-1).sum(0) >= 2]
    if not boxes.shape[1]:
        return np.inf
    boxes = boxes[:, :: max(1, boxes.shape[1] // MAX_INSTANTS)]
    meters = misses(extrinsics(cameras, np.eye(3)), sightings(cameras, boxes)).meters
    return float(np.nanmedian(meters[np.isfinite(meters).any(1)], axis=1).mean())


def box_table(boxes: Boxes, offsets: dict[str, int], instants: Sequence[int]) -> np.ndarray:
    """Boxes (C,T,4) of the cameras in `offsets` at instants, NaN where there is none."""
    table = np.full((len(offsets), len(instants), 4), np.nan)
    for row, (name, offset) in zip(table, offsets.items(), strict=True):
        for column, instant in enumerate(instants):
            box = boxes[name].get(instant + offset)
            if box is not None:
                row[column] = box
    return table


def agreement_lines(recording: Recording, found: Misses, used: np.ndarray) -> list[str]:
    """Lines of the report: how the boxes of each camera agree with those of the others. used: (C,T) bool, boxes that
    place the person. Raises UserError for a camera most of whose boxes were left out."""
    lines = []
    for name, meters, factors, kept in zip(recording.videos, found.meters, found.factors, used, strict=True):
        there = np.isfinite(meters)
        if not there.any():
            lines.append(f"{name}: no box beside one of another camera")
            continue
        left_out = int((there & ~kept).sum())
        line = (
            f"{name}: rays miss the person by {1000 * np.median(meters[there]):.0f} mm, at "
            f"{np.exp(np.median(factors[there])):.2f} times the distance that box sizes give; {left_out} of "
            f"{there.sum()} boxes left out"
        )
        if left_out > MAX_LEFT_OUT * there.sum():
            raise UserError(
                f"{recording.name}: camera {line}; expected boxes that agree with those of other cameras: check R and "
                "t (world -> camera: X_cam = R X + t), the offsets, and whose boxes these are"
            )
        lines.append(line)
    return lines


def miss_warnings(names: Sequence[str], found: Misses) -> list[str]:
    """A warning of the report on the cameras whose rays miss the person by more than boxes of a person do."""
    known = {name: meters[np.isfinite(meters)] for name, meters in zip(names, found.meters, strict=True)}
    median = {name: float(np.median(meters)) for name, meters in known.items() if len(meters)}
    far = sorted((name for name in median if median[name] > MAX_MISS), key=median.__getitem__, reverse=True)
    if not far:
        return []
    # One wrong camera pulls the others' points away, too: its own rays mostly miss most.
    listed = ", ".join(f"{name} by {1000 * median[name]:.0f} mm" for name in far)
    return [
        f"WARNING: rays through the boxes miss the person, worst first: {listed} (median); expected at most "
        f"{1000 * MAX_MISS:.0f} mm: check the offsets (synchronize_videos.py finds them), whether a camera was moved "
        "after its calibration, the size of the videos, and whose boxes these are"
    ]


def check_extrinsics(names: Sequence[str], given: Extrinsics, seen: Sightings, where: str) -> Misses:
    """How the cameras `names` agree. Raises UserError where another reading of their extrinsics is clearly right, and
    where the person is at a distance at which no person has such boxes."""
    found = misses(given, seen)
    step = max(1, seen.distances.shape[1] // MAX_INSTANTS)
    sample = Sightings(seen.rays[:, ::step], seen.distances[:, ::step])
    cost = misses(given, sample).cost
    if cost > FINE:
        readings = [(misses(other, sample), what) for other, what in _other_readings(names, given)]
        best, what = min(readings, key=lambda one: one[0].cost)
        if best.cost < MUCH_BETTER * cost:
            raise UserError(
                f"{where}: rays through the boxes {_typical(found)}; with {what}, they {_typical(best)}. Expected R "
                "and t of each camera's own, world -> camera: X_cam = R X + t"
            )
    if _size_factor(found) > MAX_SIZE_FACTOR:
        raise UserError(
            f"{where}: rays through the boxes {_typical(found)}; expected a factor of at most {MAX_SIZE_FACTOR:g}: "
            "check the unit, R and t (world -> camera: X_cam = R X + t), and the boxes"
        )
    return found


def size_warnings(found: Misses) -> list[str]:
    """A warning of the report where the person is at a distance at which most people have other boxes."""
    if _size_factor(found) <= USUAL_SIZE_FACTOR:
        return []
    return [
        f"WARNING: rays through the boxes {_typical(found)}; usual is a factor of at most {USUAL_SIZE_FACTOR:g}: a "
        "small person (an infant) or one who is half seen, or a wrong unit of the calibration"
    ]


def _size_factor(found: Misses) -> float:
    """From 1: between the distance of the person and that of the size of the boxes, whichever is larger."""
    known = found.factors[np.isfinite(found.factors)]
    return float(np.exp(abs(np.median(known)))) if len(known) else 1.0


def _other_readings(names: Sequence[str], given: Extrinsics) -> Iterator[tuple[Extrinsics, str]]:
    """What a calibration means if it was written in one of the usual other ways, for all cameras or one of them."""
    for other, what in _other_conventions(given):
        yield other, what
        for number, name in enumerate(names):
            one = np.arange(len(names)) == number
            rotations = np.where(one[:, None, None], other.rotations, given.rotations)
            yield Extrinsics(rotations, np.where(one[:, None], other.centers, given.centers)), f"{what} of {name!r}"
    for order in _orders(len(names)):
        moved = [f"{names[new]!r} for {names[old]!r}" for old, new in enumerate(order) if old != new]
        exchanged = Extrinsics(given.rotations[list(order)], given.centers[list(order)])
        yield exchanged, f"the camera {', '.join(moved)}"


def _other_conventions(given: Extrinsics) -> Iterator[tuple[Extrinsics, str]]:
    rotations, centers = given
    transposed = rotations.swapaxes(1, 2)
    shifts = _times(rotations, -centers)
    for turned, moved, what in (
        (transposed, shifts, "camera -> world in R and t"),
        (transposed, -_times(rotations, shifts), "the transposed R"),
        (transposed, centers, "the transposed R and the same centre"),
        (rotations, shifts, "t as the centre"),
        (rotations, -_times(transposed, centers), "the centre as t"),
    ):
        yield Extrinsics(turned, moved), what
        yield Extrinsics(_TURNED_AXES @ turned, moved), f"{what} and OpenGL's axes (y up, z backward)"
    yield Extrinsics(_TURNED_AXES @ rotations, centers), "OpenGL's axes (y up, z backward)"
    for degrees, turn in _ROLLS.items():
        yield Extrinsics(turn @ rotations, centers), f"a rotation by {degrees} degrees of the images"


def _times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.einsum("cij,cj->ci", matrices, vectors)


def _orders(count: int) -> Iterator[tuple[int, ...]]:
    """All other orders of few cameras; of many, those in which two are exchanged."""
    same = tuple(range(count))
    if count <= 5:
        yield from (order for order in permutations(same) if order != same)
        return
    for first, second in combinations(same, 2):
        yield tuple({first: second, second: first}.get(camera, camera) for camera in same)


def _typical(found: Misses) -> str:
    meters, factor = np.nanmedian(found.meters), np.exp(np.nanmedian(found.factors))
    return f"miss the person by {1000 * meters:.0f} mm, at {factor:.2g} times the distance that box sizes give"
