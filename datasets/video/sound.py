"""The sound of videos: how loud it is over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasets.video.frames import frame_times
from datasets.video.rgb import pyav
from utils.errors import UserError

if TYPE_CHECKING:
    from av import AudioFrame

SAMPLE_RATE, STEPS_PER_SECOND = 16_000, 1000  # of the sound; of its loudness


def onsets(path: str | Path) -> np.ndarray:
    """How much louder the sound of a file becomes, (N,), 1000 values per second since the first frame is shown.

    NaN where there is no sound: before it starts, and in gaps. Raises UserError for a file that cannot be read or has
    no sound.
    """
    av = pyav()
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.audio:
                raise UserError(f"{path} has no sound; expected a video with sound, or --by motion")
            start = float(frame_times(path)[0]) if container.streams.video else 0.0
            resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
            frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
            frames += resampler.resample(None)
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); expected a video"
        ) from error
    energy = _energy(frames, start if np.isfinite(start) else 0.0)
    if not np.isfinite(energy).any():
        raise UserError(f"{path} has no sound; expected a video with sound, or --by motion")
    # The logarithm, so that one loud noise does not outweigh all others; rises only, because echoes fade differently.
    loudness = np.log(energy + 1e-7)
    return np.maximum(np.diff(loudness, prepend=loudness[:1]), 0)


def _energy(frames: Sequence["AudioFrame"], start: float) -> np.ndarray:
    """Mean square (N,) of the samples around each step after `start`, seconds; NaN where there are none."""
    step, end, pieces = SAMPLE_RATE // STEPS_PER_SECOND, 0, []
    for frame in frames:
        # Streams start at different times and have gaps: only time stamps say when a sample was heard.
        place = end if frame.pts is None else round((float(frame.pts * frame.time_base) - start) * SAMPLE_RATE)
        samples = frame.to_ndarray().ravel()[max(0, -place) :]
        pieces.append((max(0, place), samples))
        end = max(0, place) + len(samples)
    total, count = np.zeros((2, max((place + len(samples) for place, samples in pieces), default=0) // step + 1))
    for place, samples in pieces:
        first = place // step
        steps = (place + np.arange(len(samples))) // step - first
        square, number = np.bincount(steps, samples**2), np.bincount(steps)
        total[first : first + len(square)] += square
        count[first : first + len(number)] += number
    # Without the last step, of which a part is missing; time stamps in milliseconds leave holes of a few samples.
    total, count = (np.convolve(one[:-1], np.ones(5), "same") if len(one) > 1 else one[:-1] for one in (total, count))
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
