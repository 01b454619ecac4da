"""Full frames of single cameras, streamed from their videos into a layout of version 2."""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from datasets.cameras.camera import Camera
from datasets.layout.frame_writer import FrameWriter
from datasets.layout.png import read_png
from datasets.layout.workers import map_processes
from datasets.video.cropping import frame_map
from datasets.video.crops_of_views import check_frame, missing_pieces
from datasets.video.frames import decode_frames
from datasets.video.rgb import RgbConverter


class FrameView(NamedTuple):
    """N frames to be taken from one video.

    key: prefix of its pieces in the layout. name: of the view, for messages. frames: (N,) increasing frame numbers.
    rows: of labels.h5, (N,...) by key. background: PNG of the camera's full image.
    """

    key: str
    name: str
    video: Path
    camera: Camera
    frames: np.ndarray
    rows: dict[str, np.ndarray]
    background: Path


def write_frame_views(
    views: Sequence[FrameView], output: Path, size: tuple[int, int], workers: int | None, progress: bool
) -> None:
    """Write the frames of many views, of `size` (height, width), in parallel processes; those in the layout are
    skipped.
    """
    total = sum(len(view.frames) for view in views)
    with tqdm(total=total, unit="frame", desc="frames", disable=not progress) as bar:
        for count in map_processes(partial(write_frame_view, output=output, size=size), views, workers):
            bar.update(count)


def write_frame_view(view: FrameView, output: Path, size: tuple[int, int]) -> int:
    """Write the frames of a view that are not in the layout yet; returns the number of all its frames.

    Raises UserError where the video is broken. Written frames stay, and a later call writes those that are missing.
    """
    writer = FrameWriter(output, size, threads=1)
    missing = missing_pieces(view.key, view.rows["frame"], writer)
    if not missing:
        return len(view.frames)
    places, rgb = frame_map(view.camera, size), RgbConverter()
    background = places.sample(read_png(str(view.background)))
    wanted = np.concatenate([view.frames[part] for part in missing.values()])
    decoded = decode_frames(view.video, wanted.tolist())
    for key, part in missing.items():
        images = []
        for _, frame in islice(decoded, part.stop - part.start):
            # The size may change within a file; the calibration would then be wrong from there on.
            check_frame(frame.width, frame.height, view.video, view.camera, view.name)
            images.append(rgb.crop(frame, places))
        rows = {name: values[part] for name, values in view.rows.items()}
        cameras = set(zip(rows["seq"].tolist(), rows["cam"].tolist(), strict=True))
        writer.add(np.stack(images), dict.fromkeys(cameras, background), rows, key)
    return len(view.frames)
