"""Backgrounds and crops of Human3.6M: the work of one process, a camera or a sequence of it at a time."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.background import CAPACITY, MIN_KEY_FRAMES, FrameReservoir, median_frame, spread_frames
from datasets.crop_camera import crop_camera
from datasets.cropping import crop_map, crop_rows
from datasets.h36m_metadata import CAMERA_IDS, Metadata
from datasets.h36m_plan import View
from datasets.h36m_source import read_poses
from datasets.layout import LayoutWriter
from datasets.png import read_png, write_png
from datasets.video import read_frames
from utils.errors import UserError
from utils.files import write_whole

BACKGROUNDS = "backgrounds"
CHUNK = 256  # crops that a process holds at once


class Task(NamedTuple):
    """What every process needs to know. size: side of the crops, pixels."""

    output: Path
    size: int
    metadata: Metadata


class CameraVideos(NamedTuple):
    """All videos of one camera and subject."""

    subject: int
    cam: int
    videos: list[Path]


_task: Task


def start_worker(task: Task) -> None:
    """Called once in each process."""
    global _task
    _task = task


def make_background(job: CameraVideos) -> None:
    """Write the median of a camera over all videos of a subject, if it is not there; broken videos are passed over."""
    file = background_file(_task.output, job.subject, job.cam)
    if file.exists():
        return
    reservoir = FrameReservoir()
    each = max(MIN_KEY_FRAMES, CAPACITY // len(job.videos))
    for video in job.videos:
        try:
            frames = list(spread_frames(video, each))
        except UserError:
            continue  # the sequence's own crops will tell
        for frame in frames:
            reservoir.add(frame)
    picture = median_frame(reservoir.frames)
    file.parent.mkdir(exist_ok=True)
    write_whole(file, lambda part: write_png(str(part), picture))


def write_view(view: View) -> tuple[View, int, str]:
    """Write the crops of one camera of one sequence; goes on where it stopped. Returns the view, the number of its
    crops on disk, and what broke, or ""."""
    writer = LayoutWriter(_task.output, _task.size, threads=1)
    starts = range(0, len(view.frames), CHUNK)
    todo = [start for start in starts if not writer.has(_key(view, start))]
    if not todo:
        return view, len(view.frames), ""
    start = todo[0]
    try:
        for crops in _chunks(view, start):
            writer.add(*crops, _key(view, start))
            start += CHUNK
    except UserError as error:
        return view, start, str(error)
    return view, len(view.frames), ""


def background_file(output: Path, subject: int, cam: int) -> Path:
    """The full picture of a camera without people, as a PNG."""
    return output / BACKGROUNDS / f"S{subject}_{CAMERA_IDS[cam]}.png"


def _key(view: View, start: int) -> str:
    return f"seq_{view.sequence.seq:03d}_cam_{view.cam:02d}_{start:06d}"


def _chunks(view: View, first: int) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
    """`img_crop`, `bg_crop` (N,size,size,3) and rows of labels.h5, up to CHUNK at a time, from the crop `first` on."""
    background = read_png(str(background_file(_task.output, view.sequence.subject, view.cam)))
    height, width = background.shape[:2]
    camera = _task.metadata.camera(view.sequence.subject, view.cam, width, height)
    joints_cam = camera.world_to_cam(read_poses(view.poses)[list(view.frames)])
    crop = crop_camera(joints_cam[:, 0])
    rows = {**crop_rows(camera.rotation, joints_cam, crop), **_id_rows(view)}
    frames = read_frames(view.video, view.frames[first:])
    for start in range(first, len(view.frames), CHUNK):
        part = slice(start, start + CHUNK)
        images = []
        for turn, intrinsic, (index, frame) in zip(
            crop.turn[part], crop.intrinsic_crop[part], islice(frames, CHUNK), strict=True
        ):
            if frame.shape != background.shape:
                raise UserError(f"frame {index} has shape {frame.shape}; the camera's others have {background.shape}")
            places = crop_map(camera, turn, intrinsic, _task.size)
            images.append((places.sample(frame), places.sample(background)))
        img_crop, bg_crop = (np.stack(kind) for kind in zip(*images, strict=True))
        yield img_crop, bg_crop, {name: value[part] for name, value in rows.items()}


def _id_rows(view: View) -> dict[str, np.ndarray]:
    sequence, count = view.sequence, len(view.frames)
    same = {
        "cam": view.cam,
        "seq": sequence.seq,
        "subj": sequence.subject,
        "motion": sequence.motion,
        "shifted": np.int8(view.shifted),
    }
    return {"frame": np.array(view.frames), **{name: np.full(count, value) for name, value in same.items()}}
