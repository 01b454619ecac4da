"""The sound of videos: how loud it is over time."""

from pathlib import Path

import numpy as np

from datasets.video.rgb import pyav
from utils.errors import UserError

SAMPLE_RATE, STEPS_PER_SECOND = 16_000, 1000  # of the sound; of its loudness


def onsets(path: str | Path) -> np.ndarray:
    """How much louder the sound of a file becomes, (N,), 1000 values per second from the first sample on.

    Raises UserError for a file that cannot be read or has no sound.
    """
    av = pyav()
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.audio:
                raise UserError(f"{path} has no sound; expected a video with sound, or --by motion")
            resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
            frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
            frames += resampler.resample(None)
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); expected a video"
        ) from error
    samples = np.concatenate([frame.to_ndarray().ravel() for frame in frames] or [np.zeros(0)])
    step = SAMPLE_RATE // STEPS_PER_SECOND
    if len(samples) < step:
        raise UserError(f"{path} has no sound; expected a video with sound, or --by motion")
    energy = (samples[: len(samples) // step * step].reshape(-1, step) ** 2).mean(1)
    # The logarithm, so that one loud noise does not outweigh all others; rises only, because echoes fade differently.
    loudness = np.log(np.convolve(energy, np.ones(5) / 5, "same") + 1e-7)
    return np.maximum(np.diff(loudness, prepend=loudness[:1]), 0)
