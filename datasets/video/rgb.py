"""RGB pixels of decoded frames: of a whole frame, or of a crop only, which is much faster."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from utils.video import pyav

if TYPE_CHECKING:
    from datasets.video.cropping import CropMap

PLANAR = ("yuv420p", "yuvj420p")  # 8 bits, chroma at half the resolution: the formats of nearly all video
NEUTRAL_CHROMA = 128


class RgbConverter:
    """Converts PyAV's frames to arrays. One object per kind of frames: it caches FFmpeg's conversion context."""

    def __init__(self):
        self.converter = pyav().video.reformatter.VideoReformatter()

    def full(self, frame) -> np.ndarray:
        """A whole frame (H,W,3) uint8."""
        if frame.format.name not in PLANAR:
            return self._reformat(frame)
        luma, *chroma = map(plane_pixels, frame.planes)
        height, width = luma.shape
        return self._join(frame, [luma, *(plane.repeat(2, 0).repeat(2, 1)[:height, :width] for plane in chroma)])

    def crop(self, frame, places: "CropMap") -> np.ndarray:
        """A crop (S,S,3) uint8 of a frame: like `places.sample(self.full(frame))`, but faster.

        Luma and chroma are sampled at their own resolutions, and only the crop is converted to RGB.
        """
        if frame.format.name not in PLANAR:
            return places.sample(self._reformat(frame))
        luma, *chroma = map(plane_pixels, frame.planes)
        halved = places.halved()
        sampled = [halved.sample(plane, NEUTRAL_CHROMA) for plane in chroma]
        return self._join(frame, [places.sample(luma, _black(frame)), *sampled])

    def _join(self, frame, planes: Sequence[np.ndarray]) -> np.ndarray:
        """RGB (H,W,3) of luma and two chroma planes (H,W), in the color space of `frame`.

        With all planes in one resolution FFmpeg rounds; with chroma at half of it FFmpeg truncates: 1 level darker.
        """
        height, width = planes[0].shape
        joined = pyav().VideoFrame(width, height, frame.format.name.replace("420", "444"))
        # Without these, FFmpeg assumes BT.601 in limited range, and colors shift.
        joined.colorspace, joined.color_range = frame.colorspace, frame.color_range
        for plane, pixels in zip(joined.planes, planes, strict=True):
            plane_pixels(plane)[:] = pixels
        return self._reformat(joined)

    def _reformat(self, frame) -> np.ndarray:
        # The size stays the same, so that nothing is interpolated; "POINT" is the fastest setting.
        return self.converter.reformat(frame, format="rgb24", interpolation="POINT").to_ndarray()


def _black(frame) -> int:
    """Luma of black: 16, or 0 in frames of full range."""
    full_range = pyav().video.reformatter.ColorRange.JPEG
    return 0 if frame.format.name.startswith("yuvj") or frame.color_range == full_range else 16


def plane_pixels(plane) -> np.ndarray:
    """A plane's pixels (H,W) uint8, not copied. In memory, its lines are padded beyond the width of the image."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
