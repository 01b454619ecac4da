"""Converts Ski-PosePTZ-Camera, alpine skiers filmed by six rotating and zooming cameras, to the training layout.

    <source>/<split>/labels.h5    seq, cam, frame, subj, 3D, 2D, cam_intrinsic, cam_position, R_cam_2_world
    <source>/<split>/seq_000/cam_00/image_000000.png    256 x 256 px

Conventions, as in public readers of the set: `3D` (51,) is in meters, camera frame, relative to the root, with joints
in the order of utils/skeleton.py. `2D` (34,) is from 0 to 1 over the image. `cam_intrinsic` (9,) maps normalized camera
coordinates to 0..1. `R_cam_2_world` (9,) and `cam_position` (3,) are the camera's pose in a world whose z axis is
assumed to point up. No depth is given: the position of the root follows from `3D`, `2D` and the intrinsics.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from tqdm import tqdm

from datasets.cameras.agreement import MAX_VIEW_DIFFERENCE, MIN_CAMERAS, view_disagreement
from datasets.cameras.camera import ROTATION_TOLERANCE, Camera, opencv, rotation_error
from datasets.cameras.crop_camera import BOX_METRES, CropCamera, crop_camera, crop_rows, project_to_crop
from datasets.layout.arguments import check_box, check_split
from datasets.layout.groups import group_rows
from datasets.layout.hdf5 import find_dataset, open_hdf5, read_numbers
from datasets.layout.job import REPORT_FILE, claim_folder, holds_set, read_text_report, write_text_report
from datasets.layout.labels import INSTANT_KEYS, LABELS_FILE, read_statistics
from datasets.layout.png import read_png
from datasets.layout.writer import MIN_SIZE, LayoutWriter, check_size
from datasets.video.cropping import CropMap, crop_map
from utils.errors import UserError
from utils.files import write_text
from utils.locks import writing
from utils.readers import read_json

SPLITS = ("train", "test")
ARCHIVE_FOLDER = "Ski-PosePTZ-CameraDataset-png"  # the folder in the archive
_IMAGE_KEYS = ("seq", "cam", "frame")
OUTSIDE_FILE = "outside.json"  # beside the pieces: the fraction of each one's area outside of the images
MAX_REPROJECTION = 0.05  # of the image side: rows with a joint that misses by more are left out


def prepare_ski(
    source: str | Path,
    output: str | Path,
    size: int = 128,
    split: str = "train",
    statistics: str | Path | None = None,
    box_metres: float = BOX_METRES,
    progress: bool = True,
) -> str:
    """Convert one split to the training layout `output`. Returns a report.

    There are no backgrounds, since the cameras move. size: side of the crops, pixels. statistics: a layout (the
    training split) whose `pose_mean` and `pose_std` are copied; None: computed from this split. box_metres: width of a
    crop at the skier's distance, meters. An interrupted call resumes where it stopped, and a finished set stays as it
    is, as does its report. Raises UserError where labels are missing, or inconsistent under the conventions above.
    """
    check_size(size)
    check_box(box_metres)
    check_split(split, SPLITS)
    # A missing package is reported before anything is written.
    opencv()
    output, mean_std = Path(output), read_statistics(statistics)
    mark = output, "ski.json", {"split": split, "size": size, "box_metres": box_metres}, statistics
    # A finished set needs no source, and where something else is, none is read.
    if not holds_set(*mark):
        folder = split_folder(source, split)
        labels, roots, reasons = _usable_labels(folder)
    with writing(output):
        if claim_folder(*mark):
            # Sets of before 29 November 2026 have no report.
            has_report = (output / REPORT_FILE).exists()
            return read_text_report(output) if has_report else f"{output} is finished already"
        outside = _write_crops(folder, labels, roots, output, size, box_metres, progress)
        report = _report(len(roots), reasons, outside)
        write_text_report(output, report)
        LayoutWriter(output, size, total=len(roots)).finish(*mean_std, keys=map(_piece, np.unique(labels.ids["seq"])))
    return report


class SkiLabels(NamedTuple):
    """Rows of one split. ids: (N,) int64 by name. poses: (N,17,3) meters, camera frame, root at zero. points: (N,17,2)
    in 0..1. intrinsics: (N,3,3) to 0..1. rotations: (N,3,3) world -> camera. centers: (N,3) meters, world."""

    ids: dict[str, np.ndarray]
    poses: np.ndarray
    points: np.ndarray
    intrinsics: np.ndarray
    rotations: np.ndarray
    centers: np.ndarray

    def take(self, rows: np.ndarray) -> "SkiLabels":
        return SkiLabels({name: ids[rows] for name, ids in self.ids.items()}, *(array[rows] for array in self[1:]))


def split_folder(source: str | Path, split: str) -> Path:
    """The folder of a split. `source` is the unpacked archive, the folder that holds it, or the split's own folder."""
    check_split(split, SPLITS)
    source = Path(source)
    folders = [source / split, source / ARCHIVE_FOLDER / split]
    # Nothing but the name tells the split of a folder: any other name may be that of the other one.
    folders += [source] if Path(os.path.abspath(source)).name == split else []
    for folder in folders:
        if (folder / LABELS_FILE).is_file():
            return folder
    raise UserError(
        f"no {split}/{LABELS_FILE} in {str(source)!r}; expected the unpacked {ARCHIVE_FOLDER}, or its folder {split!r}"
    )


def read_labels(path: str | Path) -> SkiLabels:
    """Read labels.h5. Raises UserError for a missing or misshapen key."""
    with open_hdf5(path, "an HDF5 file, the labels of Ski-PosePTZ") as file:
        ids = find_dataset(file, "seq")
        if ids.ndim == 0 or not (rows := ids.size):
            raise UserError(f"{path} has no rows in 'seq', which has shape {ids.shape}; expected one per image")
        ids = {name: _read(file, name, (rows,), np.int64) for name in ("frame", "cam", "seq", "subj")}
        poses = _read(file, "3D", (rows, 17, 3))
        labels = SkiLabels(
            ids,
            poses - poses[:, :1],
            _read(file, "2D", (rows, 17, 2)),
            _read(file, "cam_intrinsic", (rows, 3, 3)),
            _read(file, "R_cam_2_world", (rows, 3, 3)).swapaxes(1, 2),
            _read(file, "cam_position", (rows, 3)),
        )
    _check_matrices(path, labels)
    return labels


def _read(file: h5py.File, name: str, shape: tuple[int, ...], dtype: type = np.float64) -> np.ndarray:
    values = read_numbers(file, name, dtype)
    if values.size != np.prod(shape):
        raise UserError(f"{file.filename}: '{name}' has shape {values.shape}; expected finite numbers of {shape}")
    return values.reshape(shape)


def _check_matrices(path: str | Path, labels: SkiLabels) -> None:
    """Raises UserError for intrinsics that no camera has, and for what is no rotation."""
    singular = np.abs(np.linalg.det(labels.intrinsics)) < 1e-9
    if singular.any():
        raise UserError(f"{path}: 'cam_intrinsic' of row {np.argmax(singular)} is singular; expected focal lengths")
    error = rotation_error(labels.rotations)
    if not error.max() <= ROTATION_TOLERANCE:
        raise UserError(
            f"{path}: 'R_cam_2_world' of row {np.argmax(error)} differs from a rotation by {error.max():.3g}; expected "
            "an orthonormal matrix of determinant 1"
        )


def root_positions(labels: SkiLabels) -> np.ndarray:
    """Positions (N,3) of the roots, meters, camera frame, at which the relative poses project onto the 2D points.

    Linear least squares over all joints of x' (Z + r_z) = X + r_x, and the same in y. (x', y') are the normalized 2D
    points, (X, Y, Z) the joints relative to the root, and r is the root.
    """
    homogeneous = np.concatenate([labels.points, np.ones_like(labels.points[..., :1])], axis=-1)
    rays = homogeneous @ np.linalg.inv(labels.intrinsics).swapaxes(1, 2)
    rays = rays[..., :2] / rays[..., 2:]
    left = np.concatenate([np.broadcast_to(np.eye(2), (*rays.shape, 2)), -rays[..., None]], axis=-1)
    right = rays * labels.poses[..., 2:] - labels.poses[..., :2]
    left, right = left.reshape(len(rays), -1, 3), right.reshape(len(rays), -1, 1)
    return (np.linalg.pinv(left) @ right)[..., 0]


def reprojection_error(labels: SkiLabels, roots: np.ndarray) -> np.ndarray:
    """Largest distance (N,) between a projected joint and its 2D point, as a fraction of the image side."""
    seen = project_to_crop(labels.poses + roots[:, None], labels.intrinsics)
    error = np.linalg.norm(seen - labels.points, axis=-1).max(axis=1)
    return np.where(roots[:, 2] > 0, error, np.inf)


def _usable_labels(folder: Path) -> tuple[SkiLabels, np.ndarray, dict[str, int]]:
    """The rows of a split that become crops, their roots (N,3), and numbers of left-out rows by reason.

    Raises UserError where most rows do not fit the cameras, or each other.
    """
    labels = read_labels(folder / LABELS_FILE)
    # The labels are relative to the root; crops need to know where the root is.
    roots = root_positions(labels)
    kept, reasons = _usable_rows(folder, labels, roots)
    agree = _views_agree(folder, labels.take(kept))
    reasons["of instants about whose pose the cameras disagree"] = int((~agree).sum())
    kept = kept[agree]
    return labels.take(kept), roots[kept], reasons


def _usable_rows(folder: Path, labels: SkiLabels, roots: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Rows to keep, and numbers of left-out rows by reason. Raises UserError where most do not fit the cameras."""
    _check_sequences(folder, labels)
    error = reprojection_error(labels, roots)
    if np.median(error) > MAX_REPROJECTION:
        raise UserError(
            f"{folder / LABELS_FILE}: '3D' projected by 'cam_intrinsic' misses '2D' by {np.median(error):.2f} of the "
            f"image side in the median row; expected at most {MAX_REPROJECTION} (2D and intrinsics from 0 to 1)"
        )
    # Single rows may be mislabeled. If most rows miss, the convention is another one: the error above.
    fits = error <= MAX_REPROJECTION
    exists = np.array([_image_file(folder, *row).is_file() for row in _places(labels)])
    if not exists.any():
        raise UserError(
            f"no {_image_file(folder, *_places(labels)[0])}, nor any other; expected the unpacked {ARCHIVE_FOLDER}"
        )
    usable = exists & fits
    # A second row of an image is no second camera of its instant.
    images = group_rows(labels.ids, _IMAGE_KEYS, np.flatnonzero(usable)).first
    instants = group_rows(labels.ids, INSTANT_KEYS, images)
    several = np.repeat(instants.count >= MIN_CAMERAS, instants.count)
    kept = np.sort(instants.order[several])
    reasons = {
        "without an image": int((~exists).sum()),
        "whose 3D and 2D disagree": int((exists & ~fits).sum()),
        "of an image that has one already": int(usable.sum()) - len(images),
        "that are alone in their instant": len(images) - len(kept),
    }
    if len(kept) == 0:
        raise UserError(f"{folder} has no instant that two cameras see; left out: {_list_reasons(reasons)}")
    return kept, reasons


def _check_sequences(folder: Path, labels: SkiLabels) -> None:
    first = group_rows(labels.ids, ("seq", "subj")).first
    seq, subj = labels.ids["seq"][first], labels.ids["subj"][first]
    shared = np.flatnonzero(np.diff(seq) == 0)
    if len(shared):
        raise UserError(
            f"{folder / LABELS_FILE}: seq {seq[shared[0]]} has subjects {subj[shared[0]]} and "
            f"{subj[shared[0] + 1]}; expected one subject per sequence"
        )


def _views_agree(folder: Path, labels: SkiLabels) -> np.ndarray:
    """Whether the cameras of each row's instant (N,) agree about the pose in the world frame.

    Raises UserError where most do not.
    """
    world = labels.poses @ labels.rotations
    instants = group_rows(labels.ids, INSTANT_KEYS)
    difference = view_disagreement(world[instants.order], instants.start)
    # The median: single wrong labels are left out, a wrong convention is an error.
    typical = np.median(difference)
    if typical > MAX_VIEW_DIFFERENCE:
        raise UserError(
            f"{folder / LABELS_FILE}: cameras of one instant disagree about '3D' by {typical:.2f} m in the "
            "median; expected camera-frame poses in meters that 'R_cam_2_world' rotates into one pose"
        )
    agree = np.empty(len(world), dtype=bool)
    agree[instants.order] = np.repeat(difference <= MAX_VIEW_DIFFERENCE, instants.count)
    return agree


def _write_crops(
    folder: Path, labels: SkiLabels, roots: np.ndarray, output: Path, size: int, box_metres: float, progress: bool
) -> float:
    """Write the sequences that the layout lacks. Returns the fraction of all crops' area outside of the images."""
    writer, crop = LayoutWriter(output, size), crop_camera(roots, box_metres)
    file, count = writer.parts / OUTSIDE_FILE, len(roots)
    outside, total = _read_fractions(file), 0.0
    with tqdm(total=count, unit="crop", desc=f"prepare {folder.name}", disable=not progress) as bar:
        for seq in np.unique(labels.ids["seq"]):
            rows, key = np.flatnonzero(labels.ids["seq"] == seq), _piece(seq)
            own = labels.take(rows)
            # A sequence is a piece: an interrupted call resumes at the first one that is missing.
            if key not in outside or not writer.has(key, own.ids["frame"]):
                crop_of_rows = CropCamera(*(array[rows] for array in crop))
                crops, labeled, outside[key] = _crop_rows(folder, own, roots[rows], crop_of_rows, size)
                write_text(file, json.dumps(outside))
                writer.add(crops, None, labeled, key)
            total += outside[key] * len(rows)
            bar.update(len(rows))
    return total / count


def _piece(seq: int) -> str:
    return f"seq_{seq:03d}"


def _read_fractions(file: Path) -> dict[str, float]:
    """What an interrupted call has stored in `OUTSIDE_FILE`."""
    held = read_json(file, dict) if file.exists() else {}
    return {key: value for key, value in held.items() if isinstance(value, float) and 0 <= value <= 1}


def _crop_rows(
    folder: Path, labels: SkiLabels, roots: np.ndarray, crop: CropCamera, size: int
) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
    """Crops (N,size,size,3) uint8, their rows of labels.h5, and the fraction of their area outside of the images."""
    crops, outside = np.empty((len(roots), size, size, 3), np.uint8), 0.0
    for index, place in enumerate(_places(labels)):
        image = read_png(str(_image_file(folder, *place)))
        if min(image.shape[:2]) < MIN_SIZE:
            raise UserError(
                f"{_image_file(folder, *place)} is {image.shape[1]}x{image.shape[0]} px; expected 256x256 px"
            )
        camera = _camera(labels, index, image.shape[:2])
        samples = crop_map(camera, crop.rotation[index], crop.intrinsic_crop[index], size)
        crops[index] = samples.sample(image)
        outside += fraction_outside(samples, camera) / len(roots)
    rows = crop_rows(labels.rotations, labels.poses + roots[:, None], crop)
    return crops, {**rows, **labels.ids}, outside


def _camera(labels: SkiLabels, row: int, shape: tuple[int, int]) -> Camera:
    """The camera of a row for an image of `shape` (H,W). 0..1 becomes pixels, whose centers are whole numbers."""
    height, width = shape
    # 0 and 1 are the outer edges of the image, whereas pixel coordinate 0 is the center of the first pixel.
    to_pixels = np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]])
    intrinsics = to_pixels @ labels.intrinsics[row]
    return Camera(labels.rotations[row], labels.centers[row], intrinsics, np.zeros(5), width, height)


def fraction_outside(samples: CropMap, camera: Camera) -> float:
    """Fraction of a crop's pixels that lie outside of the camera's image."""
    pixels, last = samples.pixels + samples.box[:2], np.array([camera.width, camera.height]) - 1
    return 1 - float(((pixels >= 0) & (pixels <= last)).all(-1).mean())


def _places(labels: SkiLabels) -> np.ndarray:
    return np.stack([labels.ids[name] for name in _IMAGE_KEYS], axis=1)


def _image_file(folder: Path, seq: int, cam: int, frame: int) -> Path:
    return folder / f"seq_{seq:03d}/cam_{cam:02d}/image_{frame:06d}.png"


def _list_reasons(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} rows {reason}" for reason, count in reasons.items() if count) or "no row"


def _report(kept: int, reasons: dict[str, int], outside: float) -> str:
    lines = [f"{kept} crops; left out: {_list_reasons(reasons)}"]
    if outside > 0.01:
        lines.append(f"{outside:.0%} of the crops' area lies outside of the images and is black")
    return "\n".join(lines)
