"""The 17-joint Human3.6M skeleton, in the order of the `3D` labels."""

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
