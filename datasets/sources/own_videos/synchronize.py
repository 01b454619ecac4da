"""Offsets between videos without a calibration: from how people move in them, or from their sound."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from datasets.layout.arguments import check_at_least
from datasets.layout.workers import map_processes
from datasets.sources.own_videos.clocks import ASSUMED_RATE, check_pictures, common_rate
from datasets.sources.own_videos.lags import Lag, find_lag
from datasets.sources.own_videos.landmarks import LandmarkSearch, People, read_people, search
from datasets.sources.own_videos.recordings import check_one_each, existing_videos, offsets_option
from datasets.triangulation.points import LANDMARKS, LIMB_POINTS
from datasets.video.frames import count_frames, frame_times
from datasets.video.sound import STEPS_PER_SECOND, onsets
from utils.errors import UserError

WAYS = ("motion", "sound")


def synchronize(
    videos: Sequence[str], by: str = "motion", most: float = 10.0, workers: int | None = None, progress: bool = True
) -> str:
    """A report on the offsets of videos to the first one, with the `--offsets` of the other commands.

    videos: files named after their camera, or such as "left=a.mp4". by: "motion", of the person whom all show, or
    "sound". most: seconds by which cameras may have started apart. Raises UserError for bad input.
    """
    check_at_least(1, workers=workers)
    files = existing_videos(videos, "videos that were filmed together")
    if by not in WAYS:
        raise UserError(f"offsets by {by!r}; expected one of {', '.join(WAYS)}")
    if len(files) < 2:
        raise UserError(f"{len(files)} video; expected at least two, which were filmed together")
    if not 0 < most <= 3600:
        raise UserError(f"most is {most:g}; expected seconds, more than 0 and at most 3600")
    check_one_each(files, "these videos")
    check_pictures(files, "these videos")
    times = {name: frame_times(file) for name, file in files.items()}
    rate, warnings = common_rate(files, times, "these videos")
    rate = rate or ASSUMED_RATE
    if by == "sound":
        signals, steps = {name: onsets(file)[:, None] for name, file in files.items()}, float(STEPS_PER_SECOND)
    else:
        signals, steps = _motions(files, workers, progress), rate
    first, *others = files
    lags = {name: find_lag(signals[first], signals[name], steps, most) for name in others}
    return "\n".join([*warnings, _report(first, lags, rate / steps, rate, by)])


def vertical_speeds(people: People) -> np.ndarray:
    """Up and down speeds (T,12) of the first person's limbs, in heights of the person per frame; NaN where unknown.

    Upright cameras all around a person see the same ones.
    """
    heights = people.landmarks[:, 0][:, [LANDMARKS[point] for point in LIMB_POINTS], 1].astype(np.float64)
    speeds = np.gradient(heights, axis=0) if len(heights) > 1 else np.full_like(heights, np.nan)
    size = np.nanmedian(np.ptp(heights, axis=1)) if np.isfinite(heights).any() else np.nan
    # Left and right are exchanged in some images: their sum and difference in order of size are not.
    pairs = speeds.reshape(len(speeds), len(LIMB_POINTS) // 2, 2) / size
    return np.concatenate([pairs.mean(2), np.abs(pairs).max(2)], axis=1)


def _motions(files: dict[str, Path], workers: int | None, progress: bool) -> dict[str, np.ndarray]:
    with TemporaryDirectory() as folder:
        tasks = {
            name: LandmarkSearch(Path(folder) / "landmarks" / f"{name}.npz", file, np.arange(count_frames(file)))
            for name, file in files.items()
        }
        (Path(folder) / "landmarks").mkdir()
        for _ in tqdm(map_processes(search, tasks.values(), workers), "landmarks", len(tasks), disable=not progress):
            pass
        return {name: vertical_speeds(read_people(task.file)) for name, task in tasks.items()}


def _report(first: str, lags: dict[str, Lag | None], frames_per_step: float, rate: float, by: str) -> str:
    lines, offsets = [f"by {by}, against {first}:"], {first: 0}
    for name, lag in lags.items():
        if lag is None:
            lines.append(f"  {name}: UNKNOWN: nothing in common")
            continue
        frames = lag.steps * frames_per_step
        if lag.sure:
            offsets[name] = round(frames)
        sure = "sure" if lag.sure else "UNSURE: look at a clap or a step in both"
        lines.append(
            f"  {name}: {frames:+.1f} frames ({frames / rate:+.3f} s), correlation {lag.correlation:.2f}, "
            f"{lag.lead:.2f} above the next best: {sure}"
        )
    unknown = len(lags) + 1 - len(offsets)
    if unknown:
        lines.append(f"WARNING: {unknown} not known: replace each ? by a number (where none is given, offsets are 0)")
    # Offsets count from the start of a video: the camera that started last has 0.
    least = min(offsets.values())
    listed = {name: offsets[name] - least if name in offsets else "?" for name in (first, *lags)}
    return "\n".join([*lines, offsets_option(listed)])
