"""Footsteps of a body that moves along a path: feet are planted while they carry, and step when they must follow."""

from typing import NamedTuple

import numpy as np

from datasets.people.kinematics import ease

SIDES = ("left", "right")


class Foot(NamedTuple):
    """One foot over time, world frame. Flat on the floor wherever `lift` and `toe_up` are 0.

    position: (T, 2) point on the floor below the ankle of the flat foot, meters. yaw: (T,) radians.
    lift: (T,) height of the sole, meters. toe_up: (T,) rotation about the heel that raises the toes, radians.
    swing: (T,) 1 in the air, 0 planted.
    """

    position: np.ndarray
    yaw: np.ndarray
    lift: np.ndarray
    toe_up: np.ndarray
    swing: np.ndarray


class _Step(NamedTuple):
    start: float
    end: float
    position: np.ndarray
    yaw: float


def walk_along(
    times: np.ndarray,
    path: np.ndarray,
    heading: np.ndarray,
    stance: dict[str, np.ndarray],
    rng: np.random.Generator,
    hold: np.ndarray | None = None,
) -> dict[str, Foot]:
    """Plan footsteps for a body that travels along a path.

    Args:
        times: (T,) seconds, evenly spaced, at least 30 per second.
        path, heading: (T, 2) meters and (T,) radians, where the body is and faces.
        stance: per side (3,) where the foot stands beside the body: forward, left, outward yaw of the toes.
        rng: for the lift of the feet and small differences between steps.
        hold: (T,) true where both feet must stay planted.
    """
    homes = {side: _home(path, heading, stance[side], side) for side in SIDES}
    steps = _plan(times, path, homes, rng, np.zeros(len(times), bool) if hold is None else hold)
    lift = rng.uniform(0.04, 0.09)
    return {side: _trace(times, homes[side], steps[side], lift) for side in SIDES}


def _home(path, heading, stance, side):
    """x, y and yaw (T, 3) of a foot that stands in its stance beside the body."""
    forward, left, out = stance
    cosine, sine = np.cos(heading), np.sin(heading)
    x = path[:, 0] + cosine * forward - sine * left
    y = path[:, 1] + sine * forward + cosine * left
    return np.stack([x, y, heading + (out if side == "left" else -out)], axis=1)


def _plan(times, path, homes, rng, hold) -> dict[str, list[_Step]]:
    """Steps of both feet. They alternate while the body travels; else the foot that is farther behind steps."""
    rate = 1 / (times[1] - times[0]) if len(times) > 1 else 1.0
    last = len(times) - 1
    speed = np.linalg.norm(np.gradient(path, axis=0), axis=1) * rate if last > 0 else np.zeros(1)
    planted = {side: homes[side][0] for side in SIDES}
    steps: dict[str, list[_Step]] = {side: [] for side in SIDES}
    free_at, latest = 0.0, SIDES[rng.integers(2)]
    for index, now in enumerate(times):
        if now < free_at:
            continue
        pace = speed[min(last, index + int(0.3 * rate))]
        # Seconds in the air and on both feet: faster walking has shorter steps in time.
        swing = np.clip(0.62 - 0.17 * pace, 0.34, 0.6)
        pause = 0.08 + 0.5 * np.clip(0.25 - pace, 0, 0.25)
        land = min(last, index + round(swing * rate))
        # A step aims at where the body will be in the middle of the foot's next time on the floor.
        middle = min(last, index + round((1.5 * swing + pause) * rate))
        errors = {side: _distance(homes[side][middle], planted[side]) for side in SIDES}
        other = SIDES[1 - SIDES.index(latest)]
        side = other if errors[other] > 0.06 and pace > 0.15 else max(SIDES, key=errors.get)
        near = errors[side] < (0.08 if pace > 0.15 else 0.12)
        if near or land <= index or hold[index : land + 1].any():
            continue
        goal = homes[side][middle] + rng.normal(0, [0.008, 0.008, 0.03])
        steps[side].append(_Step(now, times[land], goal[:2], goal[2]))
        planted[side], latest, free_at = goal, side, times[land] + pause
    return steps


def _distance(home, planted) -> float:
    """Meters between two placements of a foot; a yaw of one radian counts as 0.25 m."""
    return float(np.hypot(*(home[:2] - planted[:2])) + 0.25 * abs(home[2] - planted[2]))


def _trace(times, home, steps: list[_Step], lift: float) -> Foot:
    """The course of one foot that takes these steps."""
    position = np.tile(home[0, :2], (len(times), 1))
    yaw = np.full(len(times), home[0, 2])
    height, toe_up, swing = (np.zeros(len(times)) for _ in range(3))
    for step in steps:
        phase = (times - step.start) / (step.end - step.start)
        share = ease(phase)
        length = np.hypot(*(step.position - position[-1]))
        position = position + share[:, None] * (step.position - position[-1])
        yaw = yaw + share * (step.yaw - yaw[-1])
        # Two eased halves: the foot leaves the floor and lands at rest. Long steps are higher and land on the heel.
        bump = ease(2 * phase) * ease(2 - 2 * phase)
        height += bump * (0.6 + min(length, 0.8)) * lift
        toe_up += np.exp(-(((times - step.end) / 0.11) ** 2)) * np.clip(length - 0.15, 0, 0.6) * 0.55
        swing += bump
    return Foot(position, yaw, height, toe_up, np.clip(swing, 0, 1))
