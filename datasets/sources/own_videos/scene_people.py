"""The people of a recording that shows several: their boxes, and with triangulation their 3D poses."""

from typing import NamedTuple

import numpy as np

from datasets.cameras.camera import Camera
from datasets.layout.labels import NOBODY
from datasets.sources.own_videos.consistency import miss_warnings
from datasets.sources.own_videos.detected import absence_notes, boxes_of_person, cameras_to_follow, seconds_between
from datasets.sources.own_videos.free_labels import Followed, error_table, followed, label
from datasets.sources.own_videos.landmarks import LandmarkSearch, at_instants, boxes_of, read_people
from datasets.sources.own_videos.person_track import upright_note
from datasets.sources.own_videos.plan import Plan, with_best_fits, with_checked_cameras
from datasets.sources.own_videos.recordings import Recording
from datasets.triangulation.people import follow_people
from datasets.video.cropping import frame_intrinsics
from utils.errors import UserError

MIN_INSTANTS, MIN_SHARE = 5, 0.1  # a person who is seen by two cameras at fewer instants is not kept
SILHOUETTE_MARGIN = 0.05  # of a box's longer side: what the body reaches beyond the landmarks, crown and hands


class ScenePeople(NamedTuple):
    """P people at the T instants of a plan, in its C cameras.

    present: (T,P) bool, whether two cameras see the person. boxes: (C,T,P,4) pixels of the frames, NaN where a camera
    does not see the person. joints: (T,P,17,3) meters, world, NaN where unknown; None without triangulation.
    """

    present: np.ndarray
    boxes: np.ndarray
    joints: np.ndarray | None

    def rows(self, subject: int, camera: Camera, number: int, taken: np.ndarray) -> dict[str, np.ndarray]:
        """Rows of labels.h5 of the plan's camera `number` at the instants `taken` (N,), numbers from 0.

        People are numbered from `subject` on.
        """
        there = self.present[taken]
        rows = {
            "subj": np.where(there, subject + np.arange(there.shape[1]), NOBODY),
            "box": np.where(there[..., None], self.boxes[number, taken], np.nan),
        }
        if self.joints is not None:
            joints = camera.world_to_cam(self.joints[taken])
            joints[~there] = np.nan
            rows |= {"3D": (joints - joints[:, :, :1]).reshape(*there.shape, -1), "position": joints[:, :, 0]}
        return rows


def nobody(num_instants: int) -> dict[str, np.ndarray]:
    """Rows of labels.h5 where nobody was looked for: one column without a person."""
    return {"subj": np.full((num_instants, 1), NOBODY)}


def find_people(
    plan: Plan,
    tasks: list[LandmarkSearch],
    size: tuple[int, int],
    every: int,
    triangulate: bool,
    correct_cameras: bool,
) -> tuple[Plan, ScenePeople]:
    """The people whose rays meet, and the plan with notes on them and with cameras corrected by the person seen most.

    size: (height, width) of the frames. Raises UserError where nobody is seen by two cameras.
    """
    recording, names = plan.recording, list(plan.recording.videos)
    found = at_instants([read_people(task.file) for task in tasks], list(recording.offsets.values()), plan.instants)
    seconds = seconds_between(plan, every)
    cameras, notes = cameras_to_follow(plan, found)
    chosen = _kept(follow_people(cameras, [one.landmarks for one in found], seconds)[0])
    if not chosen:
        raise UserError(f"{recording.name}: nobody is seen by two cameras; expected people, or no --detect")
    people = [followed(found, detections) for detections in chosen]
    # As for one person: videos of another size, synchrony and extrinsics are judged by the person seen most.
    boxes = boxes_of_person(plan, people[0])
    plan, misses = with_checked_cameras(with_best_fits(plan, boxes), boxes)
    joints = None
    lines = [
        f"subject {subject}: {line}"
        for subject, detections in enumerate(chosen, recording.subject)
        for line in absence_notes((detections >= 0).any(0), plan.instants, seconds)
    ]
    if triangulate:
        cameras, joints, of_poses = _triangulated(_cameras(plan), people, plan.recording, seconds, correct_cameras)
        lines += of_poses
        fitted = {**plan.calibration.cameras, **dict(zip(names, cameras, strict=True))}
        plan = plan._replace(calibration=plan.calibration._replace(cameras=fitted))
    else:
        # Triangulation has warnings of its own, after it has corrected the cameras.
        lines += miss_warnings(names, misses)
    present = np.stack([(detections >= 0).sum(0) >= 2 for detections in chosen], axis=1)
    boxes_in_frames = np.stack([_boxes_in_frames(_cameras(plan), person, size) for person in people], axis=2)
    counts = [f"{column.sum()} instants" for column in present.T]
    if joints is not None:
        known = np.isfinite(joints).all((2, 3)).sum(0)
        counts = [f"{text} ({poses} with a pose)" for text, poses in zip(counts, known, strict=True)]
    people_line = f"{len(chosen)} people are seen by two cameras or more: {', '.join(counts)}"
    plan = plan._replace(notes=(*plan.notes, *notes, people_line, *lines))
    return plan, ScenePeople(present, boxes_in_frames, joints)


def _cameras(plan: Plan) -> list[Camera]:
    return [plan.calibration.cameras[name] for name in plan.recording.videos]


def _kept(chosen: list[np.ndarray]) -> list[np.ndarray]:
    """Of the detections (C,T) of each person those of people who are seen for long enough."""
    least = max(MIN_INSTANTS, MIN_SHARE * chosen[0].shape[1]) if chosen else 0
    return [detections for detections in chosen if ((detections >= 0).sum(0) >= 2).sum() >= least]


def _boxes_in_frames(cameras: list[Camera], person: Followed, size: tuple[int, int]) -> np.ndarray:
    """Boxes (C,T,4) of a person's landmarks in the frames, which have no distortion; NaN where they are not in it."""
    limit = np.array(size[::-1])
    result = np.full((*person.pixels.shape[:2], 4), np.nan)
    for number, camera in enumerate(cameras):
        places, matrix = camera.normalized(person.pixels[number]), frame_intrinsics(camera, size)
        pixels = places * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
        instants = np.arange(len(pixels))
        found = boxes_of("", instants, pixels, person.visibility[number], SILHOUETTE_MARGIN)[""]
        for instant, box in found.items():
            # Pixel centers are at integers, and boxes count whole pixels.
            low = np.clip(np.floor(box[:2] + 0.5), 0, limit)
            high = np.clip(np.ceil(box[:2] + box[2:] + 0.5), 0, limit)
            if (high > low).all():
                result[number, instant] = np.concatenate([low, high - low])
    return result


def _triangulated(
    cameras: list[Camera], people: list[Followed], recording: Recording, seconds: float, correct: bool
) -> tuple[list[Camera], np.ndarray, list[str]]:
    """Cameras, corrected by the first person where `correct`; joints (T,P,17,3), NaN where not good enough; lines."""
    joints, lines, names = [], [], list(recording.videos)
    for number, person in enumerate(people):
        found, of_person = label(names, cameras, person, seconds, correct and number == 0)
        cameras = found.cameras
        joints.append(np.where(found.passed[:, None, None], found.joints, np.nan))
        # As in the labels.
        subject = recording.subject + number
        lines += [f"subject {subject}: {line}" for line in (*of_person, upright_note(joints[-1])) if line]
        if number == 0:
            lines += error_table(names, found)
    return cameras, np.stack(joints, axis=1), lines
