"""The backgrounds of the cameras of recordings."""

from pathlib import Path

from datasets.sources.own_videos.ghosts import people_in_backgrounds
from datasets.sources.own_videos.plan import Plan
from datasets.video.crops_of_views import Background, write_backgrounds
from utils.errors import UserError

MIN_KEY_FRAMES_OF_SHORT_VIDEOS = 30  # the median of fewer frames may still show the person


def check_sizes(plans: list[Plan]) -> None:
    """UserError where a camera has images of several sizes in recordings of one calibration: it has one background."""
    first: dict[tuple[Path, str], tuple[str, str]] = {}
    for plan in plans:
        for name in plan.recording.videos:
            camera, recording = plan.calibration.cameras[name], plan.recording.name
            size = f"{camera.width}x{camera.height} px"
            before, other = first.setdefault((plan.recording.calibration, name), (size, recording))
            if size != before:
                raise UserError(
                    f"{recording}: camera {name!r} has {size}, and {before} in {other}; expected one size in all "
                    "recordings of a calibration, whose background is one (copy the calibration for another size)"
                )


def backgrounds_of(plans: list[Plan], folder: Path, show: dict) -> list[dict[str, Path]]:
    """Write the background of each camera over all recordings of a calibration, of the empty scene where it is given.

    Returns PNGs by camera and plan.
    """
    calibrations = list(dict.fromkeys(plan.recording.calibration for plan in plans))
    scenes: dict[Path, list[Path]] = {}
    empty: dict[Path, list[Path]] = {}
    background_files = []
    for plan in plans:
        number = calibrations.index(plan.recording.calibration)
        files = {name: folder / f"calibration_{number}_{name}.png" for name in plan.recording.videos}
        background_files.append(files)
        for name, file in files.items():
            # Recordings with one calibration share their cameras: more videos make a cleaner background.
            scenes.setdefault(file, []).append(plan.recording.videos[name])
            if name in plan.recording.empty:
                empty.setdefault(file, []).append(plan.recording.empty[name])
    jobs = [Background(file, videos, MIN_KEY_FRAMES_OF_SHORT_VIDEOS) for file, videos in (scenes | empty).items()]
    write_backgrounds(jobs, **show)
    return background_files


def with_notes_on_backgrounds(plans: list[Plan], background_files: list[dict[str, Path]]) -> list[Plan]:
    """The plans, with warnings of somebody in the backgrounds that were made of the recordings themselves."""
    return [
        plan._replace(
            notes=(
                *plan.notes,
                *people_in_backgrounds(
                    {name: file for name, file in files.items() if name not in plan.recording.empty}
                ),
            )
        )
        for plan, files in zip(plans, background_files, strict=True)
    ]
