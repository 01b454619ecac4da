"""A walking person as the landmarks that are triangulated, and what a detector would see of them."""

import numpy as np

from datasets.cameras.camera import Camera
from datasets.detection.blazepose import NUM_LANDMARKS
from datasets.triangulation.points import LANDMARKS, NUM_POINTS, POINT_NAMES
from tests.synthetic import ring_cameras
from utils.geometry import rotation_about

WIDTH, HEIGHT, FOCAL = 1280, 960, 1000.0
SECONDS = 0.05
# meters: x to the person's right, y forward, z up
REST = {
    "shoulder": (0.18, 0, 1.42), "elbow": (0.24, 0, 1.14), "wrist": (0.26, 0.05, 0.89),
    "hip": (0.1, 0, 0.92), "knee": (0.11, 0.02, 0.5), "ankle": (0.11, -0.02, 0.09),
    "nose": (0, 0.13, 1.6), "ear": (0.07, 0, 1.62), "eye_outer": (0.05, 0.1, 1.64), "mouth": (0.03, 0.11, 1.55),
}  # fmt: skip
SWINGS = {"elbow": "shoulder", "wrist": "shoulder", "knee": "hip", "ankle": "hip"}


def four_cameras() -> list[Camera]:
    rotation, center = ring_cameras(4, radius=4.0)
    intrinsics = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    return [
        Camera(rotation[c], center[c], intrinsics, np.array([-0.1, 0.02, 0, 0, 0]), WIDTH, HEIGHT) for c in range(4)
    ]


def walk(instants: int) -> np.ndarray:
    """Points (T,P,3) of a person who walks a curve with swinging arms and legs: all segments keep their lengths."""
    time = SECONDS * np.arange(instants)
    points = np.zeros((instants, NUM_POINTS, 3))
    for index, name in enumerate(POINT_NAMES):
        part = name.removeprefix("left_").removeprefix("right_").removesuffix("_left").removesuffix("_right")
        side = 1 if "right" in name else -1
        place = np.array(REST[part]) * [side, 1, 1]
        if part in SWINGS:
            pivot = np.array(REST[SWINGS[part]]) * [side, 1, 1]
            angle = 0.5 * side * (1 if SWINGS[part] == "hip" else -1) * np.sin(4 * time)
            points[:, index] = pivot + rotation_about("x", angle) @ (place - pivot)
        else:
            points[:, index] = place
    turned = np.einsum("tij,tpj->tpi", rotation_about("z", 0.8 * time), points)
    return turned + np.stack([0.5 * np.sin(time), -0.3 * np.cos(time), 0 * time], axis=1)[:, None]


def landmarks(cameras: list[Camera], points: np.ndarray, noise: float = 3.0) -> np.ndarray:
    """Pixels (C,T,33,2) of points (T,P,3), with noise of that many pixels; other landmarks are at 0."""
    pixels = np.zeros((len(cameras), len(points), NUM_LANDMARKS, 2))
    for index, camera in enumerate(cameras):
        pixels[index][:, list(LANDMARKS)] = camera.project(camera.world_to_cam(points))
    return pixels + np.random.default_rng(0).normal(0, noise, pixels.shape)
