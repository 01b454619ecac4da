"""Writes BVH files of a figure that squats and waves, with the names, unit, axes and channel order of any tool."""

import itertools
from pathlib import Path

import numpy as np
import roma
import torch

from datasets.people.kinematics import rotation_x, rotation_y, rotation_z

# Per joint: parent, offset in a T-pose (meters; x forward, y left, z up), its names in Poser and in MotionBuilder.
_MIDDLE = {
    "root": (None, (0, 0, 0), "hip", "Hips"),
    "waist": ("root", (0, 0, 0.1), "abdomen", "LowerBack"),
    "chest": ("waist", (0, 0, 0.2), "chest", "Spine1"),
    "neck": ("chest", (0, 0, 0.25), "neck", "Neck"),
    "head": ("neck", (0, 0, 0.1), "head", "Head"),
}
_SIDED = {
    "collar": ("chest", (0, 0.03, 0.2), "Collar", "Shoulder"),
    "upper_arm": ("collar", (0, 0.15, 0), "Shldr", "Arm"),
    "forearm": ("upper_arm", (0, 0.28, 0), "ForeArm", "ForeArm"),
    "hand": ("forearm", (0, 0.25, 0), "Hand", "Hand"),
    "thigh": ("root", (0, 0.1, -0.05), "Thigh", "UpLeg"),
    "shin": ("thigh", (0, 0, -0.42), "Shin", "Leg"),
    "foot": ("shin", (0, 0, -0.42), "Foot", "Foot"),
}
_ENDS = {"head": (0, 0, 0.2), "hand": (0, 0.15, 0), "foot": (0.15, 0, -0.06)}
_SIDES = {"left": ("l", "Left", np.array([1, 1, 1])), "right": ("r", "Right", np.array([1, -1, 1]))}
# From axes with z up to the file's.
_AXES = {"z": np.eye(3), "y": np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])}


def figure(names: str = "poser") -> dict[str, tuple[str | None, np.ndarray, str]]:
    """Parent, offset and name of each joint."""
    joints = {key: (parent, np.array(offset), (poser if names == "poser" else builder))
              for key, (parent, offset, poser, builder) in _MIDDLE.items()}  # fmt: skip
    for (side, (short, long, mirror)), (key, (parent, offset, poser, builder)) in itertools.product(
        _SIDES.items(), _SIDED.items()
    ):
        parent = f"{parent}_{side}" if parent in _SIDED else parent
        joints[f"{key}_{side}"] = (parent, offset * mirror, short + poser if names == "poser" else long + builder)
    return joints


def squat_and_wave(frames: int = 61, rate: float = 30, jump: float = 0.0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Local rotations (T, 3, 3) by joint, and the root's path (T, 3), meters, z up.

    The feet are static and flat. With `jump` (meters) they leave the floor for the middle third of the time.
    """
    times = np.arange(frames) / rate
    half = 0.5 - 0.5 * np.cos(2 * np.pi * times)  # 0 .. 1 .. 0 every second
    pose = {key: np.tile(np.eye(3), (frames, 1, 1)) for key in figure()}
    bend = np.deg2rad(10) + np.deg2rad(40) * half
    for side, sign in (("left", 1), ("right", -1)):
        pose[f"thigh_{side}"] = rotation_y(-bend)
        pose[f"shin_{side}"] = rotation_y(2 * bend)
        pose[f"foot_{side}"] = rotation_y(-bend)
        raised = rotation_x(sign * (np.deg2rad(70) * half - np.deg2rad(50)))
        pose[f"upper_arm_{side}"] = raised @ rotation_z(-sign * np.deg2rad(30))
        pose[f"forearm_{side}"] = rotation_z(-sign * (0.3 + 1.4 * half))
    pose["waist"] = rotation_z(0.3 * np.sin(2 * np.pi * times)) @ rotation_y(0.3 * half)
    pose["head"] = rotation_z(0.5 * half)
    root = np.zeros((frames, 3))
    root[:, 2] = 0.11 + 2 * 0.42 * np.cos(bend) + 0.05
    phase = np.linspace(-1, 2, frames)
    root[:, 2] += jump * np.clip(4 * phase * (1 - phase), 0, 1)
    return pose, root


def write_figure(
    path: Path, motion=None, names="poser", unit=1.0, up="z", order="ZXY", rate=30.0, own: dict | None = None
) -> Path:
    """Write a motion (default: `squat_and_wave`).

    unit: the file's units per meter. own: rotations (3, 3) of joints' own axes, which change the file's rest pose.
    """
    pose, root = motion or squat_and_wave()
    joints, axes = figure(names), _AXES[up]
    own = dict.fromkeys(joints, np.eye(3)) | (own or {})
    columns, lines = [root @ axes.T * unit], ["HIERARCHY"]

    def line(depth: int, *words) -> None:
        lines.append("\t" * depth + " ".join(f"{word:.8f}" if isinstance(word, float) else word for word in words))

    def write_joint(key: str, depth: int) -> None:
        parent, offset, name = joints[key]
        outer = own[parent] if parent else np.eye(3)
        line(depth, "JOINT" if parent else "ROOT", name)
        line(depth, "{")
        line(depth + 1, "OFFSET", *(outer.T @ axes @ offset * unit).tolist())
        channels = [] if parent else ["Xposition", "Yposition", "Zposition"]
        channels += [f"{axis}rotation" for axis in order]
        line(depth + 1, "CHANNELS", str(len(channels)), *channels)
        local = torch.from_numpy(outer.T @ axes @ pose[key] @ axes.T @ own[key])
        columns.append(roma.rotmat_to_euler(order, local, degrees=True).numpy())
        for child, (above, *_) in joints.items():
            if above == key:
                write_joint(child, depth + 1)
        bone, mirror = key.removesuffix("_left").removesuffix("_right"), np.array([1, -1 if "right" in key else 1, 1])
        if bone in _ENDS:
            line(depth + 1, "End Site")
            line(depth + 1, "{")
            line(depth + 2, "OFFSET", *(own[key].T @ axes @ (_ENDS[bone] * mirror) * unit).tolist())
            line(depth + 1, "}")
        line(depth, "}")

    write_joint("root", 0)
    rows = np.concatenate(columns, axis=1)
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / rate:.8f}"]
    path.write_text("\n".join([*lines, *(" ".join(f"{value:.6f}" for value in row) for row in rows)]) + "\n")
    return path


def tangled(seed: int) -> dict[str, np.ndarray]:
    """Random axes of the joints: the rest pose is no posture at all."""
    rotations = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(figure()), 3, 3)))[0]
    return dict(zip(figure(), rotations * np.linalg.det(rotations)[:, None, None], strict=True))


def splayed(degrees: float) -> dict[str, np.ndarray]:
    """Axes of a rest pose with straddled legs, like that of the CMU's files."""
    rotations = {side: rotation_x(-sign * np.deg2rad(degrees)) for side, sign in (("left", 1), ("right", -1))}
    return {f"{bone}_{side}": rotation for side, rotation in rotations.items() for bone in ("thigh", "shin")}
