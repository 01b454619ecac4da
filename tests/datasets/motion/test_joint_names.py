"""One vocabulary of joint names covers the tools that people use, whatever they put before, between and behind."""

import numpy as np
import pytest

from datasets.motion.captured.bvh import BvhClip
from datasets.motion.captured.joint_names import JOINTS, find_joints
from utils.errors import UserError

BONES = ("thigh", "shin", "foot", "collar", "upper_arm", "forearm", "hand")
BUILDER = ("UpLeg", "Leg", "Foot", "Shoulder", "Arm", "ForeArm", "Hand")
BIPED = ("Thigh", "Calf", "Foot", "Clavicle", "UpperArm", "Forearm", "Hand")
MOTIVE = ("Thigh", "Shin", "Foot", "Shoulder", "UArm", "FArm", "Hand")
SHORT, LONG = ("L", "R"), ("Left", "Right")

# Name: root, spine, head, names of BONES, pattern, marks of the sides.
TOOLS = {
    "MotionBuilder": ("Hips", "Spine", "Head", BUILDER, "{side}{bone}", LONG),
    "HumanIK": ("Character1_Hips", "Character1_Spine", "Character1_Head", BUILDER, "Character1_{side}{bone}", LONG),
    "Mixamo": ("mixamorig:Hips", "mixamorig:Spine", "mixamorig:Head", BUILDER, "mixamorig:{side}{bone}", LONG),
    "Mixamo 1": ("mixamorig1:Hips", "mixamorig1:Spine", "mixamorig1:Head", BUILDER, "mixamorig1:{side}{bone}", LONG),
    "Mixamo _": ("mixamorig_Hips", "mixamorig_Spine", "mixamorig_Head", BUILDER, "mixamorig_{side}{bone}", LONG),
    "Mixamo joined": ("mixamorigHips", "mixamorigSpine", "mixamorigHead", BUILDER, "mixamorig{side}{bone}", LONG),
    "Biped": ("Bip01", "Bip01 Spine", "Bip01 Head", BIPED, "Bip01 {side} {bone}", SHORT),
    "Biped 2010": ("Bip001", "Bip001 Spine", "Bip001 Head", BIPED, "Bip001 {side} {bone}", SHORT),
    "Biped _": ("Bip001_Pelvis", "Bip001_Spine", "Bip001_Head", BIPED, "Bip001_{side}_{bone}", SHORT),
    "Source": ("ValveBiped.Bip01_Pelvis", "ValveBiped.Bip01_Spine", "ValveBiped.Bip01_Head1", BIPED,
               "ValveBiped.Bip01_{side}_{bone}", SHORT),
    "Motive": ("Hip", "Ab", "Head", MOTIVE, "{side}{bone}", SHORT),
    "Motive, named": ("Skeleton 001_Hip", "Skeleton 001_Ab", "Skeleton 001_Head",
                      MOTIVE, "Skeleton 001_{side}{bone}", SHORT),
    "VRoid": ("J_Bip_C_Hips", "J_Bip_C_Spine", "J_Bip_C_Head",
              ("UpperLeg", "LowerLeg", "Foot", "Shoulder", "UpperArm", "LowerArm", "Hand"), "J_Bip_{side}_{bone}",
              SHORT),
    "Reallusion": ("RL_BoneRoot", "CC_Base_Waist", "CC_Base_Head",
                   BIPED, "CC_Base_{side}_{bone}", SHORT),
    "Rigify": ("root", "DEF-spine", "DEF-spine.006",
               ("thigh", "shin", "foot", "shoulder", "upper_arm", "forearm", "hand"), "DEF-{bone}.{side}", SHORT),
    "Unreal": ("pelvis", "spine_01", "head", ("thigh", "calf", "foot", "clavicle", "upperarm", "lowerarm", "hand"),
               "{bone}_{side}", ("l", "r")),
    "Daz": ("hip", "abdomenLower", "head",
            ("ThighBend", "Shin", "Foot", "Collar", "ShldrBend", "ForearmBend", "Hand"), "{side}{bone}", ("l", "r")),
    "MakeHuman": ("root", "spine05", "head",
                  ("upperleg01", "lowerleg01", "foot", "clavicle", "upperarm01", "lowerarm01", "wrist"),
                  "{bone}.{side}", SHORT),
    "SMPL": ("Pelvis", "Spine1", "Head", ("Hip", "Knee", "Ankle", "Collar", "Shoulder", "Elbow", "Wrist"),
             "{side}_{bone}", SHORT),
    "Kinect": ("HipCenter", "Spine", "Head", ("Hip", "Knee", "Ankle", "Collar", "Shoulder", "Elbow", "Wrist"),
               "{bone}{side}", LONG),
    "CMU": ("root", "lowerback", "head", ("femur", "tibia", "foot", "clavicle", "humerus", "radius", "wrist"),
            "{side}{bone}", ("l", "r")),
    "Neuron": ("Robot_Hips", "Robot_Spine", "Robot_Head", BUILDER, "Robot_{side}{bone}", LONG),
    "Maya": ("hips_jnt", "spine_jnt", "head_jnt", BUILDER, "{side}_{bone}_jnt", ("lft", "rgt")),
}  # fmt: skip


def skeleton(tool):
    """A clip without motion, and where each bone of `JOINTS` starts in it."""
    root, spine, head, cores, pattern, marks = TOOLS[tool]
    joints, parents, expected = [root, spine, head], [-1, 0, 1], {"head": 2}
    for mark, side in zip(marks, ("left", "right"), strict=True):
        for bone, core in zip(BONES, cores, strict=True):
            first = {"thigh": 0, "collar": 1}.get(bone)
            parents.append(len(joints) - 1 if first is None else first)
            if bone in JOINTS:
                expected[f"{bone}_{side}"] = len(joints)
            joints.append(pattern.format(side=mark, bone=core))
    count = len(joints)
    still = np.tile(np.eye(3), (1, count, 1, 1))
    clip = BvhClip(tool, tuple(joints), tuple(parents), np.zeros((count, 3)), still, np.zeros((1, count, 3)), 30.0)
    return clip, expected


@pytest.mark.parametrize("tool", TOOLS)
def test_names_of_tools(tool):
    clip, expected = skeleton(tool)
    found = find_joints(clip, "walk.bvh")
    assert {bone: clip.joints[found[bone]] for bone in expected} == {b: clip.joints[j] for b, j in expected.items()}


def test_a_skeleton_of_nobody_names_what_is_missing():
    clip, _ = skeleton("MotionBuilder")
    clip = clip._replace(joints=tuple(f"part{number}" for number in range(len(clip.joints))))
    with pytest.raises(UserError, match=r"walk\.bvh: no joint for 'left hip'; expected one of lThigh, LeftUpLeg"):
        find_joints(clip, "walk.bvh")
