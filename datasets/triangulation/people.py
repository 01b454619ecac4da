"""The people in view of several cameras through time: those whose rays meet."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from datasets.cameras.camera import Camera
from datasets.triangulation.points import LANDMARKS, LIMB_POINTS, MIRRORED_POINTS
from datasets.triangulation.rays import meeting_points, ray_misses, robust_points, world_rays

SAME_PERSON = 0.15  # meters, median over the limbs' points, between rays of one person
MIRRORED_LIMBS = [MIRRORED_POINTS[point] for point in LIMB_POINTS]
MAX_SPEED = 6.0  # meters per second


class Group(NamedTuple):
    """One person at an instant: numbers of the detection by camera, and the middle (3,) of the points, world."""

    members: dict[int, int]
    center: np.ndarray


def follow_people(
    cameras: Sequence[Camera], pixels: Sequence[np.ndarray], seconds: float
) -> tuple[list[np.ndarray], int]:
    """The detection of each person in C cameras at T instants, (C,T) int, -1 for none, those seen in most images first;
    and the largest number of people whose rays met at an instant.

    pixels: for each camera (T,K,33,2) landmarks of up to K people, NaN for fewer. seconds: between two instants.
    """
    chosen_points = [LANDMARKS[point] for point in LIMB_POINTS]
    places = np.stack(
        [camera.normalized(one[:, :, chosen_points]) for camera, one in zip(cameras, pixels, strict=True)]
    )
    rays = world_rays(cameras, places)  # (C,T,K,P,3)
    there = np.isfinite(places).all((-1, -2))
    centers = np.stack([camera.center for camera in cameras])
    groups = [_groups(centers, rays[:, instant], there[:, instant]) for instant in range(places.shape[1])]
    people = []
    for chain in sorted(_chains(groups, MAX_SPEED * seconds), key=_images, reverse=True):
        detections = np.full(places.shape[:2], -1)
        for instant, group in chain.items():
            for camera, number in group.members.items():
                detections[camera, instant] = number
        people.append(detections)
    return people, max((len(group) for group in groups), default=0)


def _groups(centers: np.ndarray, rays: np.ndarray, there: np.ndarray) -> list[Group]:
    """The people at an instant, those in most images first. rays: (C,K,P,3), there: (C,K)."""
    if (there.sum(1) <= 1).all() and there.any(1).sum() >= 2:
        # Nothing to choose: whether these are one person, triangulation finds out.
        members = {camera: int(np.argmax(there[camera])) for camera in np.flatnonzero(there.any(1)).tolist()}
        one = np.stack([rays[member] for member in members.items()])
        points, _ = robust_points(centers[list(members)], one, np.ones(one.shape[:-1]))
        return [Group(members, points.mean(0))]
    left = {(int(camera), int(number)) for camera, number in zip(*np.nonzero(there), strict=True)}
    groups = []
    while left:
        best: tuple[tuple, list] | None = None
        for first in sorted(left):
            for second in sorted(left):
                if first[0] >= second[0]:
                    continue
                members = _members(centers, rays, [first, second], left)
                if members and (best is None or members[0] > best[0]):
                    best = members
        if best is None:
            return groups
        members, points = best[1]
        groups.append(Group(dict(members), points.mean(0)))
        left -= set(members)
    return groups


def _members(centers: np.ndarray, rays: np.ndarray, pair: list, left: set) -> tuple[tuple, list] | None:
    """The detections that agree with those of `pair`, one per camera, and how good the group is; None for none."""
    points, misses = _meet(centers, rays, pair)
    if np.median(misses) > SAME_PERSON:
        return None
    members, total = list(pair), float(np.median(misses))
    for camera in range(len(rays)):
        others = [one for one in left if one[0] == camera]
        if camera in (pair[0][0], pair[1][0]) or not others:
            continue
        each = [(_distance(centers[camera], rays[one], points), one) for one in others]
        distance, one = min(each)
        if distance <= SAME_PERSON:
            members.append(one)
            total += distance
    return (len(members), -total), [members, points]


def _meet(centers: np.ndarray, rays: np.ndarray, pair: list) -> tuple[np.ndarray, np.ndarray]:
    """Points (P,3) between the rays of two detections, and their distances (P,) from these: sides may be exchanged."""
    results = []
    for order in (list(LIMB_POINTS), MIRRORED_LIMBS):
        two = np.stack([rays[pair[0]], rays[pair[1]][order]])
        origins = centers[[pair[0][0], pair[1][0]]]
        points = meeting_points(origins, two, np.ones(two.shape[:-1]))
        results.append((points, ray_misses(origins, two, points).max(0)))
    return min(results, key=lambda result: np.median(result[1]))


def _distance(center: np.ndarray, rays: np.ndarray, points: np.ndarray) -> float:
    return float(min(np.median(ray_misses(center[None], one[None], points)) for one in (rays, rays[MIRRORED_LIMBS])))


def longest_chain(groups: list[list[Group]], reach: float) -> dict[int, Group]:
    """The person who is seen in most images over all instants: one group by instant."""
    return max(_chains(groups, reach), key=_images, default={})


def _chains(groups: list[list[Group]], reach: float) -> list[dict[int, Group]]:
    """The people over all instants: for each, one group by instant."""
    chains: list[dict[int, Group]] = []
    for instant, found in enumerate(groups):
        left = set(range(len(found)))
        taken: set[int] = set()
        # The nearest pair first, so that nobody who is out of sight takes over the place of a neighbor.
        for _, _, chain, group in sorted(_reachable(chains, found, instant, reach)):
            if chain not in taken and group in left:
                chains[chain][instant] = found[group]
                taken.add(chain)
                left.remove(group)
        chains += [{instant: found[group]} for group in sorted(left)]
    return chains


def _reachable(
    chains: list[dict[int, Group]], found: list[Group], instant: int, reach: float
) -> Iterator[tuple[float, int, int, int]]:
    """Distance, images (negative), number of the chain and of the group, of those that may be one person."""
    for number, chain in enumerate(chains):
        last = max(chain)
        for group, one in enumerate(found):
            distance = float(np.linalg.norm(one.center - chain[last].center))
            # Somebody who was not seen for a while may be further away.
            if distance <= 0.3 + reach * (instant - last):
                yield distance, -_images(chain), number, group


def _images(chain: dict[int, Group]) -> int:
    return sum(len(group.members) for group in chain.values())
