"""2D landmarks of the people in a recording's videos, and which of them is the same person in all cameras."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.detection.blazepose import NUM_LANDMARKS, BlazePose
from datasets.sources.own_videos.boxes import Boxes
from datasets.video.frames import read_frames
from utils.files import save_npz, write_atomically
from utils.readers import read_rows

MAX_PEOPLE = 3
BOX_MARGIN = 0.1  # of the longer side: landmarks lie inside of the body
VISIBLE = 0.5


class LandmarkSearch(NamedTuple):
    """The task to find landmarks in `frames` (N,) of a video. file: .npz for the result."""

    file: Path
    video: Path
    frames: np.ndarray


class People(NamedTuple):
    """Up to K people in N frames of a video; NaN where there are fewer.

    frames: (N,). landmarks: (N,K,33,2) pixels. visibility: (N,K,33). world: (N,K,33,3) meters, image axes, from one
    image alone. score: (N,K).
    """

    frames: np.ndarray
    landmarks: np.ndarray
    visibility: np.ndarray
    world: np.ndarray
    score: np.ndarray


def search(task: LandmarkSearch) -> None:
    """Write the people in a video, unless the file exists."""
    if task.file.exists():
        return
    detector, known = BlazePose(max_people=MAX_PEOPLE), []
    people = _nobody(task.frames)
    for row, (_, frame) in enumerate(read_frames(task.video, task.frames.tolist())):
        found = detector.people(frame, known)
        known = [person.region for person in found]
        for number, person in enumerate(found):
            people.landmarks[row, number] = person.landmarks
            people.visibility[row, number] = person.visibility
            people.world[row, number] = person.world
            people.score[row, number] = person.score
    task.file.parent.mkdir(exist_ok=True)

    write_atomically(task.file, lambda part: save_npz(part, people._asdict(), compressed=False))


def _nobody(frames: np.ndarray) -> People:
    def empty(*shape: int) -> np.ndarray:
        return np.full((len(frames), MAX_PEOPLE, *shape), np.nan, np.float32)

    return People(frames, empty(NUM_LANDMARKS, 2), empty(NUM_LANDMARKS), empty(NUM_LANDMARKS, 3), empty())


def read_people(file: Path) -> People:
    """What `search` wrote."""
    shapes = {name: values.shape[1:] for name, values in _nobody(np.arange(1))._asdict().items()}
    return People(**read_rows(file, shapes, "landmarks of a video; remove it to detect again"))


def at_instants(people: Sequence[People], offsets: Sequence[int], instants: Sequence[int]) -> list[People]:
    """The people of each camera at T instants; frames that are not in a video show nobody."""
    result = []
    for camera, offset in zip(people, offsets, strict=True):
        wanted = np.array(instants) + offset
        rows = {frame: row for row, frame in enumerate(camera.frames.tolist())}
        chosen = np.array([rows.get(frame, -1) for frame in wanted.tolist()])
        empty = _nobody(wanted)
        for name in People._fields[1:]:
            values = getattr(empty, name)
            values[chosen >= 0] = getattr(camera, name)[chosen[chosen >= 0]]
        result.append(empty)
    return result


def boxes_of(
    name: str, frames: np.ndarray, landmarks: np.ndarray, visibility: np.ndarray, margin: float = BOX_MARGIN
) -> Boxes:
    """Boxes around the visible landmarks (T,33,2) of a camera's person. margin: share of the longer side."""
    boxes = {}
    for frame, points, visible in zip(frames.tolist(), landmarks, visibility, strict=True):
        points = points[visible >= VISIBLE] if (visible >= VISIBLE).any() else points
        if np.isfinite(points).all():
            low, high = points.min(0), points.max(0)
            added = margin * (high - low).max()
            boxes[frame] = np.concatenate([low - added, high - low + 2 * added])
    return {name: boxes}
