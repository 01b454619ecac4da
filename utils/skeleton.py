"""The 17-joint Human3.6M skeleton, in the order of the `3D` labels."""

import numpy as np

JOINT_NAMES = (
    "hip",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "spine",
    "neck",
    "head",
    "head_top",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
)
NUM_JOINTS = len(JOINT_NAMES)
ROOT_JOINT = 0  # poses are relative to it

BONES = (
    (0, 1), (1, 2), (2, 3),
    (0, 4), (4, 5), (5, 6),
    (0, 7), (7, 8), (8, 9), (9, 10),
    (8, 14), (14, 15), (15, 16),
    (8, 11), (11, 12), (12, 13),
)  # fmt: skip

RIGHT_JOINTS = (1, 2, 3, 14, 15, 16)
LEFT_JOINTS = (4, 5, 6, 11, 12, 13)
# pose[:, MIRRORED_JOINTS] swaps the sides. A mirrored person's left hand is where the right hand was.
_OTHER_SIDE = dict(zip(LEFT_JOINTS + RIGHT_JOINTS, RIGHT_JOINTS + LEFT_JOINTS, strict=True))
MIRRORED_JOINTS = tuple(_OTHER_SIDE.get(joint, joint) for joint in range(NUM_JOINTS))

MAX_HIP_DISTANCE = 0.2  # meters between the hip and the middle of both hips
MAX_BONE = 0.8  # meters
MAX_SIDE_RATIO = 1.6  # between a left and a right bone
_MIN_BEND, _MIN_BENT = 0.03, 20  # meters of a knee before the line from hip to ankle; number of bent knees
_LIMBS = (((1, 2), (4, 5)), ((2, 3), (5, 6)), ((14, 15), (11, 12)), ((15, 16), (12, 13)))  # right, left


def order_fault(poses: np.ndarray) -> str | None:
    """What shows that poses (N,17,3), meters, are not in the order of `JOINT_NAMES`; None where nothing does.

    Only medians are judged, so that single bad poses do not matter, in any right-handed frame.
    """
    hip = np.median(np.linalg.norm(poses[:, 0] - (poses[:, 1] + poses[:, 4]) / 2, axis=1))
    if hip > MAX_HIP_DISTANCE:
        return f"joint 0 (hip) lies {hip:.2f} m from the middle of joints 1 and 4 (the hips)"
    lengths = {bone: np.median(np.linalg.norm(poses[:, bone[0]] - poses[:, bone[1]], axis=1)) for bone in BONES}
    longest = max(lengths, key=lengths.get)
    if lengths[longest] > MAX_BONE:
        return f"joints {longest[0]} and {longest[1]} ({_names(longest)}), a bone, are {lengths[longest]:.2f} m apart"
    for right, left in _LIMBS:
        first, second = lengths[right], lengths[left]
        if max(first, second) > MAX_SIDE_RATIO * min(first, second):
            return f"the bones {_names(right)} and {_names(left)} have {first:.2f} and {second:.2f} m"
    forward = np.cross(poses[:, 4] - poses[:, 1], poses[:, 8] - poses[:, 0])
    forward /= np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-9)
    knees = np.concatenate(
        [poses[:, 2] - (poses[:, 1] + poses[:, 3]) / 2, poses[:, 5] - (poses[:, 4] + poses[:, 6]) / 2]
    )
    bent = np.linalg.norm(knees, axis=1) > _MIN_BEND
    ahead = (knees * np.tile(forward, (2, 1))).sum(1)[bent] > 0
    if len(ahead) >= _MIN_BENT and ahead.mean() < 0.1:
        return (
            f"{1 - ahead.mean():.0%} of bent knees bend backwards: left and right are exchanged, or an axis is mirrored"
        )
    return None


def _names(bone: tuple[int, int]) -> str:
    return "-".join(JOINT_NAMES[joint] for joint in bone)
