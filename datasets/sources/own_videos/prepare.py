"""Converts videos of a user's own synchronized, calibrated cameras to the training layout (docs/own_videos.md)."""

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from datasets.cameras.crop_camera import BOX_METRES
from datasets.layout.arguments import check_at_least, check_box
from datasets.layout.job import claim_folder, read_text_report, write_text_report
from datasets.layout.labels import PARTS_FOLDER, read_statistics
from datasets.layout.workers import map_processes
from datasets.layout.writer import LayoutWriter, check_size
from datasets.sources.own_videos.backgrounds import backgrounds_of, check_sizes, with_notes_on_backgrounds
from datasets.sources.own_videos.detected import DetectionOptions, find_landmarks, with_people
from datasets.sources.own_videos.free_labels import TRIANGULATED
from datasets.sources.own_videos.ghosts import crops_without_person
from datasets.sources.own_videos.person_track import size_note, upright_note
from datasets.sources.own_videos.plan import (
    MAX_SEQUENCE_LENGTH,
    Plan,
    detect,
    detections,
    make_plan,
    make_views,
    plan_report,
    sequence_numbers,
    with_detected,
)
from datasets.sources.own_videos.recordings import Recording, file_key, files_of_job, read_label_source
from datasets.video.crops_of_views import (
    BACKGROUNDS_FOLDER,
    CropJob,
    CropView,
    keys_of,
    write_views,
)
from utils.errors import UserError
from utils.locks import writing


def prepare_videos(
    recordings: Iterable[Recording],
    output: str | Path,
    size: int = 128,
    every: int = 1,
    box_metres: float = BOX_METRES,
    cut: int = MAX_SEQUENCE_LENGTH,
    first_sequence: int = 1,
    background: bool = True,
    statistics: str | Path | None = None,
    detect: bool = False,
    triangulate: bool = False,
    correct_cameras: bool = True,
    upright: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> str:
    """Prepare recordings as a training layout in the folder `output`. Returns the report, which is stored there too.

    size: side of the crops, pixels. every: use every N-th instant. box_metres: width of a crop at the person's
    distance, meters. cut: largest number of instants of a sequence; each recording becomes at least four sequences,
    numbered from `first_sequence` on. background: write background crops too. statistics: a layout whose `pose_mean`
    and `pose_std` are copied; None: computed from the new rows. detect: find the person by BlazePose. triangulate: make
    3D labels of all cameras' landmarks, which `detect` finds. correct_cameras: correct a calibration that does not fit
    the landmarks. upright: roll the crops so that the world's upward direction is up.
    workers: number of processes; None: one per core.

    An interrupted call resumes where it stopped, and a finished set stays as it is. Raises UserError for bad arguments
    and files.
    """
    detect = detect or triangulate
    choices = detect, triangulate, triangulate and correct_cameras, upright
    options = VideoSet(size, every, box_metres, cut, first_sequence, background, *choices)
    recordings, output, show = list(recordings), Path(output), {"workers": workers, "progress": progress}
    _check_arguments(options, workers)
    mean_std = read_statistics(statistics)
    plans = [make_plan(recording, every) for recording in recordings]
    _check_poses(plans)
    _check_detection(plans, detect)
    if _needs_backgrounds(plans, options):
        check_sizes(plans)
    with writing(output):
        job = {**options._asdict(), **files_of_job(recordings)}
        if claim_folder(output, "videos.json", job, statistics):
            return read_text_report(output)
        writer = LayoutWriter(output, size)
        background_files = None
        if detect:
            plans = _search_people(plans, output, options, show)
        if _needs_backgrounds(plans, options):
            background_files = backgrounds_of(plans, output / BACKGROUNDS_FOLDER, show)
            plans = with_notes_on_backgrounds(plans, background_files)
        # Detection compares with the background, which therefore exists by now, also where no background crops are
        # written.
        plans = _detect(plans, background_files, output / PARTS_FOLDER / "boxes", show)
        views, report = _make_views(plans, background_files if background else None, options)
        write_views(views, CropJob(output, size, box_metres, upright), **show)
        report = "\n".join([report, *crops_without_person(views, output)])
        write_text_report(output, report)
        writer.finish(*mean_std, label_source=_label_source(plans, triangulate), keys=keys_of(views))
    return report


class VideoSet(NamedTuple):
    """The options that decide what a set holds."""

    size: int
    every: int
    box_metres: float
    cut: int
    first_sequence: int
    background: bool
    detect: bool
    triangulate: bool
    correct_cameras: bool
    upright: bool


def _check_arguments(options: VideoSet, workers: int | None) -> None:
    check_size(options.size)
    check_at_least(1, every=options.every, cut=options.cut, workers=workers)
    check_box(options.box_metres)
    check_at_least(0, first_sequence=options.first_sequence)


def _label_source(plans: list[Plan], triangulate: bool) -> str | None:
    """What labels.h5 says of poses that were not measured: of several sources, all."""
    sources = {TRIANGULATED} if triangulate else {read_label_source(plan.recording.poses) for plan in plans} - {None}
    return "; ".join(sorted(sources)) or None


def _check_poses(plans: list[Plan]) -> None:
    without = [plan.recording.name for plan in plans if plan.recording.poses is None]
    if 0 < len(without) < len(plans):
        raise UserError(
            f"{len(without)} of {len(plans)} recordings have no poses, first {without[0]!r}; expected all or none "
            "(prepare those without poses into a folder of their own, for stage 1)"
        )


def _check_detection(plans: list[Plan], detect: bool) -> None:
    given = [plan.recording.name for plan in plans if plan.track is not None]
    if detect and given:
        raise UserError(f"{given[0]}: boxes or poses are given, and the person is to be detected; expected one of them")


def _search_people(plans: list[Plan], output: Path, options: VideoSet, show: dict) -> list[Plan]:
    tasks = find_landmarks(plans, output, **show)
    choices = DetectionOptions(options.triangulate, options.correct_cameras)
    return [
        with_people(plan, of_plan, choices, output, number, options.every)
        for number, (plan, of_plan) in enumerate(zip(plans, tasks, strict=True))
    ]


def _needs_backgrounds(plans: list[Plan], options: VideoSet) -> bool:
    return options.background or (not options.detect and any(plan.track is None for plan in plans))


def _detect(plans: list[Plan], background_files: list[dict[str, Path]] | None, folder: Path, show: dict) -> list[Plan]:
    """The plans with all tracks: the person is detected where neither boxes nor poses are given."""
    todo = {
        number: detections(plan, background_files[number], folder, file_key(number))
        for number, plan in enumerate(plans)
        if plan.track is None
    }
    jobs = [job for found in todo.values() for job in found]
    if jobs:
        done = map_processes(detect, jobs, show["workers"])
        deque(tqdm(done, "detect the person", len(jobs), unit="video", disable=not show["progress"]), maxlen=0)
    return [with_detected(plan, todo[number]) if number in todo else plan for number, plan in enumerate(plans)]


def _make_views(
    plans: list[Plan], background_files: list[dict[str, Path]] | None, options: VideoSet
) -> tuple[list[CropView], str]:
    """The views of all plans, and the report on them."""
    views, report, first = [], [], options.first_sequence
    for number, plan in enumerate(plans):
        sequences = sequence_numbers(plan, first, options.cut)
        key = file_key(number)
        views += make_views(plan, sequences, key, background_files[number] if background_files else {})
        report.append(plan_report(plan, sequences, key))
        if (joints := plan.track.joints) is not None:
            report += [f"  {note}" for note in (size_note(joints, options.box_metres), upright_note(joints)) if note]
        first = int(sequences[-1]) + 1
    return views, "\n".join(report)
