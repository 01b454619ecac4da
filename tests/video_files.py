"""Small H.264 videos for the tests."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from datasets.video.rgb import pyav


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: int | Fraction = 50, crf: int = 10) -> None:
    """Write frames (H,W,3) uint8 RGB, H and W even, as H.264 in an mp4; a low `crf` loses little."""
    frames = iter(frames)
    first = next(frames)
    with pyav().open(str(path), "w", format="mp4") as container:
        height, width = first.shape[:2]
        options = {"crf": str(crf), "preset": "veryfast"}
        stream = container.add_stream("libx264", rate=fps, width=width, height=height, options=options)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for image in (first, *frames):
            container.mux(stream.encode(pyav().VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
