"""Motions as BVH: a skeleton of joints with constant bone lengths, for Blender and other animation programs.

Meters, y up; the rest pose is a T-pose that faces +z. The root moves; every other joint only rotates. A bone's length
is its median over the instants that are known, both sides of the body alike.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import roma
import torch

from training.exports.motion import Motion, fill_gaps
from utils.skeleton import BONES, JOINT_NAMES, MIRRORED_JOINTS

ORDER = "ZXY"  # of rotation channels, as most programs write them


class _Joint(NamedTuple):
    """name: of our joints, or of a helper. parent: name. joint: number in the skeleton, -1 for helpers, which sit at
    their parent's place and rotate one bone alone. rest: direction from the parent in the rest pose."""

    name: str
    parent: str | None
    joint: int
    rest: tuple[float, float, float]


def _hierarchy() -> list[_Joint]:
    def joint(name: str, parent: str, rest: tuple[float, float, float]) -> _Joint:
        return _Joint(name, parent, JOINT_NAMES.index(name), rest)

    joints = [_Joint("hip", None, 0, (0, 0, 0))]
    sides = (("right", -1.0), ("left", 1.0))
    for side, x in sides:
        joints += [
            _Joint(f"{side}_pelvis", "hip", -1, (0, 0, 0)),
            joint(f"{side}_hip", f"{side}_pelvis", (x, 0, 0)),
            joint(f"{side}_knee", f"{side}_hip", (0, -1, 0)),
            joint(f"{side}_ankle", f"{side}_knee", (0, -1, 0)),
        ]
    joints += [joint("spine", "hip", (0, 1, 0)), joint("neck", "spine", (0, 1, 0))]
    joints += [joint("head", "neck", (0, 1, 0)), joint("head_top", "head", (0, 1, 0))]
    for side, x in sides:
        joints += [
            _Joint(f"{side}_collar", "neck", -1, (0, 0, 0)),
            joint(f"{side}_shoulder", f"{side}_collar", (0.83 * x, -0.56, 0)),
            joint(f"{side}_elbow", f"{side}_shoulder", (x, 0, 0)),
            joint(f"{side}_wrist", f"{side}_elbow", (x, 0, 0)),
        ]
    return joints


HIERARCHY = _hierarchy()
# End sites, meters in the rest pose: they show where the last bones point, and say nothing about feet and hands.
_ENDS = {
    "right_ankle": (0.0, 0.0, 0.12),
    "left_ankle": (0.0, 0.0, 0.12),
    "head_top": (0.0, 0.05, 0.0),
    "right_wrist": (-0.08, 0.0, 0.0),
    "left_wrist": (0.08, 0.0, 0.0),
}
# Joints whose bones span a frame: the axis towards one joint, and the side of the body given by two others.
_FRAMES = {"hip": ("spine", "right_hip", "left_hip"), "neck": ("head", "right_shoulder", "left_shoulder")}


def write_bvh(path: Path, motion: Motion) -> None:
    """Write a motion, whose unknown instants are filled from their neighbors: a BVH file has no gaps."""
    joints = fill_gaps(motion.y_up())
    # Filled instants are copies of one, or shorter in between: they say nothing about lengths.
    offsets = rest_offsets(joints[motion.known])
    local = local_rotations(joints)
    angles = roma.rotmat_to_euler(ORDER, torch.from_numpy(local), degrees=True).numpy()
    # Programs interpolate between frames: no angle may jump by a whole turn.
    angles = np.unwrap(angles, period=360, axis=0)
    rows = np.concatenate([joints[:, 0], angles.reshape(len(joints), -1)], axis=1)
    lines = ["HIERARCHY", *_joint_lines(HIERARCHY[0], offsets, 0)]
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / motion.instants_per_second:.8f}"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", newline="", encoding="utf-8")


def rest_offsets(joints: np.ndarray) -> dict[str, np.ndarray]:
    """Offsets (3,) of all joints from their parents in the rest pose, from joints (T,17,3)."""
    lengths = {}
    for first, second in BONES:
        mirrored = MIRRORED_JOINTS[first], MIRRORED_JOINTS[second]
        both = [np.linalg.norm(joints[:, a] - joints[:, b], axis=-1) for a, b in ((first, second), mirrored)]
        lengths[second] = float(np.median(np.concatenate(both)))
    offsets = {}
    for joint in HIERARCHY:
        direction = np.array(joint.rest, np.float64)
        length = lengths.get(joint.joint, 0.0)
        offsets[joint.name] = length * direction / max(np.linalg.norm(direction), 1e-9)
    return offsets


def local_rotations(joints: np.ndarray) -> np.ndarray:
    """Rotations (T,J,3,3) of the joints of HIERARCHY relative to their parents, from joints (T,17,3), y up."""
    places = {joint.name: joints[:, joint.joint] for joint in HIERARCHY if joint.joint >= 0}
    children: dict[str, list[_Joint]] = {}
    for joint in HIERARCHY:
        places.setdefault(joint.name, places.get(joint.parent))
        children.setdefault(joint.parent, []).append(joint)
    identity = np.tile(np.eye(3), (len(joints), 1, 1))
    whole, local = {None: identity}, []
    for joint in HIERARCHY:
        above = whole[joint.parent]
        below = children.get(joint.name, [])
        if joint.name in _FRAMES:
            up, right, left = (places[name] for name in _FRAMES[joint.name])
            here = _frame(up - places[joint.name], left - right)
            turn = above.swapaxes(1, 2) @ here
        elif below:
            towards = places[below[0].name] - places[joint.name]
            turn = _shortest(np.array(below[0].rest, np.float64), np.einsum("tji,tj->ti", above, towards))
        else:
            turn = identity
        whole[joint.name] = above @ turn
        local.append(turn)
    return np.stack(local, axis=1)


def _joint_lines(joint: _Joint, offsets: dict[str, np.ndarray], depth: int) -> list[str]:
    tab, inner = "\t" * depth, "\t" * (depth + 1)
    channels = ["Xposition", "Yposition", "Zposition"] if joint.parent is None else []
    channels += [f"{axis}rotation" for axis in ORDER]
    lines = [
        f"{tab}{'JOINT' if joint.parent else 'ROOT'} {joint.name}",
        f"{tab}{{",
        f"{inner}OFFSET {_numbers(offsets[joint.name])}",
        f"{inner}CHANNELS {len(channels)} {' '.join(channels)}",
    ]
    for child in HIERARCHY:
        if child.parent == joint.name:
            lines += _joint_lines(child, offsets, depth + 1)
    if joint.name in _ENDS:
        lines += [f"{inner}End Site", f"{inner}{{", f"{inner}\tOFFSET {_numbers(_ENDS[joint.name])}", f"{inner}}}"]
    return [*lines, f"{tab}}}"]


def _numbers(values) -> str:
    return " ".join(f"{value:.6f}" for value in values)


def _frame(up: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Rotations (T,3,3) whose y axis is `up` (T,3), and whose x axis is as near to `left` (T,3) as can be."""
    y = _unit(up)
    x = _unit(left - (left * y).sum(-1, keepdims=True) * y)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _shortest(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The shortest rotations (T,3,3) of the direction `start` (3,) to the directions `end` (T,3)."""
    start, end = start / np.linalg.norm(start), _unit(end)
    axis = np.cross(start, end)
    sine, cosine = np.linalg.norm(axis, axis=-1, keepdims=True), (end @ start)[:, None]
    # Opposite directions have no shortest rotation: half a turn about any axis across does.
    across = np.cross(start, np.eye(3)[np.argmin(np.abs(start))])
    axis = np.where(sine > 1e-9, axis / np.maximum(sine, 1e-12), across / np.linalg.norm(across))
    vector = axis * np.arctan2(sine, cosine)
    return roma.rotvec_to_rotmat(torch.from_numpy(vector)).numpy()


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
