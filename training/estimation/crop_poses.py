"""Poses of all crops of a shot: each frame that shows the person is cropped around the hip and goes to the network."""

import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from datasets.cameras.camera import Camera
from datasets.cameras.crop_camera import CropCamera, crop_camera
from datasets.video.cropping import crop_map
from datasets.video.frames import decode_frames
from datasets.video.rgb import RgbConverter
from training.estimation.shot import Shot
from training.exports.motion import WORLD
from training.trained.fusion import fuse_cameras
from training.trained.inference import PoseFromCrop
from utils.errors import UserError
from utils.files import save_npz, write_atomically
from utils.readers import read_rows
from utils.skeleton import NUM_JOINTS

CHUNK = 256  # crops in memory


class CameraPoses(NamedTuple):
    """What one camera says at T instants, NaN where it does not see the person.

    poses: (T,17,3) meters, root-centered, in the space of the shot. rotations: (T,3,3), from that space to the crops.
    trust: (T,) in 0..1; all NaN of a network that was not calibrated. flagged: (T,) bool, pictures unlike those of the
    training.
    """

    poses: np.ndarray
    rotations: np.ndarray
    trust: np.ndarray
    flagged: np.ndarray


def crop_cameras(shot: Shot, name: str) -> CropCamera:
    """The crops of the instants at which a camera sees the person; upright where the world's z axis is known."""
    camera = shot.cameras[name]
    seen = shot.seen[list(shot.cameras).index(name)]
    up = camera.rotation[:, 2] if shot.space == WORLD else None
    return crop_camera(camera.world_to_cam(shot.roots[seen]), up_cam=up)


def camera_poses(shot: Shot, name: str, pose_from_crop: PoseFromCrop, file: Path, progress: bool) -> CameraPoses:
    """The poses of one camera; those that are in `file` already are read from it, else written to it."""
    if not file.exists():
        found = _estimate(shot, name, pose_from_crop, progress)
        file.parent.mkdir(exist_ok=True)
        write_atomically(file, lambda part: save_npz(part, found._asdict()))
    shapes = {"poses": (NUM_JOINTS, 3), "rotations": (3, 3), "trust": (), "flagged": ()}
    held = CameraPoses(**read_rows(file, shapes, "poses of a camera; remove it to estimate again"))
    if len(held.poses) != len(shot.instants):
        raise UserError(
            f"{str(file)!r} has poses of {len(held.poses)} instants, expected {len(shot.instants)}; remove it to "
            "estimate again"
        )
    return held


def _estimate(shot: Shot, name: str, pose_from_crop: PoseFromCrop, progress: bool) -> CameraPoses:
    column, camera = list(shot.cameras).index(name), shot.cameras[name]
    rows = np.flatnonzero(shot.seen[column])
    crop = crop_cameras(shot, name)
    count = len(shot.instants)
    found = CameraPoses(
        *(np.full((count, *shape), np.nan, np.float32) for shape in ((NUM_JOINTS, 3), (3, 3), ())),
        np.zeros(count, bool),
    )
    found.rotations[rows] = crop.rotation @ camera.rotation
    images = _crops(shot.videos[name], camera, shot.frames[column][rows], crop, pose_from_crop.network.size)
    with tqdm(total=len(rows), desc=f"poses of {name}", unit="crop", disable=not progress) as bar:
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            with warnings.catch_warnings():
                # The report counts flagged pictures.
                warnings.simplefilter("ignore", UserWarning)
                poses = pose_from_crop(np.stack(list(islice(images, CHUNK))))
            found.poses[rows[part]] = np.asarray(poses) @ found.rotations[rows[part]]
            if poses.trust is not None:
                found.trust[rows[part]], found.flagged[rows[part]] = poses.trust, poses.flagged
            bar.update(len(poses))
    return found


def _crops(video: Path, camera: Camera, frames: np.ndarray, crop: CropCamera, size: int) -> Iterator[np.ndarray]:
    rgb = RgbConverter()
    for row, (_, frame) in enumerate(decode_frames(video, frames.tolist())):
        yield rgb.crop(frame, crop_map(camera, crop.rotation[row], crop.intrinsic_crop[row], size))


def fuse_views(views: list[CameraPoses]) -> tuple[np.ndarray, np.ndarray | None]:
    """All cameras' poses fused: (T,17,3) root-centered, NaN where none sees the person, and trust (T,) or None."""
    poses, rotations, trust = (np.stack(part) for part in list(zip(*views, strict=True))[:3])
    known = np.isfinite(poses).all((2, 3))
    judged = np.isfinite(trust[known]).all()
    fused, score = np.full(poses.shape[1:], np.nan), np.full(poses.shape[1], np.nan)
    if known.any():
        instants = np.broadcast_to(np.arange(poses.shape[1]), known.shape)[known]
        in_crops = poses[known] @ rotations[known].swapaxes(1, 2)
        found = fuse_cameras(in_crops, rotations[known], instants, trust[known] if judged else None)
        fused[found.instants] = found.poses
        score[found.instants] = found.trust if judged else np.nan
    return fused, score if judged else None
