"""Motions as TRC: the marker file of OpenSim and Pose2Sim. Meters, y up, tabs between columns."""

from pathlib import Path

import numpy as np

from training.exports.motion import Motion
from utils.skeleton import JOINT_NAMES

# Pose2Sim's and so its OpenSim models' names. What Human3.6M calls head is at the nose.
MARKERS = {
    "hip": "Hip",
    "right_hip": "RHip",
    "right_knee": "RKnee",
    "right_ankle": "RAnkle",
    "left_hip": "LHip",
    "left_knee": "LKnee",
    "left_ankle": "LAnkle",
    "spine": "Spine",
    "neck": "Neck",
    "head": "Nose",
    "head_top": "Head",
    "left_shoulder": "LShoulder",
    "left_elbow": "LElbow",
    "left_wrist": "LWrist",
    "right_shoulder": "RShoulder",
    "right_elbow": "RElbow",
    "right_wrist": "RWrist",
}
_AXES = [1, 2, 0]  # of a world with z up, as Pose2Sim has it


def write_trc(path: Path, motion: Motion, name: str) -> None:
    """Write a motion; `name` is that of the file, which its first line repeats. Unknown instants have empty cells."""
    markers = [MARKERS[joint] for joint in JOINT_NAMES]
    rate, count = f"{motion.instants_per_second:.6g}", len(motion.joints)
    first = int(motion.instants[0])
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{count}\t{len(markers)}\tm\t{rate}\t{first}\t{count}",
        "Frame#\tTime\t" + "\t\t\t".join(markers) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{number}" for number in range(1, len(markers) + 1) for axis in "XYZ"),
    ]
    for instant, time, joints in zip(motion.instants, motion.times, motion.z_up()[..., _AXES], strict=True):
        cells = (f"{value:.6f}" if np.isfinite(value) else "" for value in joints.reshape(-1))
        lines.append("\t".join([str(instant), f"{time:.6f}", *cells]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
