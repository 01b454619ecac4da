"""Retargets captured motion to a body of datasets/people/body.py: its limbs point where the captured limbs point.

Lengths are the body's own, the path is scaled by the length of the legs, and feet stay where they are planted.
Directions are copied and not positions of joints, because those cannot all be reached with other proportions.
"""

import numpy as np

from datasets.motion.captured.capture import RATE, Capture, Side
from datasets.motion.captured.floor import plant_feet
from datasets.motion.footsteps import SIDES
from datasets.motion.posing import (
    FOREARM_SHARE,
    HEAD_SHARES,
    MAX_ELBOW,
    MAX_HEAD,
    MIN_ELBOW,
    MIRROR,
    PRONATION_RANGE,
    SPINE_SHARES,
    Limbs,
    clavicle_rotation,
    clear_arms,
    limb_frame,
    soft_limit,
)
from datasets.people.body import BONE_INDEX, BONE_NAMES, Body, Motion
from datasets.people.kinematics import rotation_y, rotation_z, to_matrix, to_rotation_vector, unit
from utils.errors import UserError

_CONTEXT = RATE // 2  # extra frames before and after those asked for, so that the ends move like the middle
_MAX_WRIST = 1.1  # radians


def retarget(capture: Capture, body: Body, start: int, frames: int, fps: float, heading: float) -> Motion:
    """The motion of a body that moves as captured.

    Args:
        start: first frame, counted at `RATE`. frames, fps: length and frames per second, a divisor of `RATE`.
        heading: where the person faces in the middle frame, radians from x.
    Returns:
        The motion. The bounding box of the path has its center at x = y = 0; the floor is z = 0.
    Raises:
        UserError: another rate, or frames that the capture does not have.
    """
    step, stop = _step_and_stop(capture, start, frames, fps)
    first, part = cut(capture, start, stop)
    wanted = slice(start - first, stop - first, step)
    part = part.rotated(rotation_z(heading - facing(part, (start + stop) // 2 - first)))
    limbs = Limbs(body)
    rotations = np.tile(np.eye(3), (len(part.hips), len(BONE_NAMES), 1, 1))
    rotations[:, 0] = part.pelvis
    for name, rotation in _trunk(part).items():
        rotations[:, BONE_INDEX[name]] = rotation
    for side in SIDES:
        for name, rotation in _arm(part.chest, part.sides[side], side).items():
            rotations[:, BONE_INDEX[f"{name}_{side}"]] = rotation
    hips, legs = plant_feet(part, body, limbs)
    for name, rotation in legs.items():
        rotations[:, BONE_INDEX[name]] = rotation
    path = hips[wanted]
    path[:, :2] -= (path[:, :2].min(0) + path[:, :2].max(0)) / 2
    # Without a margin: captured arms may touch the body, and their directions should not change without need.
    return clear_arms(body, limbs, Motion(rotations[wanted], path), fps, margin=0.0)


def cut(capture: Capture, start: int, stop: int) -> tuple[int, Capture]:
    """What the frames [start, stop) are retargeted from: its first frame, and a capture with those before and after."""
    first = max(start - _CONTEXT, 0)
    return first, capture.frames(first, stop + _CONTEXT)


def _step_and_stop(capture: Capture, start: int, frames: int, fps: float) -> tuple[int, int]:
    if not fps > 0 or RATE % fps:
        raise UserError(f"fps is {fps:g}; expected a divisor of {RATE}, at which motion is analyzed")
    step = round(RATE / fps)
    stop = start + (frames - 1) * step + 1
    if start < 0 or frames < 1 or stop > len(capture.hips):
        found = f"{frames} frames at {fps:g} fps from {start} on reach to {stop} of {capture.name}"
        raise UserError(f"{found}; expected some of its {len(capture.hips)} analyzed frames")
    return step, stop


def facing(capture: Capture, frame: int) -> float:
    """Where the pelvis faces, radians from x to y."""
    # From the left hip and not from the pelvis' forward, which is vertical for people who lie on their back or belly.
    left = capture.pelvis[frame, :, 1]
    return float(np.arctan2(-left[0], left[1]))


def _trunk(capture: Capture) -> dict[str, np.ndarray]:
    """Rotations (T, 3, 3) of the bones of spine, neck and head relative to their parents."""
    # Equal axes and shares that sum to 1: the bones of the spine together give exactly the captured bend.
    bend = to_rotation_vector(capture.pelvis.swapaxes(1, 2) @ capture.chest)
    head = soft_limit(to_rotation_vector(capture.chest.swapaxes(1, 2) @ capture.head), MAX_HEAD)
    spine = {name: to_matrix(share * bend) for name, share in SPINE_SHARES.items()}
    return spine | {name: to_matrix(share * head) for name, share in HEAD_SHARES.items()}


def _arm(chest: np.ndarray, arm: Side, side: str) -> dict[str, np.ndarray]:
    """Rotations (T, 3, 3) of an arm's bones relative to their parents."""
    left = -unit(arm.elbow - arm.upper_arm * (arm.elbow * arm.upper_arm).sum(1, keepdims=True))
    upper = limb_frame(arm.upper_arm, np.cross(arm.upper_arm, left))
    bend = np.arctan2(-(np.cross(arm.upper_arm, arm.forearm) * left).sum(1), (arm.upper_arm * arm.forearm).sum(1))
    flexion = rotation_y(-np.clip(bend, MIN_ELBOW, MAX_ELBOW))
    twist, wrist = _split_hand((upper @ flexion).swapaxes(1, 2) @ arm.hand, side)
    upper = chest.swapaxes(1, 2) @ upper
    mirror = MIRROR if side == "right" else 1
    clavicle = clavicle_rotation(upper * mirror) * mirror
    return {
        "clavicle": clavicle,
        "upper_arm": clavicle.swapaxes(1, 2) @ upper,
        "forearm": flexion,
        "forearm_twist": rotation_z(FOREARM_SHARE * twist),
        "hand": rotation_z((1 - FOREARM_SHARE) * twist) @ wrist,
    }


def _split_hand(hand: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Split a hand's rotation in the forearm (T, 3, 3) into a twist about it (T,) and a bend of the wrist (T, 3, 3)."""
    # The twist of a swing-twist decomposition. Its branch is chosen near 0, then it may pass pi without a jump.
    twist = np.arctan2(hand[:, 1, 0] - hand[:, 0, 1], hand[:, 0, 0] + hand[:, 1, 1])
    bend = to_rotation_vector(rotation_z(-twist) @ hand)
    bend *= np.minimum(1, _MAX_WRIST / np.maximum(np.linalg.norm(bend, axis=1, keepdims=True), 1e-9))
    twist = np.unwrap(twist)
    twist -= 2 * np.pi * np.round(np.median(twist) / (2 * np.pi))
    inward = -1 if side == "left" else 1  # pronation rotates the left palm about -z
    return inward * np.clip(inward * twist, *PRONATION_RANGE), to_matrix(bend)
