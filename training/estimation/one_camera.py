"""One camera's video: the person that it shows most often, at the distance that the person's size tells."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.cameras.calibration import Calibration, check_cameras
from datasets.cameras.camera import Camera
from datasets.cameras.plausibility import notes_on_cameras
from datasets.sources.own_videos.clocks import ASSUMED_RATE, check_strays, rate_of_video
from datasets.sources.own_videos.detected import absence_notes
from datasets.sources.own_videos.landmarks import LandmarkSearch, read_people
from datasets.sources.own_videos.video_sizes import assumed_fits, ways_to_fit
from datasets.triangulation.points import LANDMARKS, skeleton
from datasets.triangulation.single_view import follow_in_one_view, root_positions, steady_distances
from datasets.video.frames import count_frames, frame_rate, frame_times, pixel_aspect
from datasets.video.image_area import video_size
from training.estimation.shot import Shot, assumed_camera


class SingleCamera(NamedTuple):
    """The camera of one video: as calibrated or assumed. rate: frames per second, None where nothing tells it. notes:
    lines of the report."""

    camera: Camera
    rate: float | None
    notes: list[str]


def landmark_search(video: Path, file: Path, every: int) -> LandmarkSearch:
    """The task to find people in every N-th frame of a video."""
    return LandmarkSearch(file, video, np.arange(0, count_frames(video), every))


def shot_of_video(name: str, task: LandmarkSearch, single: SingleCamera, space: str) -> Shot:
    """The shot of a video whose landmarks are found. space: of the camera."""
    people = read_people(task.file)
    camera, rate, notes = single
    notes = (
        [*notes]
        if rate or len(people.frames) == 1
        else [*notes, f"no frame rate in the file: {ASSUMED_RATE:g} assumed"]
    )
    rate = rate or ASSUMED_RATE
    seconds = (people.frames[1] - people.frames[0] if len(people.frames) > 1 else 1) / rate
    found = root_positions(camera, people.landmarks, people.visibility, people.world)
    chosen = follow_in_one_view(found, seconds)
    several = int((np.isfinite(people.score).sum(1) > 1).sum())
    if several:
        notes.append(f"several people in {several} images; followed is the one who is seen most often, or nearest")
    notes += absence_notes(chosen >= 0, people.frames, seconds)
    roots = np.where((chosen >= 0)[:, None], found[np.arange(len(found)), chosen], np.nan)
    roots = steady_distances(roots, seconds)
    seen = np.isfinite(roots).all(1)
    world = people.world[np.arange(len(found)), chosen][:, list(LANDMARKS)]
    detected = skeleton(np.where(seen[:, None, None], world, np.nan))
    return Shot(
        name,
        {name: task.video},
        {name: camera},
        people.frames[None],
        people.frames,
        rate,
        space,
        roots @ camera.rotation + camera.center,
        seen[None],
        None,
        tuple(notes),
        detected @ camera.rotation,
    )


def camera_of_video(name: str, video: Path, calibration: Calibration | None, field: float) -> SingleCamera:
    """The camera of a video. field: degrees, see `assumed_camera`, without calibration.

    Raises UserError for a camera that the calibration lacks, and for a folder with a picture that is no frame.
    """
    check_strays(video, f"camera {name!r}")
    rate, notes = rate_of_video(frame_times(video), frame_rate(video))
    if calibration is None:
        width, height = video_size(video)
        aspect = pixel_aspect(video, width, height)
        camera = assumed_camera(width, height, field, aspect)
        if aspect != 1:
            notes = [f"its pixels are {aspect:.4g} times as wide as high, as the file says", *notes]
        return SingleCamera(camera, rate, [f"no calibration: a field of view of {field:g} degrees assumed", *notes])
    check_cameras(calibration, [name], "the calibration")
    ways = ways_to_fit(calibration, {name: video})
    camera = ways[name][0].camera
    return SingleCamera(camera, rate, [*notes_on_cameras(calibration, {name: camera}), *assumed_fits(ways), *notes])
