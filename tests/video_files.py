"""Small H.264 videos for the tests."""

import itertools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from datasets.video.rgb import pyav


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: int | Fraction = 50,
    crf: int = 10,
    ticks: Iterable[int] | None = None,
    aspect: Fraction | None = None,
) -> None:
    """Write frames (H,W,3) uint8 RGB, H and W even, as H.264 in an mp4; a low `crf` loses little.

    ticks: when each frame is shown, in steps of 1 / fps; by default 0, 1, 2, ... aspect: width over height of
    a pixel, as the file says.
    """
    frames = iter(frames)
    first = next(frames)
    ticks = itertools.repeat(None) if ticks is None else ticks
    with pyav().open(str(path), "w", format="mp4") as container:
        height, width = first.shape[:2]
        options = {"crf": str(crf), "preset": "veryfast"}
        stream = container.add_stream("libx264", rate=fps, width=width, height=height, options=options)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        # All images have a tick, but not all ticks an image.
        for image, tick in zip((first, *frames), ticks, strict=False):
            frame = pyav().VideoFrame.from_ndarray(image, format="rgb24")
            if tick is not None:
                frame.pts, frame.time_base = tick, 1 / Fraction(fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
