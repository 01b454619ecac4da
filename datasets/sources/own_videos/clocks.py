"""Do the videos of a recording keep time with each other, and with its poses? Instant i must be one moment in all."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from datasets.sources.own_videos.recordings import PoseClock, Recording, offsets_option
from datasets.video.frames import frame_rate
from utils.errors import UserError
from utils.pictures import picture_files, picture_numbers, stray_pictures

SAME_RATE = 5e-4  # relative difference: 29.97 and 30 frames per second differ by twice as much
SAME_POSE_RATE = 1e-2  # pose files of before have the rate that a video states, whose last frame may count as longer
MAX_DRIFT = 0.5  # frames
MAX_STEP = 1.5  # between the numbers of two pictures, of the smallest one: times in milliseconds differ a little
ASSUMED_RATE = 25.0  # frames per second, of pictures, which have none


def common_rate(videos: dict[str, Path], times: dict[str, np.ndarray], where: str) -> tuple[float | None, list[str]]:
    """The frame rate of the videos by camera, None where nothing tells it, and warnings where it is not constant.

    times: (N,) seconds at which the frames of each are shown, NaN where unknown. Raises UserError where rates differ.
    """
    found = {name: rate_of_video(times[name], frame_rate(video)) for name, video in videos.items()}
    known = {name: rate for name, (rate, _) in found.items() if rate}
    if _differ(known.values()):
        listed = ", ".join(f"{name} {rate:.6g}" for name, rate in known.items())
        raise UserError(
            f"{where}: frame rates differ: {listed} frames per second; expected one rate (change it: "
            f"{_ffmpeg(min(known.values()))})"
        )
    warnings = [
        f"WARNING: camera {name!r}: {line.removeprefix('WARNING: ')}"
        for name, (_, lines) in found.items()
        for line in lines
    ]
    return next(iter(known.values()), None), warnings


def rate_of_video(times: np.ndarray, stated: float | None) -> tuple[float | None, list[str]]:
    """Frames per second of one video, None where nothing tells it, and a warning where they are not constant.

    times: (N,) seconds at which its frames are shown, NaN where unknown. stated: the mean rate that the file states.
    """
    steps, span = len(times) - 1, times[-1] - times[0]
    if not span > 0:
        return stated, []
    since = times - times[0]
    # Some files count the last frame as longer or shorter than the others, which the times do not.
    rate = stated if stated and abs(stated * span - steps) <= MAX_DRIFT else steps / span
    drift = np.abs(since - np.arange(len(times)) / rate)
    if not drift.max() * rate > MAX_DRIFT:
        return rate, []
    frame = int(drift.argmax())
    when = f"shown at {since[frame]:.3f} s, counts as at {frame / rate:.3f} s"
    advice = f"make it constant first for right times and speeds ({_ffmpeg(rate)})"
    return rate, [f"WARNING: a variable frame rate: frame {frame}, {when}; {advice}"]


def check_strays(video: Path, where: str) -> None:
    """UserError where a folder of pictures holds one that is no frame, as its name tells."""
    files = picture_files(video)
    strays = stray_pictures(files) if files else []
    if strays:
        raise UserError(
            f"{where}: in {video}, {strays[0].name} is named unlike nearly all others; expected frames of one camera "
            "alone, since each picture counts as the next instant (move it elsewhere)"
        )


def check_pictures(videos: dict[str, Path], where: str) -> None:
    """UserError where a folder of numbered pictures, which are counted by their place, lacks one or has one twice.

    Or holds one that is no frame, as its name tells.
    """
    for name, video in videos.items():
        check_strays(video, f"{where}: camera {name!r}")
        files = picture_files(video)
        numbers = picture_numbers(files) if files else None
        if numbers is None:
            continue
        steps = np.diff(numbers)
        usual = steps[steps > 0].min()
        uneven = np.flatnonzero((steps > MAX_STEP * usual) | (steps == 0))
        if len(uneven):
            last = int(uneven[0])
            raise UserError(
                f"{where}: camera {name!r}: in {video}, {files[last].name} is followed by {files[last + 1].name}; "
                f"expected number {numbers[last] + usual}, since all later instants would be of another moment than in "
                "the other cameras"
            )


def check_drift(times: dict[str, np.ndarray], offsets: dict[str, int], rate: float | None, where: str) -> None:
    """UserError where an instant is not one moment, since a video has a variable frame rate.

    times: seconds at which the frames of each camera are shown, NaN where unknown. offsets: frame at instant 0.
    """
    since = {name: seconds[offsets[name] :] for name, seconds in times.items()}
    since = {name: seconds - seconds[0] for name, seconds in since.items() if len(seconds) and np.isfinite(seconds[0])}
    if rate is None or len(since) < 2:
        return
    # Of the last instants, only those that at least two cameras filmed count.
    longest = sorted(map(len, since.values()))[-2]
    table = np.full((len(since), longest), np.nan)
    for row, seconds in zip(table, since.values(), strict=True):
        row[: len(seconds)] = seconds[:longest]
    drift = rate * (np.nanmax(table, axis=0) - np.nanmin(table, axis=0))
    if drift.max() > MAX_DRIFT:
        name = max(since, key=lambda camera: np.ptp(np.diff(since[camera])) if len(since[camera]) > 1 else 0)
        instant = int(np.argmax(drift > MAX_DRIFT))
        raise UserError(
            f"{where}: camera {name!r} has a variable frame rate, and the cameras show instant {instant} "
            f"{drift[instant] / rate:.3f} s apart; expected less than half a frame (make it constant: "
            f"{_ffmpeg(rate)})"
        )


def check_pose_clock(recording: Recording, clock: PoseClock, rate: float | None) -> list[str]:
    """UserError where the poses of a recording are of other moments than its videos, as their file says; a warning
    where they may be.

    rate: frames per second of the videos, None where unknown.
    """
    offsets = {name: clock.offsets.get(name, offset) for name, offset in recording.offsets.items()}
    if offsets != recording.offsets:
        raise UserError(
            f"{recording.name}: {recording.poses} has poses with {offsets_option(offsets)}, and the videos have "
            f"{offsets_option(recording.offsets)}; expected one of them for both, since instants are counted from there"
        )
    if not rate or not clock.rate or not _differ([rate, clock.rate], SAME_POSE_RATE):
        return []
    differ = (
        f"{recording.poses} has {clock.rate:.6g} poses per second, and the videos have {rate:.6g} frames; expected one "
        "rate, since a pose belongs to each frame"
    )
    if clock.rate == ASSUMED_RATE:
        return [f"WARNING: {differ}: right only if that of the poses was assumed, as it is where nothing tells it"]
    raise UserError(f"{recording.name}: {differ}")


def _differ(rates: Collection[float], tolerance: float = SAME_RATE) -> bool:
    return bool(rates) and max(rates) > (1 + tolerance) * min(rates)


def _ffmpeg(rate: float) -> str:
    """The command that gives a video this frame rate."""
    return f"ffmpeg -i IN.mp4 -vf fps={rate:.6g} OUT.mp4"
