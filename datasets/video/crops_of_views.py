"""Backgrounds and crops of single cameras, streamed from their videos into a layout."""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from datasets.cameras.camera import Camera
from datasets.cameras.crop_camera import CropCamera, crop_camera, crop_rows
from datasets.layout.pieces import PieceWriter
from datasets.layout.png import read_png, write_png
from datasets.layout.workers import map_processes
from datasets.layout.writer import LayoutWriter
from datasets.video.background import CAPACITY, MIN_KEY_FRAMES, median_of_videos
from datasets.video.cropping import crop_map
from datasets.video.frames import count_frames, decode_frames, read_frames
from datasets.video.rgb import RgbConverter
from utils.errors import UserError
from utils.files import write_atomically

BACKGROUNDS_FOLDER = "backgrounds"  # in the folder of a prepared set
CHUNK = 256  # crops that a process holds in memory, which are one piece of the layout
BACKGROUND_BYTES = 400_000_000  # memory for the frames of which a background is the median


class Background(NamedTuple):
    """The background of one fixed camera, to be computed from `videos` and written to the PNG `file`.

    min_key_frames: videos with fewer key frames contribute other frames too. skip_broken: skip videos that do not
    decode, instead of an error.
    """

    file: Path
    videos: list[Path]
    min_key_frames: int = MIN_KEY_FRAMES
    skip_broken: bool = False


class CropView(NamedTuple):
    """N crops to be made of one video.

    key: prefix of its pieces in the layout. name: of the view, for messages. frames: (N,) increasing frame numbers.
    roots: (N,3) meters, camera frame: the centers of the crops. joints: (N,17,3) meters, camera frame; None without
    poses. ids: further columns of labels.h5 (N,) by name. background: PNG, or None.
    """

    key: str
    name: str
    video: Path
    camera: Camera
    frames: np.ndarray
    roots: np.ndarray
    joints: np.ndarray | None
    ids: dict[str, np.ndarray]
    background: Path | None


class CropJob(NamedTuple):
    """Folder of the crops, their side in pixels, and their width in meters at the person's distance.

    upright: roll the crops so that the world's z axis points up in them.
    """

    output: Path
    size: int
    box_metres: float
    upright: bool = False


def checked_length(video: Path, camera: Camera, name: str) -> int:
    """Number of frames of a video. Raises UserError where it does not decode or differs from the camera's size."""
    _, frame = next(decode_frames(video, [0]))
    check_frame(frame.width, frame.height, video, camera, name)
    return count_frames(video)


def write_backgrounds(backgrounds: Sequence[Background], workers: int | None, progress: bool) -> None:
    """Write the backgrounds of many cameras in parallel processes."""
    # A deque of length 0 consumes the iterator and keeps nothing.
    done = map_processes(write_background, backgrounds, workers)
    deque(tqdm(done, "backgrounds", len(backgrounds), unit="camera", disable=not progress), maxlen=0)


def write_views(views: Sequence[CropView], job: CropJob, workers: int | None, progress: bool) -> None:
    """Write the crops of many views in parallel processes; those in the layout are skipped."""
    with tqdm(total=sum(len(view.frames) for view in views), unit="crop", desc="crops", disable=not progress) as bar:
        for count in map_processes(partial(write_view, job=job), views, workers):
            bar.update(count)


def write_background(background: Background) -> None:
    """Write the background of one camera, unless its file exists."""
    if background.file.exists():
        return
    # The first frame tells the size, hence how many frames fit into memory.
    _, frame = next(read_frames(background.videos[0], [0]))
    # Fewer frames of a larger image, so that memory is bounded; 15 are enough for a median.
    capacity = int(np.clip(BACKGROUND_BYTES // frame.nbytes, 15, CAPACITY))
    each = max(15, capacity // len(background.videos))
    options = capacity, background.min_key_frames, background.skip_broken
    image = median_of_videos(background.videos, each, *options)
    background.file.parent.mkdir(exist_ok=True)
    write_atomically(background.file, lambda part: write_png(str(part), image))


def write_view(view: CropView, job: CropJob) -> int:
    """Write the crops of a view that are not in the layout yet; returns the number of all its crops.

    Raises UserError where the video is broken. Written crops stay, and a later call writes those that are missing.
    """
    writer = LayoutWriter(job.output, job.size, threads=1)
    missing = missing_pieces(view.key, view.ids["frame"], writer)
    for key, piece in zip(missing, _pieces(view, job, list(missing.values())), strict=True):
        writer.add(*piece, key)
    return len(view.frames)


def written_crops(view: CropView, job: CropJob) -> int:
    """How many crops of a view, from the first on, are in the layout already."""
    missing = missing_pieces(view.key, view.ids["frame"], LayoutWriter(job.output, job.size, threads=1))
    return min((part.start for part in missing.values()), default=len(view.frames))


def pieces_of(key: str, count: int) -> dict[str, slice]:
    """The pieces of a view with this key and `count` rows: their keys, and which rows each has."""
    return {f"{key}_{start:06d}": slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)}


def missing_pieces(key: str, frames: np.ndarray, writer: PieceWriter) -> dict[str, slice]:
    """Those pieces of a view that the layout lacks, also since they cannot be read.

    frames: (N,) the column of labels.h5. A piece of other frames, as of a video that was replaced, counts as missing.
    """
    return {piece: part for piece, part in pieces_of(key, len(frames)).items() if not writer.has(piece, frames[part])}


def keys_of(views: Sequence[NamedTuple]) -> list[str]:
    """The keys of all pieces of views (with `key` and `frames`)."""
    return [piece for view in views for piece in pieces_of(view.key, len(view.frames))]


def _pieces(
    view: CropView, job: CropJob, parts: list[slice]
) -> Iterator[tuple[np.ndarray, np.ndarray | None, dict[str, np.ndarray]]]:
    """`img_crop`, `bg_crop` (N,size,size,3) and rows of labels.h5 of each of `parts`, which increase."""
    if not parts:
        return
    background = None if view.background is None else read_png(str(view.background))
    # Crops are centered on the true root of each frame, so that extrinsics and poses need no correction afterwards.
    crop = crop_camera(view.roots, job.box_metres, view.camera.rotation[:, 2] if job.upright else None)
    rows = {**_labels(view, crop), **view.ids}
    wanted = np.concatenate([view.frames[part] for part in parts])
    frames, rgb = decode_frames(view.video, wanted.tolist()), RgbConverter()
    for part in parts:
        images, empty = [], []
        for rotation, intrinsic, (_, frame) in zip(
            crop.rotation[part], crop.intrinsic_crop[part], islice(frames, part.stop - part.start), strict=True
        ):
            # The size may change within a file; the calibration would then be wrong from there on.
            check_frame(frame.width, frame.height, view.video, view.camera, view.name)
            crop_places = crop_map(view.camera, rotation, intrinsic, job.size)
            images.append(rgb.crop(frame, crop_places))
            if background is not None:
                empty.append(crop_places.sample(background))
        bg_crop = np.stack(empty) if empty else None
        yield np.stack(images), bg_crop, {name: values[part] for name, values in rows.items()}


def _labels(view: CropView, crop: CropCamera) -> dict[str, np.ndarray]:
    if view.joints is not None:
        return crop_rows(view.camera.rotation, view.joints, crop)
    rows = crop_rows(view.camera.rotation, view.roots[:, None], crop)
    return {name: values for name, values in rows.items() if name != "3D"}


def check_frame(width: int, height: int, video: Path, camera: Camera, name: str) -> None:
    """Raises UserError for a frame of another size than the camera was calibrated for."""
    if (width, height) != (camera.width, camera.height):
        raise UserError(
            f"{video} is {width}x{height} px; expected {camera.width}x{camera.height} px, the calibrated size of {name}"
        )
