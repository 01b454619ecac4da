"""Lets a body of datasets/people/body.py move as a captured person did: its limbs point where the captured limbs point.

Lengths are the body's own, translation is scaled by the length of the legs, feet stand where they are planted.
"""

import numpy as np

from datasets.motion.captured.capture import RATE, Capture, Side
from datasets.motion.captured.floor import plant_feet
from datasets.motion.footsteps import SIDES
from datasets.motion.posing import (
    HEAD_SHARES,
    MAX_ELBOW,
    MAX_HEAD,
    MIRROR,
    SPINE_SHARES,
    Limbs,
    clavicle_rotation,
    clear_arms,
    limb_frame,
    soft_limit,
)
from datasets.people.body import BONE_INDEX, BONE_NAMES, Body, Motion
from datasets.people.kinematics import rotation_y, rotation_z, to_matrix, to_rotation_vector, unit

_BEFORE = RATE // 2  # frames looked at before and after those asked for, so that ends move like the middle
_MAX_PRONATION, _MAX_WRIST = np.array([-1.3, 1.5]), 1.1  # radians
_LEAST_ELBOW = 0.05


def retarget(capture: Capture, body: Body, start: int, frames: int, fps: float, heading: float) -> Motion:
    """`frames` instants at `fps` (a divisor of `RATE`) of a captured motion from frame `start` (at `RATE`) on.

    heading: where the person faces in the middle of them, radians from x. The path of the hips has the middle of its
    bounding box at x = y = 0; the floor is z = 0.
    """
    step = round(RATE / fps)
    stop = start + (frames - 1) * step + 1
    first = max(start - _BEFORE, 0)
    piece = capture.cut(first, stop + _BEFORE)
    wanted = slice(start - first, stop - first, step)
    piece = piece.turned(rotation_z(heading - facing(piece, (start + stop) // 2 - first)))
    limbs = Limbs(body)
    rotations = np.tile(np.eye(3), (len(piece.hips), len(BONE_NAMES), 1, 1))
    rotations[:, 0] = piece.pelvis
    for name, rotation in _trunk(piece).items():
        rotations[:, BONE_INDEX[name]] = rotation
    for side in SIDES:
        for name, rotation in _arm(piece.chest, piece.sides[side], side).items():
            rotations[:, BONE_INDEX[f"{name}_{side}"]] = rotation
    hips, legs = plant_feet(piece, body, limbs)
    for name, rotation in legs.items():
        rotations[:, BONE_INDEX[name]] = rotation
    path = hips[wanted]
    path[:, :2] -= (path[:, :2].min(0) + path[:, :2].max(0)) / 2
    # no margin: where captured arms touch the body they shall, and directions stay as they are
    return clear_arms(body, limbs, Motion(rotations[wanted], path), fps, margin=0.0)


def facing(capture: Capture, frame: int) -> float:
    """Where the pelvis faces, radians from x to y; lying on the back or belly, where its left hip shows."""
    left = capture.pelvis[frame, :, 1]
    return float(np.arctan2(-left[0], left[1]))


def _trunk(piece: Capture) -> dict[str, np.ndarray]:
    bend = to_rotation_vector(piece.pelvis.swapaxes(1, 2) @ piece.chest)
    turn = soft_limit(to_rotation_vector(piece.chest.swapaxes(1, 2) @ piece.head), MAX_HEAD)
    spine = {name: to_matrix(share * bend) for name, share in SPINE_SHARES.items()}
    return spine | {name: to_matrix(share * turn) for name, share in HEAD_SHARES.items()}


def _arm(chest: np.ndarray, arm: Side, side: str) -> dict[str, np.ndarray]:
    left = -unit(arm.elbow - arm.upper_arm * (arm.elbow * arm.upper_arm).sum(1, keepdims=True))
    upper = limb_frame(arm.upper_arm, np.cross(arm.upper_arm, left))
    bend = np.arctan2(-(np.cross(arm.upper_arm, arm.forearm) * left).sum(1), (arm.upper_arm * arm.forearm).sum(1))
    flexion = rotation_y(-np.clip(bend, _LEAST_ELBOW, MAX_ELBOW))
    twist, wrist = _split_hand((upper @ flexion).swapaxes(1, 2) @ arm.hand, side)
    upper = chest.swapaxes(1, 2) @ upper
    mirror = MIRROR if side == "right" else 1
    clavicle = clavicle_rotation(upper * mirror) * mirror
    return {
        "clavicle": clavicle,
        "upper_arm": clavicle.swapaxes(1, 2) @ upper,
        "forearm": flexion,
        "forearm_twist": rotation_z(0.6 * twist),
        "hand": rotation_z(0.4 * twist) @ wrist,
    }


def _split_hand(hand: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """A hand's rotation against the forearm (T, 3, 3): twist about the forearm (T,) and bend of the wrist (T, 3, 3)."""
    twist = np.arctan2(hand[:, 1, 0] - hand[:, 0, 1], hand[:, 0, 0] + hand[:, 1, 1])
    bend = to_rotation_vector(rotation_z(-twist) @ hand)
    bend *= np.minimum(1, _MAX_WRIST / np.maximum(np.linalg.norm(bend, axis=1, keepdims=True), 1e-9))
    twist = np.unwrap(twist)
    twist -= 2 * np.pi * np.round(np.median(twist) / (2 * np.pi))
    inward = -1 if side == "left" else 1  # pronation turns the left palm about -z
    return inward * np.clip(inward * twist, *_MAX_PRONATION), to_matrix(bend)
