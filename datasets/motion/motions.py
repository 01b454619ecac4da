"""Procedural motion for the bodies of datasets/people/body.py: seeded, smooth, feet on the floor, inside a square."""

import numpy as np

from datasets.motion import actions_hands, actions_legs
from datasets.motion.actor import Actor
from datasets.people.body import Body, Motion
from utils.errors import UserError

# The order is part of the benchmarks (datasets/rendered/presets.py): seeds pick motions by their index.
_ACTIONS = {
    action.__name__: action
    for action in (
        actions_legs.walking,
        actions_legs.turning,
        actions_legs.sitting_down,
        actions_legs.crouching,
        actions_legs.bending,
        actions_legs.kicking,
        actions_legs.exercise,
        actions_hands.reaching,
        actions_hands.greeting,
        actions_hands.phoning,
        actions_hands.discussion,
        actions_hands.directions,
        actions_hands.photo,
        actions_hands.eating,
        actions_hands.waiting,
        actions_hands.carrying,
        actions_hands.stretching,
    )
}
MOTIONS = tuple(_ACTIONS)


def procedural_motion(
    name: str, body: Body, num_frames: int, fps: float, rng: np.random.Generator, area: float
) -> Motion:
    """A random motion of one kind. The same state of `rng` gives the same motion.

    Args:
        name: one of `MOTIONS`. num_frames, fps: length and frames per second.
        area: the hips stay inside |x|, |y| <= area (meters, world). The floor is z = 0.
    Raises:
        UserError: unknown name, or a length, rate or area that is not positive.
    """
    if name not in _ACTIONS:
        raise UserError(f"unknown motion {name!r}; expected one of {', '.join(MOTIONS)}")
    for what, value in (("num_frames", num_frames), ("fps", fps), ("area", area)):
        if not value > 0:
            raise UserError(f"{what} is {value!r}; expected a positive number")
    actor = Actor(body, num_frames, fps, rng, area)
    _ACTIONS[name](actor)
    return actor.perform()
