"""A picture to judge triangulated poses by: skeletons drawn into frames of all cameras."""

from pathlib import Path

import numpy as np

from datasets.cameras.camera import Camera, opencv
from datasets.layout.png import write_png
from datasets.sources.own_videos.plan import Plan
from datasets.triangulation.triangulate import Triangulation
from datasets.video.drawing import draw_bones
from datasets.video.frames import read_frames
from utils.files import write_atomically

INSTANTS = 8
TILE = 240  # side of a picture, pixels
METERS = 2.2  # shown at the person's distance


def write_overlays(file: Path, plan: Plan, found: Triangulation) -> None:
    """Write a PNG: a row per camera, a column per instant. Left limbs are blue, right ones red; white did not pass."""
    shown = np.unique(np.linspace(0, len(plan.instants) - 1, INSTANTS).round().astype(int))
    rows = []
    for name, video in plan.recording.videos.items():
        frames = {int(plan.instants[index]) + plan.recording.offsets[name]: index for index in shown}
        frames = {frame: index for frame, index in frames.items() if frame < plan.num_frames[name]}
        tiles = [np.zeros((TILE, TILE, 3), np.uint8)] * len(shown)
        for frame, image in read_frames(video, list(frames)):
            index = frames[frame]
            camera = plan.calibration.cameras[name]
            place = int(np.flatnonzero(shown == index)[0])
            tiles[place] = _tile(image, camera, found.joints[index], bool(found.passed[index]))
        rows.append(np.concatenate(tiles, axis=1))
    file.parent.mkdir(exist_ok=True)
    write_atomically(file, lambda part: write_png(str(part), np.concatenate(rows)))


def _tile(image: np.ndarray, camera: Camera, joints: np.ndarray, passed: bool) -> np.ndarray:
    cv2 = opencv()
    in_camera = camera.world_to_cam(joints)
    pixels = camera.project(in_camera)
    if not np.isfinite(pixels).all():
        return np.zeros((TILE, TILE, 3), np.uint8)
    scale = TILE / (METERS * camera.intrinsics[0, 0] / in_camera[0, 2])
    corner = pixels[0] - TILE / scale / 2
    matrix = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    tile = cv2.warpAffine(image, matrix, (TILE, TILE), flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    draw_bones(tile, scale * (pixels - corner), plain=not passed)
    return tile
