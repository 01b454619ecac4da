"""Several people on one floor: motions that are rotated and moved so that nobody walks through anybody."""

from typing import NamedTuple

import numpy as np

from datasets.motion.motions import procedural_motion
from datasets.people.body import BONE_INDEX, BONE_NAMES, BONE_PARENTS, Body, Motion
from datasets.people.kinematics import rotation_z

LEAST_DISTANCE = 0.55  # meters between the roots of two people
WALKS = ("walking", "turning")
_WALKERS = 0.55  # share of the people who change their place
_PERSONAL_AREA = (1.1, 0.5)  # meters around a place in which people walk, and in which others move
_PLACES = 60  # tried for one motion
_CHOICE = 10  # of so many places that are free, the nearest to the others is taken
_SHRINK = 0.9  # of the personal area, after each motion that fitted nowhere
# Half the thickness of the body around its bones, meters.
_RADII = {"head": 0.12, "neck": 0.10, "chest": 0.15, "spine": 0.14, "pelvis": 0.16, "clavicle": 0.09, "thigh": 0.09,
          "shin": 0.07, "upper_arm": 0.07, "forearm": 0.06, "hand": 0.08, "foot": 0.07, "toes": 0.07}  # fmt: skip


class Performance(NamedTuple):
    """What one person does: the kind of motion, and the motion in the world."""

    kind: str
    motion: Motion


def perform_together(
    bodies: list[Body], kinds: tuple[str, ...], frames: int, fps: float, area: float, rng: np.random.Generator
) -> list[Performance]:
    """A motion for each body, of one of the `kinds` or walking, without collisions.

    frames, fps: length of the motions. area: roots stay within |x|, |y| <= area, meters.
    """
    performances, taken = [], []
    for body in bodies:
        performance, points = _fit_in(body, kinds, frames, fps, area, taken, rng)
        performances.append(performance)
        taken.append(points)
    return performances


def _fit_in(body: Body, kinds, frames: int, fps: float, area: float, taken: list[np.ndarray], rng):
    """A performance that keeps clear of the points `taken` (T,2P,3) by others, and its own points."""
    shrink = 1.0
    while True:
        walks = rng.random() < _WALKERS
        kind = str(rng.choice(WALKS if walks else kinds))
        own_area = _PERSONAL_AREA[0 if walks else 1] * shrink
        motion = procedural_motion(kind, body, frames, fps, rng, own_area)
        points = body_points(body, motion)
        free = [place for place in _draw_places(points[:, 0], area, rng) if _is_clear(place, points, taken)]
        if free:
            # People who stand apart seldom occlude each other: of several free places the nearest is taken.
            place = min(free[:_CHOICE], key=lambda place: _remoteness(_moved(points, place), taken))
            return Performance(kind, _moved_motion(motion, place)), _moved(points, place)
        shrink *= _SHRINK


def body_points(body: Body, motion: Motion) -> np.ndarray:
    """The root, pivots and middles of all bones (T,2B,3) in the world."""
    _, pivots = body.forward_kinematics(motion)
    middles = (pivots + pivots[:, np.maximum(BONE_PARENTS, 0)]) / 2
    # The head's pivot is at its base: another point is in its middle.
    skull = pivots[:, BONE_INDEX["head"]] * 1.5 - pivots[:, BONE_INDEX["neck"]] * 0.5
    middles[:, 0] = skull
    return np.concatenate([pivots, middles], axis=1)


def _point_radii() -> np.ndarray:
    """Thickness of the body around each of its `body_points` (2B,), meters."""
    bones = [next(radius for part, radius in _RADII.items() if name.startswith(part)) for name in BONE_NAMES]
    middles = [min(bones[bone], bones[max(parent, 0)]) for bone, parent in enumerate(BONE_PARENTS)]
    middles[0] = _RADII["head"]
    return np.array(bones + middles)


_POINT_RADII = _point_radii()


def collide(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two people with `body_points` (T,2B,3) meet at any frame."""
    roots = first[:, 0, :2] - second[:, 0, :2]
    distance = np.hypot(*roots.T)
    if distance.min() < LEAST_DISTANCE:
        return True
    # Nobody reaches farther than a meter.
    near = distance < 2.2
    if not near.any():
        return False
    a, b = first[near].astype(np.float32), second[near].astype(np.float32)
    squared = sum((a[:, :, None, axis] - b[:, None, :, axis]) ** 2 for axis in range(3))
    least = (_POINT_RADII[:, None] + _POINT_RADII).astype(np.float32) ** 2
    return bool((squared < least).any())


def _draw_places(roots: np.ndarray, area: float, rng: np.random.Generator) -> list[tuple[float, np.ndarray]]:
    """Rotations and shifts (2,) that keep roots (T,3) within the area."""
    places = []
    for angle in rng.uniform(-np.pi, np.pi, _PLACES):
        turned = roots[:, :2] @ rotation_z(angle)[:2, :2].T
        low, high = -area - turned.min(0), area - turned.max(0)
        if (low <= high).all():
            places.append((float(angle), rng.uniform(low, high)))
    return places


def _is_clear(place, points: np.ndarray, taken: list[np.ndarray]) -> bool:
    moved = _moved(points, place)
    return not any(collide(moved, other) for other in taken)


def _remoteness(points: np.ndarray, taken: list[np.ndarray]) -> float:
    """Mean distance of a root to the others, meters; 0 if there are none."""
    return float(np.mean([np.hypot(*(points[:, 0, :2] - other[:, 0, :2]).T).mean() for other in taken] or [0.0]))


def _moved(points: np.ndarray, place: tuple[float, np.ndarray]) -> np.ndarray:
    angle, shift = place
    return points @ rotation_z(angle).T + [*shift, 0.0]


def _moved_motion(motion: Motion, place: tuple[float, np.ndarray]) -> Motion:
    rotations = np.array(motion.rotations)
    rotations[:, 0] = rotation_z(place[0]) @ rotations[:, 0]
    return Motion(rotations, _moved(motion.translation, place).astype(np.float32))
