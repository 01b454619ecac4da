"""Video files: the library that reads and writes them, and writing one."""

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np

from utils.commands import install_extra
from utils.errors import UserError
from utils.files import write_atomically

_OPTIONS = {"crf": "23", "preset": "veryfast"}  # constant rate factor: lower is better and larger


def pyav() -> ModuleType:
    """The module av, with messages of codecs turned off. Raises UserError with the pip command if it is missing."""
    try:
        import av
    except ImportError as error:
        raise UserError(f"video needs the package 'av': {install_extra('video')}") from error
    av.logging.set_level(None)
    return av


def write_video(path: str | os.PathLike, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write frames (H,W,3) uint8 RGB of one size as H.264 to an mp4 file, atomically. An odd last row or column is cut.

    Raises UserError where the package av is missing.
    """
    av, frames = pyav(), iter(frames)

    def write(part: Path) -> None:
        # The name is a temporary one: the format does not follow from it.
        with av.open(str(part), "w", format="mp4") as container:
            stream = None
            for frame in frames:
                # Halved chroma has no odd sides.
                frame = np.ascontiguousarray(frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2])
                if stream is None:
                    height, width = frame.shape[:2]
                    rate = Fraction(fps).limit_denominator(1001)
                    stream = container.add_stream("libx264", rate=rate, width=width, height=height, options=_OPTIONS)
                    stream.pix_fmt = "yuv420p"
                    # The same frames then give the same bytes.
                    stream.codec_context.thread_count = 1
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())

    write_atomically(path, write)
