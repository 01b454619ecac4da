"""A miniature of the Ski-PosePTZ-Camera set in its own form: skiers seen by cameras that rotate and zoom."""

from pathlib import Path

import h5py
import numpy as np

from datasets.layout.png import write_png
from tests.markers import JOINTS, render_markers
from tests.synthetic import random_joints, ring_cameras

SIDE = 256


def write_ski(root: str | Path, split: str = "train", sequences: int = 2, instants: int = 3, cameras: int = 6) -> Path:
    """Write one split below `root`; the subject of sequence s is s + 1. Returns the folder of the split."""
    folder, rows = Path(root) / split, []
    rng = np.random.default_rng(len(split))
    for seq in range(sequences):
        joints = random_joints(instants, rng)
        for instant in range(instants):
            rotation, center = ring_cameras(cameras, radius=rng.uniform(25, 40), height=rng.uniform(3, 8))
            for cam in range(cameras):
                row = _row(joints[instant], rotation[cam], center[cam], rng)
                rows.append({"seq": seq, "cam": cam, "frame": 4 * instant, "subj": seq + 1, **row})
                _paint(folder, rows[-1])
    with h5py.File(folder / "labels.h5", "w") as file:
        for name in rows[0]:
            file[name] = np.stack([np.asarray(row[name], dtype=np.float64).reshape(-1) for row in rows])
    return folder


def _row(joints: np.ndarray, rotation: np.ndarray, center: np.ndarray, rng: np.random.Generator) -> dict:
    """Labels of one image: a square of 2.6 m around the skier, cropped from anywhere in a larger image."""
    joints_cam = (joints - center) @ rotation.T
    focal = joints_cam[0, 2] / 2.6
    middle = 0.5 + rng.uniform(-0.05, 0.05, 2) - focal * joints_cam[0, :2] / joints_cam[0, 2]
    intrinsic = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
    seen = joints_cam @ intrinsic.T
    return {
        "3D": joints_cam - joints_cam[0],
        "2D": seen[:, :2] / seen[:, 2:],
        "cam_intrinsic": intrinsic,
        "cam_position": center,
        "R_cam_2_world": rotation.T,
    }


def _paint(folder: Path, row: dict) -> None:
    path = folder / f"seq_{row['seq']:03d}/cam_{row['cam']:02d}/image_{row['frame']:06d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = SIDE * row["2D"][list(JOINTS)] - 0.5
    write_png(str(path), render_markers(pixels, SIDE, SIDE, radius=5))
