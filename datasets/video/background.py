"""The background of a fixed camera: the median of its frames over time."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from datasets.video.frames import count_frames, read_frames, read_key_frames
from utils.errors import UserError

CAPACITY = 120  # frames in memory at once: 360 MB at 1000 x 1000 pixels
MIN_KEY_FRAMES = 4  # of a video with fewer, other frames are used too


class FrameReservoir:
    """At most `capacity` frames of a stream of unknown length, evenly spaced and deterministic.

    When it is full, every second frame is dropped, and from then on every second frame of the stream is skipped.
    """

    def __init__(self, capacity: int = CAPACITY):
        self.capacity, self.stride, self.seen = capacity, 1, 0
        self.frames: list[np.ndarray] = []

    def add(self, frame: np.ndarray) -> None:
        """Offer the next frame (H,W,3) uint8. Raises UserError where its size differs from that of the first frame."""
        if self.frames and frame.shape != self.frames[0].shape:
            raise UserError(f"a frame of shape {frame.shape} among those of {self.frames[0].shape}; expected one size")
        # Halving keeps the frames evenly spaced, whatever the length of the stream.
        if self.seen % self.stride == 0 and len(self.frames) == self.capacity:
            self.frames, self.stride = self.frames[::2], 2 * self.stride
        if self.seen % self.stride == 0:
            self.frames.append(frame)
        self.seen += 1


def median_frame(frames: list[np.ndarray]) -> np.ndarray:
    """Median (H,W,3) uint8 of frames of that shape, the lower one for an even number. Raises UserError for none."""
    if not frames:
        raise UserError("no frames for a background; expected at least one")
    middle = (len(frames) - 1) // 2
    # Row by row, so that the stack of all frames (360 MB) is never copied.
    rows = [np.partition([frame[row] for frame in frames], middle, axis=0)[middle] for row in range(len(frames[0]))]
    return np.stack(rows)


def median_of_videos(
    paths: Iterable[str | Path],
    frames_per_video: int,
    capacity: int = CAPACITY,
    min_key_frames: int = MIN_KEY_FRAMES,
    skip_broken: bool = False,
) -> np.ndarray:
    """Median background (H,W,3) uint8 of one fixed camera over its videos.

    Uses `frames_per_video` evenly spaced frames of each video and holds at most `capacity` of all videos in memory.
    Of videos with at least `min_key_frames` key frames, only key frames are used. skip_broken: skip what does not
    decode, instead of a UserError.
    """
    reservoir = FrameReservoir(capacity)
    for path in paths:
        frames = evenly_spaced_frames(path, frames_per_video, min_key_frames)
        for frame in _until_broken(frames) if skip_broken else frames:
            reservoir.add(frame)
    return median_frame(reservoir.frames)


def _until_broken(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    with suppress(UserError):
        yield from frames


def evenly_spaced_frames(path: str | Path, count: int, min_key_frames: int = MIN_KEY_FRAMES) -> Iterator[np.ndarray]:
    """Up to `count` evenly spaced frames (H,W,3) uint8 of a video.

    They are key frames, which decode fast since they depend on no other frame. Of a video with fewer than
    `min_key_frames` key frames, any frames are used.
    """
    # The number of key frames is not known in advance, hence a reservoir instead of evenly spaced numbers.
    keys = FrameReservoir(count)
    for frame in read_key_frames(path):
        keys.add(frame)
    if keys.seen >= min_key_frames:
        yield from keys.frames
        return
    total = count_frames(path)
    wanted = np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))
    yield from (frame for _, frame in read_frames(path, wanted.tolist()))
