"""Plans the crops of recordings: instants, cameras and sequences, and the report on them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.cameras.calibration import Calibration, check_cameras, read_calibration
from datasets.cameras.plausibility import notes_on_cameras
from datasets.cameras.video_size import Fit
from datasets.layout.png import read_png
from datasets.sources.own_videos.boxes import SECOND_AREA, Boxes, PersonDetector, read_boxes
from datasets.sources.own_videos.clocks import (
    ASSUMED_RATE,
    check_drift,
    check_pictures,
    check_pose_clock,
    common_rate,
)
from datasets.sources.own_videos.consistency import (
    Misses,
    agreement_lines,
    box_table,
    check_extrinsics,
    extrinsics,
    miss_warnings,
    ray_miss,
    sightings,
    size_warnings,
)
from datasets.sources.own_videos.ghosts import notes_on_found
from datasets.sources.own_videos.person_track import (
    PersonTrack,
    box_frames_note,
    check_unit,
    filmed_instants,
    late_poses_note,
    track_from_boxes,
    track_from_poses,
)
from datasets.sources.own_videos.recordings import Recording, read_pose_clock, read_pose_file, read_to_z_up
from datasets.sources.own_videos.synchrony import synchrony_note
from datasets.sources.own_videos.video_sizes import assumed_fits, best_fits, ways_to_fit, with_cameras
from datasets.video.crops_of_views import CropView
from datasets.video.frames import frame_times, read_frames
from datasets.video.image_area import video_size
from utils.errors import UserError
from utils.files import write_atomically
from utils.readers import read_rows

MIN_SEQUENCES = 4  # per recording, so that training can hold one out
MAX_SEQUENCE_LENGTH = 250  # instants


class Plan(NamedTuple):
    """A recording, its cameras, their numbers of frames, its instants, and the track of the person.

    ways: how each video may show the calibrated image. rate: frames per second, None where no file says. track: None
    before the person was detected. notes: lines of the report.
    """

    recording: Recording
    calibration: Calibration
    num_frames: dict[str, int]
    instants: range
    ways: dict[str, list[Fit]]
    rate: float | None
    track: PersonTrack | None = None
    notes: tuple[str, ...] = ()


class Detection(NamedTuple):
    """The task to detect the person in `frames` (N,) of a video. background: PNG. file: for the boxes."""

    file: Path
    video: Path
    frames: np.ndarray
    background: Path


def make_plan(recording: Recording, every: int) -> Plan:
    """Read calibration, boxes and poses, and check the videos. Raises UserError for whatever is inconsistent."""
    calibration = read_calibration(recording.calibration)
    check_cameras(calibration, recording.videos, f"{recording.calibration}, the calibration of {recording.name}")
    check_pictures(recording.videos, recording.name)
    ways = ways_to_fit(calibration, recording.videos)
    notes = notes_on_cameras(calibration, {name: fits[0].camera for name, fits in ways.items()})
    calibration = with_cameras(calibration, {name: fits[0] for name, fits in ways.items()})
    times = {name: frame_times(video) for name, video in recording.videos.items()}
    rate, warnings = common_rate(recording.videos, times, recording.name)
    num_frames = {name: len(of_camera) for name, of_camera in times.items()}
    check_offsets(recording, num_frames)
    check_empty(recording, calibration)
    check_drift(times, recording.offsets, rate, recording.name)
    instants = filmed_instants(recording, num_frames, every)
    plan = Plan(recording, calibration, num_frames, instants, ways, rate, notes=(*notes, *warnings))
    if recording.poses is not None:
        poses, to_z_up = read_pose_file(recording.poses), read_to_z_up(recording.poses)
        of_poses = check_pose_clock(recording, read_pose_clock(recording.poses), rate)
        plan = plan._replace(notes=(*plan.notes, *of_poses))
        # Poses that do not say which axis is up are in the world of the calibration file.
        poses = poses @ (calibration.to_z_up if to_z_up is None else to_z_up).T
        plan = _with_note(with_assumed_fits(plan), late_poses_note(poses, recording, num_frames))
        plan = with_track(plan, track_from_poses(recording, calibration, poses, plan.instants, num_frames))
        check_unit(plan.track, recording, calibration)
        return plan
    if recording.boxes is not None:
        boxes = read_boxes(recording.boxes, list(recording.videos))
        return with_boxes(_with_note(plan, box_frames_note(boxes, num_frames)), boxes)
    return plan


def _with_note(plan: Plan, note: str | None) -> Plan:
    return plan._replace(notes=(*plan.notes, *([note] if note else [])))


def check_offsets(recording: Recording, num_frames: dict[str, int]) -> None:
    """UserError where a camera's video ends before instant 0."""
    for name, offset in recording.offsets.items():
        if offset >= num_frames[name]:
            raise UserError(
                f"{recording.name}: camera {name!r} starts at its frame {offset}, but its video has "
                f"{num_frames[name]} frames; expected a smaller offset"
            )


def check_empty(recording: Recording, calibration: Calibration) -> None:
    """UserError where the empty scene of a camera has another size than its video."""
    for name, file in recording.empty.items():
        size, camera = video_size(file), calibration.cameras[name]
        if size != (camera.width, camera.height):
            raise UserError(
                f"{recording.name}: the empty scene of camera {name!r}, {file}, has {size[0]}x{size[1]} px; expected "
                f"{camera.width}x{camera.height} px as its video"
            )


def with_boxes(plan: Plan, boxes: Boxes) -> Plan:
    """The plan with the track that follows from boxes."""
    filmed = {
        name: {frame: box for frame, box in boxes[name].items() if frame < plan.num_frames[name]} for name in boxes
    }
    plan = with_best_fits(plan, filmed)
    plan, found = with_checked_cameras(plan, filmed)
    plan = with_track(plan, track_from_boxes(plan.recording, plan.calibration, filmed, plan.instants))
    used = np.zeros(found.meters.shape, dtype=bool)
    used[:, np.searchsorted(plan.instants, plan.track.instants)] = plan.track.seen.T
    lines = agreement_lines(plan.recording, found, used)
    return plan._replace(notes=(*plan.notes, *lines, *miss_warnings(list(plan.recording.videos), found)))


def with_checked_cameras(plan: Plan, boxes: Boxes) -> tuple[Plan, Misses]:
    """The plan with notes if the cameras are not synchronized, or the person is at a distance at which most people have
    other boxes; and how far rays through boxes miss each other.

    Raises UserError for extrinsics that cannot be right.
    """
    recording, names = plan.recording, list(plan.recording.videos)
    cameras = [plan.calibration.cameras[name] for name in names]
    seen = sightings(cameras, box_table(boxes, {name: recording.offsets[name] for name in names}, plan.instants))
    found = check_extrinsics(names, extrinsics(cameras, plan.calibration.to_z_up), seen, recording.name)
    rays = np.einsum("cji,ctj->cti", [camera.rotation for camera in cameras], np.nan_to_num(seen.rays))
    plan = plan._replace(notes=(*plan.notes, *size_warnings(found)))
    return with_synchrony(plan, rays[:, :, None]), found


def with_synchrony(plan: Plan, rays: np.ndarray) -> Plan:
    """The plan with a note if rays (C,T,P,3) in the world, zero where unknown, meet better at other times."""
    names = list(plan.recording.videos)
    centers = np.stack([plan.calibration.cameras[name].center for name in names])
    offsets = [plan.recording.offsets[name] for name in names]
    notes = synchrony_note(names, centers, rays, offsets, plan.instants.step, plan.rate or ASSUMED_RATE)
    return plan._replace(notes=(*plan.notes, *notes))


def with_assumed_fits(plan: Plan) -> Plan:
    """The plan with notes on videos of another size than calibrated, where nothing tells what they show."""
    return plan._replace(notes=(*plan.notes, *assumed_fits(plan.ways)))


def with_best_fits(plan: Plan, boxes: Boxes) -> Plan:
    """The plan with the cameras of videos of another size than calibrated, as rays through boxes say."""
    names = list(plan.recording.videos)
    table = box_table(boxes, {name: plan.recording.offsets[name] for name in names}, plan.instants)
    chosen, sentences = best_fits(plan.ways, lambda cameras: ray_miss([cameras[name] for name in names], table))
    return plan._replace(calibration=with_cameras(plan.calibration, chosen), notes=(*plan.notes, *sentences))


def with_track(plan: Plan, track: PersonTrack) -> Plan:
    """The plan with its track. Raises UserError for a track without instants."""
    if len(track.instants) == 0:
        raise UserError(
            f"{plan.recording.name}: none of {len(plan.instants)} instants is usable ({_reasons(track)}); expected "
            "the person in two cameras: check unit, R, t, and the offsets"
        )
    return plan._replace(track=track)


def detections(plan: Plan, backgrounds: dict[str, Path], folder: Path, key: str) -> list[Detection]:
    """The tasks to detect the person in the videos of a plan, with files in `folder`."""
    found = []
    for name, video in plan.recording.videos.items():
        frames = np.array(plan.instants) + plan.recording.offsets[name]
        frames = frames[frames < plan.num_frames[name]]
        found.append(Detection(folder / f"{key}_{name}.npy", video, frames, backgrounds[name]))
    return found


def detect(detection: Detection) -> None:
    """Write the boxes of a video, unless the file exists: (N,6) frame number, box, area of the second difference."""
    if detection.file.exists():
        return
    find = PersonDetector(read_png(str(detection.background)))
    found = [(index, find.largest(frame)) for index, frame in read_frames(detection.video, detection.frames.tolist())]
    rows = np.array([[index, *one[0], one[1]] for index, one in found if one is not None]).reshape(-1, 6)
    detection.file.parent.mkdir(exist_ok=True)

    def write(part: Path) -> None:
        with open(part, "wb") as file:
            np.save(file, rows)

    write_atomically(detection.file, write)


def with_detected(plan: Plan, found: Sequence[Detection]) -> Plan:
    """The plan with the track of the boxes that `detect` wrote, and with notes on them."""
    expected = "boxes of a video; remove it to detect again"
    rows = {
        name: read_rows(detection.file, {"": (6,)}, expected)[""]
        for name, detection in zip(plan.recording.videos, found, strict=True)
    }
    boxes = {name: {int(row[0]): row[1:5] for row in of_camera} for name, of_camera in rows.items()}
    several = {name: int((of_camera[:, 5] > SECOND_AREA).sum()) for name, of_camera in rows.items()}
    frames = {name: detection.frames for name, detection in zip(rows, found, strict=True)}
    return with_boxes(plan._replace(notes=(*plan.notes, *notes_on_found(boxes, frames, several))), boxes)


def sequence_numbers(plan: Plan, first: int, cut: int) -> np.ndarray:
    """Sequence number (M,) of each instant, from `first` on: equal parts of at most `cut` instants."""
    return split_instants(len(plan.track.instants), first, cut)


def split_instants(count: int, first: int, cut: int) -> np.ndarray:
    """Sequence number (count,) of each instant, from `first` on: equal parts of at most `cut` instants."""
    # Rounded up, so that no sequence is longer than `cut`; at least four, unless there are too few instants.
    parts = max(-(-count // cut), min(MIN_SEQUENCES, count // 2))
    return first + np.arange(count) * parts // count


def make_views(plan: Plan, sequences: np.ndarray, key: str, backgrounds: dict[str, Path]) -> list[CropView]:
    """The views of a plan: the crops of every camera."""
    recording, track, views = plan.recording, plan.track, []
    for column, name in enumerate(recording.videos):
        camera, rows = plan.calibration.cameras[name], track.seen[:, column]
        instants = track.instants[rows]
        ids = {
            "frame": instants,
            # The number of a camera is its place in the calibration: the same in all recordings that share it.
            "cam": np.full(len(instants), list(plan.calibration.cameras).index(name)),
            "seq": sequences[rows],
            "subj": np.full(len(instants), recording.subject),
            "motion": np.full(len(instants), recording.name),
        }
        joints = None if track.joints is None else camera.world_to_cam(track.joints[rows])
        roots, frames = camera.world_to_cam(track.roots[rows]), instants + recording.offsets[name]
        prefix = f"{key}_{ids['cam'][0]:02d}" if len(instants) else key
        video = recording.videos[name]
        views.append(
            CropView(prefix, f"camera {name!r}", video, camera, frames, roots, joints, ids, backgrounds.get(name))
        )
    return [view for view in views if len(view.frames)]


def plan_report(plan: Plan, sequences: np.ndarray, key: str) -> str:
    """Lines of the report on a recording whose files are called `key`: what is kept, what is left out, and why."""
    recording, track = plan.recording, plan.track
    seen = ", ".join(f"{name} {count}" for name, count in zip(recording.videos, track.seen.sum(0), strict=True))
    return (
        f"{recording.name}, subject {recording.subject}: {len(track.instants)} of {len(plan.instants)} instants, "
        f"sequences {sequences[0]} to {sequences[-1]}; crops: {seen}; files: {key}\n  left out: {_reasons(track)}"
        + "".join(f"\n  {note}" for note in plan.notes)
    )


def _reasons(track: PersonTrack) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in track.skipped.items() if count) or "nothing"
