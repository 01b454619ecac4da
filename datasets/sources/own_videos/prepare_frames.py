"""Converts videos of a user's own synchronized, calibrated cameras to full frames of several people (version 2)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.cameras.agreement import MIN_CAMERAS
from datasets.layout.arguments import check_at_least
from datasets.layout.frame_writer import FrameWriter
from datasets.layout.job import claim_folder, read_text_report, write_text_report
from datasets.layout.labels import read_statistics
from datasets.layout.writer import check_size
from datasets.sources.own_videos.backgrounds import backgrounds_of, check_sizes, with_notes_on_backgrounds
from datasets.sources.own_videos.detected import find_landmarks
from datasets.sources.own_videos.free_labels import TRIANGULATED
from datasets.sources.own_videos.plan import MAX_SEQUENCE_LENGTH, Plan, make_plan, split_instants, with_assumed_fits
from datasets.sources.own_videos.recordings import Recording, file_key, files_of_job
from datasets.sources.own_videos.scene_people import ScenePeople, find_people, nobody
from datasets.video.cropping import frame_intrinsics
from datasets.video.crops_of_views import BACKGROUNDS_FOLDER, keys_of
from datasets.video.frames_of_views import FrameView, write_frame_views
from utils.errors import UserError
from utils.locks import writing

FRAME_WIDTH = 228


class FrameSet(NamedTuple):
    """The options that decide what a set of frames holds."""

    width: int
    every: int
    cut: int
    first_sequence: int
    detect: bool
    triangulate: bool
    correct_cameras: bool


def prepare_frames(
    recordings: Iterable[Recording],
    output: str | Path,
    width: int = FRAME_WIDTH,
    every: int = 1,
    cut: int = MAX_SEQUENCE_LENGTH,
    first_sequence: int = 1,
    statistics: str | Path | None = None,
    detect: bool = False,
    triangulate: bool = False,
    correct_cameras: bool = True,
    workers: int | None = None,
    progress: bool = True,
) -> str:
    """Prepare recordings as full frames in the folder `output`. Returns the report, which is stored there too.

    width: of the frames, pixels; they keep their shape, and lens distortion is removed. detect: find people by
    BlazePose and write their boxes. triangulate: make their 3D labels of all cameras' landmarks, too. Other arguments
    as of `prepare_videos`.

    An interrupted call resumes where it stopped, and a finished set stays as it is. Raises UserError for bad arguments
    and files, and for cameras whose frames would differ in height.
    """
    options = FrameSet(width, every, cut, first_sequence, detect or triangulate, triangulate, correct_cameras)
    check_size(width)
    check_at_least(1, every=every, cut=cut, workers=workers)
    check_at_least(0, first_sequence=first_sequence)
    recordings, output, show = list(recordings), Path(output), {"workers": workers, "progress": progress}
    mean_std = read_statistics(statistics)
    _check_labels(recordings)
    plans = [make_plan(recording, every) for recording in recordings]
    check_sizes(plans)
    size = _frame_size(plans, width)
    with writing(output):
        job = {"frames": True, **options._asdict(), **files_of_job(recordings)}
        if claim_folder(output, "videos.json", job, statistics):
            return read_text_report(output)
        writer = FrameWriter(output, size)
        people: list[ScenePeople | None] = [None] * len(plans)
        if options.detect:
            tasks = find_landmarks(plans, output, **show)
            choices = size, every, triangulate, correct_cameras
            found = [find_people(plan, of_plan, *choices) for plan, of_plan in zip(plans, tasks, strict=True)]
            plans, people = [list(column) for column in zip(*found, strict=True)]
        else:
            plans = [with_assumed_fits(plan) for plan in plans]
        files = backgrounds_of(plans, output / BACKGROUNDS_FOLDER, show)
        plans = with_notes_on_backgrounds(plans, files)
        views, report = _make_views(plans, people, files, size, options)
        write_frame_views(views, output, size, **show)
        write_text_report(output, report)
        writer.finish(*mean_std, label_source=TRIANGULATED if triangulate else None, keys=keys_of(views))
    return report


def _check_labels(recordings: list[Recording]) -> None:
    for recording in recordings:
        if recording.boxes or recording.poses:
            raise UserError(
                f"{recording.name}: {'boxes' if recording.boxes else 'poses'} of one person are given; expected none "
                "for full frames, whose people --detect and --triangulate find"
            )


def _frame_size(plans: list[Plan], width: int) -> tuple[int, int]:
    """(height, width) of the frames of all cameras."""
    sizes: dict[int, str] = {}
    for plan in plans:
        for name in plan.recording.videos:
            camera = plan.calibration.cameras[name]
            where = f"camera {name!r} of {plan.recording.name} ({camera.width}x{camera.height} px)"
            sizes.setdefault(round(width * camera.height / camera.width), where)
    if len(sizes) > 1:
        (first, of_first), (second, of_second) = list(sizes.items())[:2]
        raise UserError(
            f"frames would be {first} px high of {of_first} and {second} px of {of_second}; "
            "expected cameras of one shape"
        )
    height = next(iter(sizes))
    check_size(height)
    return height, width


def _make_views(
    plans: list[Plan],
    people: list[ScenePeople | None],
    backgrounds: list[dict[str, Path]],
    size: tuple[int, int],
    options: FrameSet,
) -> tuple[list[FrameView], str]:
    """The views of all plans, and the report on them."""
    views, report, first = [], [], options.first_sequence
    for number, (plan, found) in enumerate(zip(plans, people, strict=True)):
        frames = np.array(plan.instants)[:, None] + list(plan.recording.offsets.values())
        filmed = (frames >= 0) & (frames < list(plan.num_frames.values()))
        kept = np.flatnonzero(filmed.sum(1) >= MIN_CAMERAS)
        if not len(kept):
            raise UserError(f"{plan.recording.name}: no instant is in two videos; expected other offsets")
        sequences = split_instants(len(kept), first, options.cut)
        for column, name in enumerate(plan.recording.videos):
            in_video = filmed[kept, column]
            rows = _rows(plan, found, column, size, kept[in_video], sequences[in_video])
            key, video = f"{file_key(number)}_{column:02d}", plan.recording.videos[name]
            camera, wanted = plan.calibration.cameras[name], frames[kept[in_video], column]
            views.append(FrameView(key, f"camera {name!r}", video, camera, wanted, rows, backgrounds[number][name]))
        report.append(_report(plan, len(kept), sequences, size, file_key(number)))
        first = int(sequences[-1]) + 1
    return [view for view in views if len(view.frames)], "\n".join(report)


def _rows(
    plan: Plan, found: ScenePeople | None, column: int, size: tuple[int, int], taken: np.ndarray, seq: np.ndarray
) -> dict[str, np.ndarray]:
    """Rows of labels.h5 of a camera at the instants `taken` (N,), numbers from 0."""
    name, count = list(plan.recording.videos)[column], len(taken)
    camera = plan.calibration.cameras[name]

    def repeated(value: Any) -> np.ndarray:
        return np.repeat(np.asarray(value)[None], count, axis=0)

    labels = nobody(count) if found is None else found.rows(plan.recording.subject, camera, column, taken)
    return labels | {
        "frame": np.array(plan.instants)[taken],
        # The number of a camera is its place in the calibration: the same in all recordings that share it.
        "cam": repeated(list(plan.calibration.cameras).index(name)),
        "seq": seq,
        "extrinsic_rot": repeated(camera.rotation),
        "extrinsic_rot_inv": repeated(np.transpose(camera.rotation)),
        "intrinsics": repeated(frame_intrinsics(camera, size)),
        "camera_position": repeated(camera.center),
        "motion": repeated(plan.recording.name),
    }


def _report(plan: Plan, kept: int, sequences: np.ndarray, size: tuple[int, int], key: str) -> str:
    left_out = len(plan.instants) - kept
    lines = [
        f"{plan.recording.name}: {kept} of {len(plan.instants)} instants, sequences {sequences[0]} to {sequences[-1]}; "
        f"{len(plan.recording.videos)} cameras, frames of {size[1]}x{size[0]} px without lens distortion; files: {key}",
        *([f"left out: {left_out} in fewer than two videos"] if left_out else []),
        *plan.notes,
    ]
    return "\n  ".join(lines)
