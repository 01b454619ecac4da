"""Black bars of a video, which programs add to keep its proportions."""

from pathlib import Path

import numpy as np

from datasets.cameras.video_size import Area
from datasets.video.background import evenly_spaced_frames
from datasets.video.frames import decode_frames

FRAMES = 5
DARK = 20  # mean gray level of a line of a bar: compression leaves some noise near the image


def video_size(path: str | Path) -> tuple[int, int]:
    """Width and height of a video's frames, pixels."""
    _, frame = next(decode_frames(path, [0]))
    return frame.width, frame.height


def image_area(path: str | Path) -> Area:
    """The part of a video's frames that is never black bars."""
    frames = np.stack([frame.mean(-1) for frame in evenly_spaced_frames(path, FRAMES)])
    y0, y1 = _inside(frames.mean(2).max(0))
    x0, x1 = _inside(frames.mean(1).max(0))
    return Area(x0, y0, x1 - x0, y1 - y0)


def _inside(brightness: np.ndarray) -> tuple[int, int]:
    """First and one past the last line that is not dark; all of them where everything is dark."""
    bright = np.flatnonzero(brightness > DARK)
    return (int(bright[0]), int(bright[-1]) + 1) if len(bright) else (0, len(brightness))
