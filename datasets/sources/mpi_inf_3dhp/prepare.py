"""Converts MPI-INF-3DHP, eight actors in front of a green screen, to the training layout (docs/mpi_inf_3dhp.md)."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from datasets.cameras.agreement import MAX_VIEW_DIFFERENCE, MIN_CAMERAS, view_disagreement
from datasets.cameras.camera import Camera
from datasets.cameras.crop_camera import BOX_METRES
from datasets.layout.arguments import check_at_least, check_box, choose_subjects
from datasets.layout.job import claim_folder, holds_set, read_text_report, write_text_report
from datasets.layout.labels import read_statistics
from datasets.layout.writer import LayoutWriter, check_size
from datasets.sources.mpi_inf_3dhp.files import NUM_ANNOTATED, read_annotations, read_cameras, sequence_folders
from datasets.video.crops_of_views import (
    BACKGROUNDS_FOLDER,
    Background,
    CropJob,
    CropView,
    checked_length,
    keys_of,
    write_backgrounds,
    write_views,
)
from utils.errors import UserError
from utils.locks import writing
from utils.skeleton import ROOT_JOINT

SPLITS = {"train": (1, 2, 3, 4, 5, 6, 7), "test": (8,)}  # ours: the set's own test sequences have one camera only
CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)  # at chest height or slightly above; 11 to 13 look down from the ceiling
# Our joints among the 28, in the order of utils/skeleton.py.
MPI_JOINTS = (4, 23, 24, 25, 18, 19, 20, 3, 5, 6, 7, 9, 10, 11, 14, 15, 16)
MAX_ANNOTATION_ERROR = 10.0  # pixels of 2048 between annot2 and the projected annot3, in the median


class CaptureSet(NamedTuple):
    """The options that decide what a prepared set holds. cameras: numbers in the original set."""

    subjects: tuple[int, ...]
    cameras: tuple[int, ...]
    every: int
    size: int
    box_metres: float
    background: bool


def prepare_3dhp(
    source: str | Path,
    output: str | Path,
    subjects: Iterable[int] | None = None,
    cameras: Iterable[int] = CAMERAS,
    every: int = 5,
    size: int = 128,
    split: str = "train",
    box_metres: float = BOX_METRES,
    background: bool = True,
    statistics: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> str:
    """Prepare MPI-INF-3DHP in `source` as a training layout in the folder `output`. Returns the report.

    subjects: numbers of the actors; None: those of `split`, "train" or "test". cameras: numbers; a camera without a
    video is reported and left out. every: use every N-th frame. size: side of the crops, pixels. box_metres: width of
    a crop at the person's distance, meters. background: write background crops too. statistics: a layout whose
    `pose_mean` and `pose_std` are copied; None: computed from the new rows. workers: number of processes; None: one
    per core.

    An interrupted call resumes where it stopped, and a finished set stays as it is. Raises UserError for bad arguments,
    and for files that are missing, broken, or inconsistent.
    """
    chosen, output = choose_subjects(subjects, split, SPLITS), Path(output)
    job = CaptureSet(chosen, tuple(cameras), every, size, box_metres, background)
    _check_arguments(job, workers)
    mean_std = read_statistics(statistics)
    mark = output, "mpi_inf_3dhp.json", job._asdict(), statistics
    # A finished set needs no source, and where something else is, none is read.
    folders = [] if holds_set(*mark) else sequence_folders(Path(source), job.subjects)
    plans = [plan_sequence(*place, job, output) for place in tqdm(folders, "read annotations", disable=not progress)]
    with writing(output):
        if claim_folder(*mark):
            return read_text_report(output)
        writer = LayoutWriter(output, size)
        views, report = [view for planned, _ in plans for view in planned], "\n".join(line for _, line in plans)
        if background:
            write_backgrounds([Background(view.background, [view.video]) for view in views], workers, progress)
        write_views(views, CropJob(output, size, box_metres), workers, progress)
        write_text_report(output, report)
        writer.finish(*mean_std, keys=keys_of(views))
    return report


def plan_sequence(folder: Path, subject: int, number: int, job: CaptureSet, output: Path) -> tuple[list[CropView], str]:
    """The views of one sequence and its lines of the report. Raises UserError where poses and cameras disagree."""
    cameras = read_cameras(folder / "camera.calibration")
    annotations = read_annotations(folder / "annot.mat", ("annot2", "annot3"))
    name, notes, tracks = f"S{subject} Seq{number}", [], {}
    for cam in job.cameras:
        video = folder / f"imageSequence/video_{cam}.avi"
        if cam not in cameras or not 0 <= cam < len(annotations["annot3"]):
            raise UserError(f"{folder}: no camera {cam}; it has {', '.join(map(str, cameras))}")
        if not video.is_file():
            notes.append(f"camera {cam} has no video")
            continue
        if cam >= len(annotations["annot2"]):
            raise UserError(f"{folder / 'annot.mat'}: annot2 has no camera {cam}; expected those of annot3")
        joints = _joints(annotations["annot3"][cam], 3, folder, cam) / 1000
        pixels = _joints(annotations["annot2"][cam], 2, folder, cam)
        if not len(joints) or len(joints) != len(pixels):
            raise UserError(
                f"{folder / 'annot.mat'}: camera {cam} has {len(joints)} frames in annot3, {len(pixels)} in annot2; "
                "expected as many, at least one"
            )
        length = checked_length(video, cameras[cam], f"camera {cam} of {name}")
        if length < len(joints):
            notes.append(f"camera {cam} ends {len(joints) - length} frames before its poses")
        _check_projection(cameras[cam], joints, pixels, folder, cam)
        frames = np.arange(0, min(length, len(joints)), job.every)
        # A person whose root is outside of the image would give a crop that is half black.
        seen = cameras[cam].sees(joints[frames, ROOT_JOINT])
        tracks[cam] = (video, cameras[cam], frames[seen], joints[frames[seen]])
    if len(tracks) < MIN_CAMERAS:
        raise UserError(f"{folder}: {len(tracks)} of the cameras {job.cameras} have a video; expected at least two")
    # A frame that one camera sees has no other view to learn from.
    alone = _drop_single_view_frames(tracks)
    notes += [f"{alone} frames that only one camera sees"] if alone else []
    _check_views_agree(tracks, folder)
    differing = _drop_differing_frames(tracks)
    notes += [f"{differing} frames about whose person the cameras disagree"] if differing else []
    views = [_view(subject, number, cam, track, job, output) for cam, track in tracks.items() if len(track[2])]
    crops = ", ".join(f"{view.ids['cam'][0]}: {len(view.frames)}" for view in views)
    return views, f"{name}: crops by camera {crops}\n  left out: {', '.join(notes) or 'nothing'}"


def _view(subject: int, number: int, cam: int, track: tuple, job: CaptureSet, output: Path) -> CropView:
    video, camera, frames, joints = track
    seq, same = 10 * subject + number, np.ones(len(frames), dtype=int)
    ids = {"frame": frames, "cam": cam * same, "seq": seq * same, "subj": subject * same}
    ids["motion"] = np.full(len(frames), f"Seq{number}")
    background = output / BACKGROUNDS_FOLDER / f"S{subject}_Seq{number}_{cam}.png" if job.background else None
    key, name = f"seq_{seq:03d}_cam_{cam:02d}", f"camera {cam} of S{subject} Seq{number}"
    return CropView(key, name, video, camera, frames, joints[:, ROOT_JOINT], joints, ids, background)


def _joints(array: np.ndarray, axes: int, folder: Path, cam: int) -> np.ndarray:
    """Our 17 joints (N,17,axes) of an annotation (N, 28 * axes)."""
    if array.ndim != 2 or array.shape[1] != NUM_ANNOTATED * axes or not np.isfinite(array).all():
        expected = f"finite numbers of (N, {NUM_ANNOTATED * axes})"
        raise UserError(
            f"{folder / 'annot.mat'}: annot{axes} of camera {cam} has shape {array.shape}; expected {expected}"
        )
    return array.reshape(len(array), NUM_ANNOTATED, axes)[:, list(MPI_JOINTS)]


def _check_projection(camera: Camera, joints: np.ndarray, pixels: np.ndarray, folder: Path, cam: int) -> None:
    # A wrong calibration misses in every frame: about 200 of them are enough to find it.
    rows = slice(None, None, max(1, len(joints) // 200))
    miss = np.median(np.linalg.norm(camera.project(joints[rows]) - pixels[rows], axis=-1))
    if not miss <= MAX_ANNOTATION_ERROR * camera.width / 2048:
        raise UserError(
            f"{folder}: annot3 of camera {cam} projects {miss:.0f} px from annot2; expected the same place, of "
            "annot.mat and camera.calibration of one sequence"
        )


def _drop_single_view_frames(tracks: dict[int, tuple]) -> int:
    """Drop, in place, frames that fewer than two cameras have; returns their number."""
    frames, count = np.unique(np.concatenate([track[2] for track in tracks.values()]), return_counts=True)
    return _drop(tracks, frames[count < MIN_CAMERAS])


def _drop_differing_frames(tracks: dict[int, tuple]) -> int:
    """Drop, in place, frames in which the cameras' poses or places of the person differ; returns their number."""
    frames = np.concatenate([track[2] for track in tracks.values()])
    world = np.concatenate([joints @ camera.rotation + camera.center for _, camera, _, joints in tracks.values()])
    order = np.argsort(frames, kind="stable")
    numbers, start = np.unique(frames[order], return_index=True)
    if not len(numbers):
        return 0
    # Poses relative to the root, too: a set keeps these alone, and a check of it compares them.
    points = np.concatenate([world, world - world[:, [ROOT_JOINT]]], axis=1)[order]
    return _drop(tracks, numbers[view_disagreement(points, start) > MAX_VIEW_DIFFERENCE])


def _drop(tracks: dict[int, tuple], dropped: np.ndarray) -> int:
    """Drop frames of these numbers in place; returns how many they are."""
    for cam, (video, camera, frames, joints) in tracks.items():
        keep = ~np.isin(frames, dropped)
        tracks[cam] = (video, camera, frames[keep], joints[keep])
    return len(dropped)


def _check_views_agree(tracks: dict[int, tuple], folder: Path) -> None:
    """Raises UserError where most poses of two cameras differ in the world frame."""
    (first, reference), *others = tracks.items()
    for cam, track in others:
        pair = (reference, track)
        common = np.intersect1d(reference[2], track[2])
        views = [(camera, joints[np.isin(frames, common)]) for _, camera, frames, joints in pair]
        if len(common) == 0:
            continue
        world = np.stack([joints @ camera.rotation + camera.center for camera, joints in views], axis=1)
        extent = view_disagreement(world.reshape(-1, *world.shape[2:]), 2 * np.arange(len(common)))
        if np.median(extent) > MAX_VIEW_DIFFERENCE:
            raise UserError(
                f"{folder}: cameras {first} and {cam} disagree about the position of the person by "
                f"{np.median(extent):.2f} m; expected annot.mat, in mm, and camera.calibration of one sequence"
            )


def _check_arguments(job: CaptureSet, workers: int | None) -> None:
    check_size(job.size)
    if not job.subjects or len(set(job.cameras)) < max(MIN_CAMERAS, len(job.cameras)):
        raise UserError(f"subjects {job.subjects}, cameras {job.cameras}; expected a subject and two different cameras")
    check_at_least(1, every=job.every, workers=workers)
    check_box(job.box_metres)
