"""From videos to poses in files: the whole of the command `estimate`."""

import hashlib
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from datasets.cameras.calibration import read_calibration
from datasets.cameras.calibration_writers import write_json_calibration
from datasets.layout.arguments import check_at_least
from datasets.layout.job import DETAILS, REPORT_FILE, claim_folder, read_text_report, write_text_report
from datasets.layout.workers import map_processes
from datasets.sources.own_videos.detected import LANDMARKS_FOLDER
from datasets.sources.own_videos.free_labels import TRIANGULATED
from datasets.sources.own_videos.landmarks import search
from datasets.sources.own_videos.person_track import upright_note
from datasets.sources.own_videos.plan import make_plan
from datasets.sources.own_videos.recordings import (
    existing_videos,
    identity_of_calibration,
    identity_of_videos,
    one_recording,
    short_digest,
)
from datasets.video.frames import count_frames
from datasets.video.rgb import pyav
from training.estimation.cameras import shot_of_cameras
from training.estimation.crop_poses import CameraPoses, camera_poses, fuse_views
from training.estimation.one_camera import SingleCamera, camera_of_video, landmark_search, shot_of_video
from training.estimation.overlay import write_overlay
from training.estimation.shot import DEFAULT_FIELD, Shot, assumed_camera
from training.estimation.smoothing import check_filter, smooth, smoothing_text
from training.exports.formats import FORMATS, check_formats, write_motion
from training.exports.motion import CAMERA, WORLD, Motion
from training.trained.inference import PoseFromCrop
from utils.errors import UserError, plain_text
from utils.locks import writing

TOGETHER = "poses"  # name of the files of several cameras' poses
CROPS_FOLDER = "cameras"


class Choices(NamedTuple):
    """What is written: of every N-th frame; triangulated joints where there are, instead of the network's; how
    smoothed; in which formats; with pictures; for videos without calibration the field of view, degrees."""

    every: int = 1
    triangulate: bool = False
    correct_cameras: bool = True
    smooth: str = "butterworth"
    formats: tuple[str, ...] = FORMATS
    pictures: bool = True
    field: float = DEFAULT_FIELD


def estimate(
    videos: Sequence[str],
    output: str | Path,
    pose_from_crop: PoseFromCrop,
    network: str,
    weights: str,
    calibration: str | Path | None = None,
    offsets: Sequence[str] = (),
    choices: Choices | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> str:
    """Estimate the poses of videos, pictures, or folders of pictures, and write them to the folder `output`.

    videos: files named after their camera, or such as "left=a.mp4". With a calibration, several are cameras of one
    moment, whose poses are fused in its world; without, each is treated for itself, in the frame of its camera.
    offsets: frame number at instant 0, such as "left=3". network, weights: its name and a digest of its weights, for
    the folder's mark. Returns the report, which is stored there too. An interrupted call resumes. Raises UserError for
    bad input, and where the folder holds the poses of another job.
    """
    choices, output = choices or Choices(), Path(output)
    check_at_least(1, every=choices.every, workers=workers)
    assumed_camera(2, 2, choices.field), check_filter(choices.smooth), check_formats(choices.formats), pyav()
    files = existing_videos(videos)
    together = calibration is not None and len(files) > 1
    _check_used(choices, offsets, calibration is not None, together)
    cameras = None if calibration is None else read_calibration(calibration)
    plan, alone = None, {}
    if together:
        recording = one_recording(videos, calibration, name=TOGETHER, offsets=offsets)
        plan = make_plan(recording, choices.every)
        check_formats(choices.formats, len(plan.instants))
    else:
        alone = {name: camera_of_video(name, file, cameras, choices.field) for name, file in files.items()}
        for file in files.values():
            check_formats(choices.formats, len(range(0, count_frames(file), choices.every)))
    show = {"workers": workers, "progress": progress}
    with writing(output):
        claim_folder(output, "estimate.json", _job(files, calibration, network, weights, offsets, choices))
        if (output / REPORT_FILE).exists():
            return read_text_report(output)
        started = time.perf_counter()
        if plan is not None:
            shots = [shot_of_cameras(plan, output, choices.every, choices.correct_cameras, **show)]
        else:
            space = CAMERA if cameras is None else WORLD
            shots = _single_shots(files, alone, space, output, choices.every, show)
        source = _label_source(network, choices.triangulate)
        written = [_write_shot(shot, output, pose_from_crop, choices, source, progress) for shot in shots]
        lines = [line for of_shot in written for line in of_shot]
        report = "\n".join([*lines, f"{time.perf_counter() - started:.0f} s"])
        write_text_report(output, report)
    return report


def _check_used(choices: Choices, offsets: Sequence[str], calibrated: bool, together: bool) -> None:
    """UserError for what was asked for and would change nothing."""
    for option, given in (("triangulate", choices.triangulate), ("keep-cameras", not choices.correct_cameras)):
        if given and not together:
            raise UserError(f"--{option} with one camera, or without --calibration; expected two calibrated cameras")
    if offsets and not together:
        raise UserError("--offsets without several calibrated cameras; expected --calibration and two videos")
    if choices.field != DEFAULT_FIELD and calibrated:
        raise UserError(
            f"--field is {choices.field:g} with --calibration, which tells the field of view; expected one of them"
        )


def _job(
    files: dict[str, Path], calibration: str | Path | None, network: str, weights: str, offsets, choices: Choices
) -> dict:
    """What decides the content of the folder; of videos, what `identity_of_videos` takes."""
    of_calibration = b"" if calibration is None else identity_of_calibration(Path(calibration).expanduser())
    contents = {"calibration": of_calibration}
    contents |= {f"video {name}": identity_of_videos({name: file}) for name, file in files.items()}
    digest = hashlib.sha256(b"".join(contents.values())).hexdigest()[:16]
    details = {what: short_digest(content) for what, content in contents.items()}
    # Of a path that is not UTF-8, JSON could be written but not read again.
    network = plain_text(network)
    given = {"network": network, "weights": weights, "offsets": list(offsets), "files": digest, DETAILS: details}
    return {**choices._asdict(), **given}


def _single_shots(
    files: dict[str, Path],
    cameras: dict[str, SingleCamera],
    space: str,
    output: Path,
    every: int,
    show: dict,
) -> list[Shot]:
    folder = output / LANDMARKS_FOLDER
    tasks = {name: landmark_search(file, folder / f"{name}.npz", every) for name, file in files.items()}
    done = map_processes(search, tasks.values(), show["workers"])
    deque(tqdm(done, "landmarks", len(tasks), unit="video", disable=not show["progress"]), maxlen=0)
    return [shot_of_video(name, task, cameras[name], space) for name, task in tasks.items()]


def _label_source(network: str, triangulate: bool) -> str:
    """What a set says that is made of the poses in the files."""
    estimated = f"estimated by the network {network!r}, not measured"
    return f"{TRIANGULATED}; where cameras disagree, {estimated}" if triangulate else estimated


def _write_shot(
    shot: Shot, output: Path, pose_from_crop: PoseFromCrop, choices: Choices, source: str, progress: bool
) -> list[str]:
    """Estimate and write one shot, whose poses come from `source`; returns the lines of the report."""
    taken = np.zeros(len(shot.instants), bool)
    if choices.triangulate:
        taken = np.isfinite(shot.triangulated).all((1, 2))
        # Of the network neither poses nor trust belong to triangulated joints: it does not see these instants.
        shot = shot._replace(seen=shot.seen & ~taken)
    views = [
        camera_poses(shot, name, pose_from_crop, output / CROPS_FOLDER / f"{name}.npz", progress)
        for name in shot.cameras
    ]
    poses, trust = fuse_views(views)
    joints = fused = poses + shot.roots[:, None]
    if choices.triangulate:
        joints = np.where(taken[:, None, None], shot.triangulated, fused)
    motion = smooth(Motion(joints, shot.instants, shot.rate, shot.space, trust, source, shot.offsets), choices.smooth)
    lines = [f"{shot.name}: {_summary(motion, views, int(taken.sum()))}", *(f"  {note}" for note in shot.notes)]
    # The network hardly knows people who lie in its crops: it is asked only where nothing else tells.
    other = shot.detected if shot.triangulated is None else shot.triangulated
    tells = other is not None and np.isfinite(other).any()
    if shot.space == WORLD and (note := upright_note(other if tells else fused)):
        lines.append(f"  {note}")
    if not motion.known.any():
        return [*lines, "  nobody was found, and nothing written"]
    for name in choices.formats:
        write_motion(output / f"{shot.name}.{name}", motion)
    written = [f"{shot.name}.{name}" for name in choices.formats]
    if len(shot.cameras) > 1:
        # Corrected ones are not those of the calibration that was given.
        file = f"{shot.name}_cameras.json"
        write_json_calibration(output / file, shot.cameras)
        lines.append(f"  the cameras that these poses belong to: {file}")
    if choices.pictures:
        for name, view in zip(shot.cameras, views, strict=True):
            file = f"{name}.mp4" if name == shot.name else f"{shot.name}_{name}.mp4"
            write_overlay(output / file, shot, name, motion, view.flagged, taken)
            written.append(file)
    space = "world, z up" if shot.space == WORLD else "frame of the camera: x right, y down, z forward"
    smoothing = smoothing_text(motion, choices.smooth)
    return [*lines, f"  {space}; meters; smoothing: {smoothing}", f"  written: {', '.join(written)}"]


def _summary(motion: Motion, views: list[CameraPoses], triangulated: int) -> str:
    words = f"{motion.known.sum()} of {len(motion.instants)} instants with the person"
    words += f", {triangulated} of them triangulated" if triangulated else ""
    if motion.trust is not None and np.isfinite(motion.trust).any():
        words += f", trust {np.nanmean(motion.trust):.2f} on average"
    flagged, crops = (sum(int(part.sum()) for part in parts) for parts in zip(*map(_counts, views), strict=True))
    return words + (
        f"; {flagged} of {crops} crops unlike those of the training: do not rely on them" if flagged else ""
    )


def _counts(view: CameraPoses) -> tuple[np.ndarray, np.ndarray]:
    return view.flagged, np.isfinite(view.poses).all((1, 2))
