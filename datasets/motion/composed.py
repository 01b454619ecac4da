"""Still poses composed from parts: legs, trunk and each arm from different moments or drawn anew.

Procedural motion repeats few combinations of arms and legs. Here every part of a pose is taken from a random moment
of given motions, also mirrored, or drawn within joint limits. Poses in which parts intersect are left out, and the body
is set on the floor with its lowest point.
"""

from typing import NamedTuple

import numpy as np

from datasets.motion.clearance import parts_intersect
from datasets.motion.footsteps import SIDES
from datasets.motion.posing import MIRROR, Limbs, clear_arms
from datasets.motion.stances import Stances, drawn_arm, drawn_trunk
from datasets.people.body import BONE_INDEX, BONE_NAMES, Body, Motion
from datasets.people.kinematics import rotation_z

_ARM = ("clavicle", "upper_arm", "forearm", "forearm_twist", "hand")
_LEG = ("thigh", "shin", "foot", "toes")
_TRUNK = [BONE_INDEX[name] for name in ("spine_low", "spine_mid", "spine_high", "chest", "neck", "head")]
# Bones that take each other's place in the mirror.
_MIRRORED = [
    BONE_INDEX[name.replace("left", "right") if name.endswith("left") else name.replace("right", "left")]
    for name in BONE_NAMES
]
DRAWN = {"legs": 0.7, "trunk": 0.6, "arm": 0.7}  # probability that a part is drawn instead of taken from a moment
_CANDIDATES = 2.5  # candidates per pose, of which those that intersect are left out
_ATTEMPTS = 6


class Moments(NamedTuple):
    """Poses to take parts from: rotations (M,B,3,3) of bones relative to their parents, the root's without heading."""

    rotations: np.ndarray

    @classmethod
    def of(cls, motions: list[Motion]) -> "Moments":
        """All frames of the motions and their mirror images."""
        rotations = np.concatenate([motion.rotations for motion in motions]).astype(np.float64)
        left = rotations[:, 0, :, 1]
        rotations[:, 0] = rotation_z(-np.arctan2(-left[:, 0], left[:, 1])) @ rotations[:, 0]
        return cls(np.concatenate([rotations, rotations[:, _MIRRORED] * MIRROR]))


def compose_poses(
    body: Body, moments: Moments, count: int, rng: np.random.Generator, area: float, limbs: Limbs | None = None
) -> Motion:
    """`count` unrelated poses of a body at random places within |x|, |y| <= area, with random headings."""
    limbs = limbs or Limbs(body)
    kept: list[np.ndarray] = []
    for _ in range(_ATTEMPTS):
        missing = count - sum(map(len, kept))
        if missing <= 0:
            break
        rotations = _candidates(limbs, moments, int(np.ceil(_CANDIDATES * missing)), rng)
        # Frames are unrelated: at this rate, nothing is smoothed over time.
        motion = clear_arms(body, limbs, Motion(rotations, np.zeros((len(rotations), 3))), rate=0.1)
        free = ~parts_intersect(*body.forward_kinematics(motion))
        kept.append(motion.rotations[free])
    rotations = np.concatenate(kept)[:count]
    assert len(rotations) == count, "too many of the drawn poses intersect"
    return _on_the_floor(body, rotations, rng, area)


def _candidates(limbs: Limbs, moments: Moments, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rotations (count,B,3,3) of composed poses, the root's without heading."""
    pick = lambda: moments.rotations[rng.integers(len(moments.rotations), size=count)]  # noqa: E731
    drawn = lambda part: (rng.random(count) < DRAWN[part])[:, None, None, None]  # noqa: E731
    rotations = pick()
    legs = [0, *(BONE_INDEX[f"{name}_{side}"] for side in SIDES for name in _LEG)]
    rotations[:, legs] = np.where(drawn("legs"), Stances(limbs, rng).draw(count)[:, legs], rotations[:, legs])
    rotations[:, _TRUNK] = np.where(drawn("trunk"), drawn_trunk(count, rng), pick()[:, _TRUNK])
    for side in SIDES:
        arm = [BONE_INDEX[f"{name}_{side}"] for name in _ARM]
        chosen = drawn_arm(limbs, count, rng) * (1 if side == "left" else MIRROR)
        rotations[:, arm] = np.where(drawn("arm"), chosen, pick()[:, arm])
    return rotations


def _on_the_floor(body: Body, rotations: np.ndarray, rng: np.random.Generator, area: float) -> Motion:
    """Poses with random places and headings, whose lowest points touch the floor."""
    count = len(rotations)
    rotations = rotations.copy()
    rotations[:, 0] = rotation_z(rng.uniform(-np.pi, np.pi, count)) @ rotations[:, 0]
    translation = np.zeros((count, 3), np.float32)
    translation[:, :2] = rng.uniform(-area, area, (count, 2))
    vertices, _ = body.pose(Motion(rotations, translation))
    jump = np.where(rng.random(count) < 0.06, rng.uniform(0.05, 0.45, count), 0.0)
    translation[:, 2] = jump - vertices[..., 2].min(1)
    return Motion(rotations.astype(np.float32), translation)
