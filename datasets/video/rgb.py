"""RGB pixels of decoded frames: of all of a frame, or of a crop of it, which costs much less."""

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from utils.errors import UserError

if TYPE_CHECKING:
    from datasets.video.cropping import CropMap

PLANAR = ("yuv420p", "yuvj420p")  # 8 bits, colors at half the resolution: the formats of nearly all video
NO_COLOR = 128


def pyav() -> ModuleType:
    """PyAV, without the codecs' chatter. Raises UserError with the pip command where it is missing."""
    try:
        import av
    except ImportError as error:
        raise UserError("reading video needs the package 'av': pip install -e .[video]") from error
    av.logging.set_level(None)
    return av


class RgbConverter:
    """From PyAV's frames to arrays; one object for frames of one kind, as it keeps what FFmpeg prepared."""

    def __init__(self):
        self.converter = pyav().video.reformatter.VideoReformatter()

    def full(self, frame) -> np.ndarray:
        """All of a frame: (H,W,3) uint8."""
        if frame.format.name not in PLANAR:
            return self._reformat(frame)
        luma, *chroma = map(_pixels, frame.planes)
        height, width = luma.shape
        return self._join(frame, [luma, *(plane.repeat(2, 0).repeat(2, 1)[:height, :width] for plane in chroma)])

    def crop(self, frame, places: "CropMap") -> np.ndarray:
        """A crop (S,S,3) uint8 of a frame: like `places.sample(self.full(frame))`, and quicker.

        Brightness and colors are sampled in the resolutions they come in; only the crop becomes RGB.
        """
        if frame.format.name not in PLANAR:
            return places.sample(self._reformat(frame))
        luma, *chroma = map(_pixels, frame.planes)
        halved = places.halved()
        colors = [halved.sample(plane, NO_COLOR) for plane in chroma]
        return self._join(frame, [places.sample(luma, _black(frame)), *colors])

    def _join(self, frame, planes: Sequence[np.ndarray]) -> np.ndarray:
        """RGB (H,W,3) of brightness and two colors (H,W), encoded as in `frame`.

        With all three in one resolution FFmpeg rounds; with colors at half of it, it would cut off: 1 level darker.
        """
        height, width = planes[0].shape
        joined = pyav().VideoFrame(width, height, frame.format.name.replace("420", "444"))
        joined.colorspace, joined.color_range = frame.colorspace, frame.color_range
        for plane, pixels in zip(joined.planes, planes, strict=True):
            _pixels(plane)[:] = pixels
        return self._reformat(joined)

    def _reformat(self, frame) -> np.ndarray:
        # sizes stay, so that no interpolation is needed; "POINT" is the fastest
        return self.converter.reformat(frame, format="rgb24", interpolation="POINT").to_ndarray()


def _black(frame) -> int:
    """Brightness of black: 16, but for frames that use all of 0..255."""
    full_range = pyav().video.reformatter.ColorRange.JPEG
    return 0 if frame.format.name.startswith("yuvj") or frame.color_range == full_range else 16


def _pixels(plane) -> np.ndarray:
    """A plane's pixels (H,W) uint8, not copied; in memory, lines are longer than the picture is wide."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
