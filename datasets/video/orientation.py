"""Frames as they are to be shown: phones and action cameras store them rotated, with a note that says so."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasets.video.rgb import PLANAR, RgbConverter, plane_pixels, pyav
from utils.errors import UserError

if TYPE_CHECKING:
    from av import VideoFrame


def as_shown(frame: "VideoFrame", path: str | Path) -> "VideoFrame":
    """The frame, rotated as its note says, like OpenCV and players do; at 90 degrees width and height are exchanged.

    Raises UserError for a note that mirrors the image or rotates it by other than quarter turns.
    """
    if not frame.side_data:
        return frame
    turns = _quarter_turns(frame, path)
    if not turns:
        return frame
    even = frame.width % 2 == 0 and frame.height % 2 == 0
    if frame.format.name in PLANAR and even:
        rotated = _rotated_planes(frame, turns)
    else:
        image = np.rot90(RgbConverter().full(frame), turns)
        rotated = pyav().VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    rotated.pts, rotated.time_base = frame.pts, frame.time_base
    return rotated


def _quarter_turns(frame: "VideoFrame", path: str | Path) -> int:
    """Counterclockwise quarter turns, 0 to 3."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 0
    # FFmpeg's fixed-point matrix: a, b, u, c, d, v, x, y, w.
    a, b, _, c, d = np.frombuffer(bytes(matrix), "<i4")[:5].astype(float)
    angle = -np.degrees(np.arctan2(b, a))
    turns = round(angle / 90)
    mirrored = a * d - b * c < 0
    if mirrored or abs(angle - 90 * turns) > 0.5:
        kind = "mirrored" if mirrored else f"rotated by {angle:.0f} degrees"
        raise UserError(
            f"{path} is to be shown {kind}; expected quarter turns at most (write it as it is shown: "
            "ffmpeg -i IN.mp4 OUT.mp4)"
        )
    return turns % 4


def _rotated_planes(frame: "VideoFrame", turns: int) -> "VideoFrame":
    size = (frame.width, frame.height)
    rotated = pyav().VideoFrame(*(size[::-1] if turns % 2 else size), frame.format.name)
    # Without these, FFmpeg assumes BT.601 in limited range, and colors shift.
    rotated.colorspace, rotated.color_range = frame.colorspace, frame.color_range
    for source, target in zip(frame.planes, rotated.planes, strict=True):
        plane_pixels(target)[:] = np.rot90(plane_pixels(source), turns)
    return rotated
