"""RGB pixels of decoded frames: of all of a frame, or of a box in it, which costs as much less as it is smaller."""

from types import ModuleType
from typing import NamedTuple

import numpy as np

from utils.errors import UserError

PLANAR = ("yuv420p", "yuvj420p")  # 8 bits, colours at half the resolution: the formats of nearly all video


def pyav() -> ModuleType:
    """PyAV, without the codecs' chatter. Raises UserError with the pip command where it is missing."""
    try:
        import av
    except ImportError as error:
        raise UserError("reading video needs the package 'av': pip install -e .[video]") from error
    av.logging.set_level(None)
    return av


class Box(NamedTuple):
    """Pixels x0 <= x < x1, y0 <= y < y1 of a picture; even numbers, but for the ends of a picture of odd size."""

    x0: int
    y0: int
    x1: int
    y1: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """This part of an image (H,W,...), not copied."""
        return image[self.y0 : self.y1, self.x0 : self.x1]


class RgbConverter:
    """From PyAV's frames to arrays; one object for frames of one kind, as it keeps what FFmpeg prepared."""

    def __init__(self):
        self.converter = pyav().video.reformatter.VideoReformatter()

    def full(self, frame) -> np.ndarray:
        """All of a frame: (H,W,3) uint8."""
        # sizes stay, so that no interpolation is needed; "POINT" is the fastest
        return self.converter.reformat(frame, format="rgb24", interpolation="POINT").to_ndarray()

    def part(self, frame, box: Box) -> np.ndarray:
        """A box of a frame: the same pixels as in `full`."""
        if frame.format.name not in PLANAR or frame.width % 2 or frame.height % 2:
            return box.of(self.full(frame))
        part = pyav().VideoFrame(box.x1 - box.x0, box.y1 - box.y0, frame.format.name)
        part.colorspace, part.color_range = frame.colorspace, frame.color_range
        halves = Box(*(place // 2 for place in box))
        for source, target, inside in zip(frame.planes, part.planes, (box, halves, halves), strict=True):
            pixels = inside.of(_pixels(source))
            _pixels(target)[:, : pixels.shape[1]] = pixels
        return self.full(part)


def _pixels(plane) -> np.ndarray:
    """A plane's memory (H, bytes of a line) uint8, not copied; lines are longer than the picture is wide."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
