"""Calibrated cameras of one moment: the person whose rays meet in most images, at the place where they meet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.cameras.camera import Camera
from datasets.sources.own_videos.boxes import Boxes
from datasets.sources.own_videos.clocks import ASSUMED_RATE
from datasets.sources.own_videos.detected import (
    boxes_of_person,
    find_landmarks,
    find_person,
    seconds_between,
    triangulated,
)
from datasets.sources.own_videos.free_labels import Followed, followed
from datasets.sources.own_videos.landmarks import People
from datasets.sources.own_videos.person_track import track_from_boxes
from datasets.sources.own_videos.plan import Plan
from datasets.triangulation.single_view import root_positions
from training.estimation.shot import Shot
from training.exports.motion import WORLD
from utils.skeleton import ROOT_JOINT


def shot_of_cameras(
    plan: Plan, output: Path, every: int, correct_cameras: bool, workers: int | None, progress: bool
) -> Shot:
    """The shot of a recording; landmarks are found first, and kept in `output`.

    The root is the triangulated hip where the cameras agree about the whole person, else where the rays through the
    boxes meet, else where the size of the person says, in the image that shows most of them. An instant that one camera
    alone sees counts where no image shows several people. correct_cameras: as in prepare_videos.
    """
    (tasks,) = find_landmarks([plan], output, workers, progress)
    seconds = seconds_between(plan, every)
    people, chosen, notes = find_person(plan, tasks, seconds)
    person = followed(people, chosen)
    plan, boxes = plan._replace(notes=(*plan.notes, *notes)), boxes_of_person(plan, person)
    plan, found = triangulated(plan, person, boxes, seconds, correct_cameras)
    cameras = {name: plan.calibration.cameras[name] for name in plan.recording.videos}
    person = followed(people, _with_lone(people, chosen))
    joints = np.where(found.passed[:, None, None], found.joints, np.nan)
    roots, lines = _roots(plan, list(cameras.values()), person, boxes, joints[:, ROOT_JOINT])
    frames = np.array(plan.instants) + np.array([[plan.recording.offsets[name]] for name in cameras])
    filmed = frames < np.array([[plan.num_frames[name]] for name in cameras])
    in_image = np.stack([camera.sees(camera.world_to_cam(roots)) for camera in cameras.values()])
    # The person may be missed in an image, but not in all of a camera's: then something hides the person.
    sees = np.isfinite(person.pixels).any((1, 2, 3))
    return Shot(
        plan.recording.name,
        plan.recording.videos,
        cameras,
        np.where(filmed, frames, -1),
        np.array(plan.instants),
        plan.rate or ASSUMED_RATE,
        WORLD,
        roots,
        filmed & in_image & sees[:, None],
        joints,
        (*plan.notes, *lines),
    )


def _with_lone(people: list[People], chosen: np.ndarray) -> np.ndarray:
    """Those who are followed, `chosen` (C,T), and whom one camera alone sees: in a recording of one person, since of
    several nothing tells whom it sees."""
    found = np.stack([np.isfinite(one.score) for one in people])
    if (found.sum(2) > 1).any():
        return chosen
    lone = found.any(2) & (found.any(2).sum(0) == 1)
    return np.where(lone, found.argmax(2), chosen)


def _roots(
    plan: Plan, cameras: Sequence[Camera], person: Followed, boxes: Boxes, hips: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """The root (T,3) of all instants, world, and a line on where it comes from. hips: (T,3), NaN where untrusted."""
    roots, left = hips.copy(), ~np.isfinite(hips).all(1)
    counts = {"triangulated hip": int((~left).sum())}
    track = track_from_boxes(plan.recording, plan.calibration, boxes, plan.instants)
    rows = np.searchsorted(plan.instants, track.instants)
    chosen = left[rows]
    roots[rows[chosen]] = track.roots[chosen]
    counts["rays of boxes"] = int(chosen.sum())
    left = ~np.isfinite(roots).all(1)
    alone = np.stack(
        [
            root_positions(camera, *of_camera) @ camera.rotation + camera.center
            for camera, *of_camera in zip(cameras, *person, strict=True)
        ]
    )
    best = np.where(np.isfinite(alone).all(2), person.visibility.mean(2), -1).argmax(0)
    roots[left] = alone[best, np.arange(len(roots))][left]
    nowhere = int((~np.isfinite(roots).all(1)).sum())
    counts |= {"size in one image": int(left.sum()) - nowhere, "nowhere": nowhere}
    listed = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    return roots, [f"instants by where the root comes from: {listed}"]
