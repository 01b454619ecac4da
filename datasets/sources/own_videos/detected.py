"""Plans of recordings whose people BlazePose finds: boxes, or triangulated poses, from 2D landmarks in all videos."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from datasets.cameras.calibration_writers import write_json_calibration
from datasets.cameras.camera import Camera
from datasets.layout.workers import map_processes
from datasets.sources.own_videos.boxes import BOX_COLUMNS, Boxes
from datasets.sources.own_videos.clocks import ASSUMED_RATE
from datasets.sources.own_videos.free_labels import (
    MIN_PASSED,
    Followed,
    error_table,
    followed,
    label,
    single_view_line,
    track_of,
    write_poses,
)
from datasets.sources.own_videos.landmarks import LandmarkSearch, People, at_instants, boxes_of, read_people, search
from datasets.sources.own_videos.overlays import write_overlays
from datasets.sources.own_videos.plan import Plan, with_best_fits, with_boxes, with_checked_cameras, with_track
from datasets.sources.own_videos.recordings import PoseClock, file_key
from datasets.triangulation.people import follow_people
from datasets.triangulation.triangulate import Triangulation
from utils.errors import UserError
from utils.files import write_csv

LONG_ABSENCE = 1.0  # seconds between two sightings of a person, in which another one may have come
MAX_ABSENCES = 3  # that are listed in a report
LANDMARKS_FOLDER, BOXES_FOLDER, POSES_FOLDER, OVERLAYS_FOLDER = "landmarks", "boxes", "poses", "overlays"


class DetectionOptions(NamedTuple):
    """triangulate: make 3D labels. correct_cameras: correct the calibration where the landmarks say so."""

    triangulate: bool
    correct_cameras: bool


def find_landmarks(plans: list[Plan], output: Path, workers: int | None, progress: bool) -> list[list[LandmarkSearch]]:
    """Search all videos of all plans, in parallel processes; what is on disk is kept. Returns the tasks by plan."""
    tasks = [_searches(plan, output / LANDMARKS_FOLDER, number) for number, plan in enumerate(plans)]
    flat = [task for of_plan in tasks for task in of_plan]
    done = map_processes(search, flat, workers)
    deque(tqdm(done, "landmarks", len(flat), unit="video", disable=not progress), maxlen=0)
    return tasks


def _searches(plan: Plan, folder: Path, number: int) -> list[LandmarkSearch]:
    tasks = []
    for name, video in plan.recording.videos.items():
        frames = np.array(plan.instants) + plan.recording.offsets[name]
        frames = frames[frames < plan.num_frames[name]]
        tasks.append(LandmarkSearch(folder / f"{file_key(number)}_{name}.npz", video, frames))
    return tasks


def with_people(
    plan: Plan, tasks: list[LandmarkSearch], options: DetectionOptions, output: Path, number: int, every: int
) -> Plan:
    """The plan with the track of the person whose rays meet in most images, and with notes on what was found."""
    recording, names = plan.recording, list(plan.recording.videos)
    seconds = seconds_between(plan, every)
    people, chosen, notes = find_person(plan, tasks, seconds)
    person = followed(people, chosen)
    boxes = boxes_of_person(plan, person)
    key = file_key(number)
    write_boxes(output / BOXES_FOLDER / f"{key}.csv", boxes)
    plan = plan._replace(notes=(*plan.notes, *notes))
    if not options.triangulate:
        return with_boxes(plan, boxes)
    plan, found = triangulated(plan, person, boxes, seconds, options.correct_cameras)
    plan = with_track(plan, track_of(recording, plan.calibration, found, plan.instants, plan.num_frames))
    write_poses(output / POSES_FOLDER / f"{key}.npz", found, plan.instants, PoseClock(plan.rate, recording.offsets))
    cameras = {name: plan.calibration.cameras[name] for name in names}
    write_json_calibration(output / POSES_FOLDER / f"{key}_cameras.json", cameras)
    write_overlays(output / OVERLAYS_FOLDER / f"{key}.png", plan, found)
    return plan


def seconds_between(plan: Plan, every: int) -> float:
    """Seconds between two instants of a plan."""
    return every / (plan.rate or ASSUMED_RATE)


def find_person(plan: Plan, tasks: list[LandmarkSearch], seconds: float) -> tuple[list[People], np.ndarray, list[str]]:
    """The people of each of C cameras at T instants, which of them is the person whose rays meet in most images, (C,T)
    int, -1 for none, and lines of the report.

    Raises UserError where several cameras see people, and no rays meet.
    """
    names = list(plan.recording.videos)
    offsets = [plan.recording.offsets[name] for name in names]
    people = at_instants([read_people(task.file) for task in tasks], offsets, plan.instants)
    cameras, notes = cameras_to_follow(plan, people)
    found, most = follow_people(cameras, [one.landmarks for one in people], seconds)
    chosen = found[0] if found else np.full((len(names), len(plan.instants)), -1)
    notes += [*_notes_on_people(people, names, most), *_notes_on_rays(people, found, plan.recording.name)]
    notes += absence_notes((chosen >= 0).any(0), plan.instants, seconds)
    if plan.rate is None:
        notes.append(f"no frame rate in the files: {ASSUMED_RATE:g} per second assumed")
    return people, chosen, notes


def cameras_to_follow(plan: Plan, people: list[People]) -> tuple[list[Camera], list[str]]:
    """The cameras by which to tell people apart, and a warning where this may fail.

    people: of each camera, at the instants. Images that were cropped at unknown places are placed by the instants at
    which no image shows several people, since misplaced ones would belong to nobody at the others.
    """
    cropped = [name for name, fits in plan.ways.items() if len(fits) > 1]
    found = np.stack([np.isfinite(one.score) for one in people])
    counts = found.sum(2)
    alone = (counts <= 1).all(0) & (counts.sum(0) >= 2)
    notes = []
    if cropped and alone.any():
        boxes = boxes_of_person(plan, followed(people, np.where(alone & found.any(2), found.argmax(2), -1)))
        plan = with_best_fits(plan, boxes)
    elif cropped and (counts > 1).any():
        notes.append(
            f"WARNING: {', '.join(cropped)}: cropped at a place that nothing tells before people are told apart, since "
            "no instant shows one person alone: they may be mixed up, or missed; expected a calibration in the size of "
            "the videos"
        )
    return [plan.calibration.cameras[name] for name in plan.recording.videos], notes


def absence_notes(seen: np.ndarray, instants: Sequence[int], seconds: float) -> list[str]:
    """Lines of the report on a person who was out of sight for long, since people are followed by place alone.

    seen: (T,) bool. instants: their T numbers. seconds: between two of them.
    """
    rows = np.flatnonzero(seen)
    steps = np.diff(rows)
    long = np.flatnonzero((steps > 1) & (steps * seconds > LONG_ABSENCE))
    notes = [
        f"out of sight for {steps[gap] * seconds:.1f} s from instant {instants[rows[gap] + 1]}: whoever came then is "
        "taken for the same person"
        for gap in long[:MAX_ABSENCES]
    ]
    return notes + [f"{len(long) - MAX_ABSENCES} more times out of sight for so long"] * (len(long) > MAX_ABSENCES)


def triangulated(
    plan: Plan, person: Followed, boxes: Boxes, seconds: float, correct_cameras: bool
) -> tuple[Plan, Triangulation]:
    """The skeleton of a person, and the plan with the cameras it belongs to and notes on it."""
    names = list(plan.recording.videos)
    plan, _ = with_checked_cameras(with_best_fits(plan, boxes), boxes)
    cameras = [plan.calibration.cameras[name] for name in names]
    found, lines = label(names, cameras, person, seconds, correct_cameras)
    notes = [*lines, *error_table(names, found)]
    if found.passed.any():
        notes.append(single_view_line(names, person, found))
    calibration = plan.calibration._replace(
        cameras={**plan.calibration.cameras, **dict(zip(names, found.cameras, strict=True))}
    )
    return plan._replace(calibration=calibration, notes=(*plan.notes, *notes)), found


def boxes_of_person(plan: Plan, person: Followed) -> Boxes:
    """Boxes around the person's landmarks, by camera and frame."""
    boxes: Boxes = {}
    for column, name in enumerate(plan.recording.videos):
        frames = np.array(plan.instants) + plan.recording.offsets[name]
        boxes |= boxes_of(name, frames, person.pixels[column], person.visibility[column])
    return boxes


def _notes_on_people(people: list[People], names: list[str], most: int) -> list[str]:
    counts = [int(np.isfinite(one.score[:, 0]).sum()) for one in people]
    several = [int((np.isfinite(one.score).sum(1) > 1).sum()) for one in people]
    lines = ["images with a person: " + ", ".join(f"{n} {c}" for n, c in zip(names, counts, strict=True))]
    if any(several):
        where = ", ".join(f"{name} {count}" for name, count in zip(names, several, strict=True) if count)
        lines.append(
            f"images with several people: {where}; up to {most} of them are seen by two cameras or more; kept is the "
            "one whose rays meet in most images"
        )
    return lines


def _notes_on_rays(people: list[People], found: list[np.ndarray], where: str) -> list[str]:
    """A warning of the report if people are in several images, but their rays rarely meet. found: by `follow_people`.

    Raises UserError where they never do.
    """
    several = int((np.sum([np.isfinite(one.score).any(1) for one in people], axis=0) >= 2).sum())
    met = int(np.any([(detections >= 0).any(0) for detections in found], axis=0).sum())
    line = f"two cameras see somebody at {several} instants, and rays meet at {met} of them"
    check = "check unit, R and t (world -> camera: X_cam = R X + t), and the offsets"
    if several and not met:
        raise UserError(f"{where}: {line}; expected the same people: {check}")
    return [f"WARNING: {line}: {check}"] if met < MIN_PASSED * several else []


def write_boxes(file: Path, boxes: Boxes) -> None:
    """Write boxes as `read_boxes` reads them."""
    rows = (
        [name, frame, *(f"{value:.1f}" for value in box)]
        for name, of_camera in boxes.items()
        for frame, box in of_camera.items()
    )
    file.parent.mkdir(exist_ok=True)
    write_csv(file, BOX_COLUMNS, rows)
