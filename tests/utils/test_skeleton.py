"""Joints in another order are found from the lengths and the bends of the bones, of poses in any frame."""

import numpy as np
import pytest

from datasets.people.kinematics import rotation_x, rotation_z
from tests.synthetic import random_joints
from tests.tiny import ROOT
from utils.skeleton import JOINT_NAMES, MIRRORED_JOINTS, order_fault

POSES = np.load(ROOT / "examples" / "recording" / "poses.npz")["poses"]
COCO = (
    "head",
    "head",
    "head",
    "head",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
MPII = (
    "head_top",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "hip",
    "spine",
    "head",
)
LEFT_FIRST = [JOINT_NAMES[joint] for joint in MIRRORED_JOINTS]
ROOT_LAST = (*JOINT_NAMES[1:], JOINT_NAMES[0])
ARMS_FIRST = (*JOINT_NAMES[:1], *JOINT_NAMES[11:], *JOINT_NAMES[1:11])


@pytest.mark.parametrize("frame", [np.eye(3), rotation_x(np.array(1.0)) @ rotation_z(np.array(2.0))])
def test_poses_in_order_pass(frame):
    assert order_fault(POSES @ frame.T) is None
    assert order_fault(random_joints(40, np.random.default_rng(0))) is None


@pytest.mark.parametrize("order", [COCO, MPII, LEFT_FIRST, ROOT_LAST, ARMS_FIRST])
def test_other_orders_are_found(order):
    assert order_fault(POSES[:, [JOINT_NAMES.index(name) for name in order]])


def test_a_mirrored_axis_is_found():
    assert "an axis is mirrored" in order_fault(POSES * [1, -1, 1])
