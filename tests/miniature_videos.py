"""A miniature of a user's own recording: distorting cameras, each with its own start, that film one moving person."""

import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from datasets.cameras.camera import Camera
from tests.markers import FLOOR, JOINTS, render_markers
from tests.synthetic import random_joints, ring_cameras
from tests.video_files import write_video
from utils.skeleton import BONES

WIDTH, HEIGHT, FOCAL = 320, 240, 260.0
OFFSETS = {"left": 0, "middle": 2, "right": 1}


class Truth(NamedTuple):
    """What was filmed: cameras by name, joints (T,17,3) meters, world with z up; files of the recording."""

    cameras: dict[str, Camera]
    joints: np.ndarray
    videos: dict[str, Path]
    calibration: Path
    poses: Path

    @property
    def arguments(self) -> list[str]:
        """The script's arguments for the recording, except boxes and poses."""
        videos = [f"{name}={path}" for name, path in self.videos.items()]
        offsets = [f"{name}={offset}" for name, offset in OFFSETS.items()]
        return ["--videos", *videos, "--calibration", str(self.calibration), "--offsets", *offsets]


def write_recording(folder: Path, instants: int = 12, body: bool = False) -> Truth:
    """Write videos, calibration and poses to `folder`. The person is three markers, or a gray figure (`body`)."""
    rotation, center = ring_cameras(3, radius=4.5)
    intrinsics = np.array([[FOCAL, 0, 165], [0, FOCAL, 118], [0, 0, 1]])
    distortion = np.array([-0.25, 0.08, 0.002, -0.001, 0.0])
    cameras = {
        name: Camera(rotation[c], center[c], intrinsics, distortion, WIDTH, HEIGHT) for c, name in enumerate(OFFSETS)
    }
    joints = random_joints(instants, np.random.default_rng(3))
    joints[..., :2] -= 0.4 * joints[:, :1, :2]
    videos = {name: folder / f"{name}.mp4" for name in cameras}
    for name, camera in cameras.items():
        before = [_scene(camera, None, body)] * OFFSETS[name]
        write_video(videos[name], [*before, *(_scene(camera, pose, body) for pose in joints)], crf=4)
    np.savez(folder / "poses.npz", poses=joints)
    truth = Truth(cameras, joints, videos, folder / "calibration.json", folder / "poses.npz")
    truth.calibration.write_text(json.dumps({"unit": "mm", "cameras": camera_fields(cameras)}))
    return truth


def camera_fields(cameras: dict[str, Camera]) -> dict[str, dict]:
    """What calibration.json says of the cameras, in mm; each in another of the allowed ways."""
    fields = {}
    for number, (name, camera) in enumerate(cameras.items()):
        fields[name] = {"width": WIDTH, "height": HEIGHT, "K": camera.intrinsics.tolist()}
        fields[name]["distortion"] = camera.distortion[: 4 + number % 2].tolist()
        if number % 2:
            fields[name] |= {"rvec": cv2.Rodrigues(camera.rotation)[0].ravel().tolist()}
            fields[name] |= {"centre": (1000 * camera.center).tolist()}
        else:
            fields[name] |= {"R": camera.rotation.ravel().tolist()}
            fields[name] |= {"t": (-1000 * camera.rotation @ camera.center).tolist()}
    return fields


def true_box(camera: Camera, joints: np.ndarray) -> np.ndarray:
    """x0, y0, width, height of the joints (17,3) in the image."""
    pixels = camera.project(camera.world_to_cam(joints))
    return np.concatenate([pixels.min(0), np.ptp(pixels, axis=0)])


def _scene(camera: Camera, joints: np.ndarray | None, body: bool) -> np.ndarray:
    if joints is None:
        return render_markers(np.full((3, 2), -1e3), WIDTH, HEIGHT, radius=5)
    pixels = camera.project(camera.world_to_cam(joints))
    if not body:
        return render_markers(pixels[list(JOINTS)], WIDTH, HEIGHT, radius=5)
    image = np.full((HEIGHT, WIDTH, 3), FLOOR, np.uint8)
    for bone in BONES:
        (x0, y0), (x1, y1) = pixels[list(bone)].round().astype(int).tolist()
        cv2.line(image, (x0, y0), (x1, y1), (150, 140, 130), 9)
    return image
