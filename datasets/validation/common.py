"""What the checks of both versions of the layout share."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from datasets.cameras.agreement import MIN_CAMERAS
from datasets.cameras.camera import ROTATION_TOLERANCE, rotation_error
from datasets.layout.groups import Groups, group_rows
from datasets.layout.labels import POSE_KEYS, STATISTIC_KEYS, Labels, instant_keys
from datasets.layout.packed import how_to_repack, open_images
from utils.errors import UserError

JPEG_ROUNDING = 2.0  # levels, in the mean: versions of Pillow decode a JPEG differently


class TrainingImages:
    """The images that training reads: packed ones, each compared with its file where that is kept, or the files."""

    def __init__(self, labels: Labels):
        self.labels = labels
        self.files, self._packed = open_images(labels)

    def has(self, kind: str) -> bool:
        """Whether there is any image of a kind: packed, or a file beside that of the first row."""
        path = Path(self.files.path(0, kind))
        # All names of a kind begin alike: "bg", which all frames of a camera share, has no number.
        return kind in self._packed or any(path.parent.glob(f"{path.stem.rstrip('0123456789')}*{path.suffix}"))

    def read(self, row: int, kind: str) -> np.ndarray:
        """One image as `LayoutImages` reads it. Raises UserError where it is missing, damaged, or packed of another."""
        path = self.files.path(row, kind)
        if kind not in self._packed:
            return self.files.read(row, kind)
        packed = self._packed[kind].take(torch.tensor([row]))[0].numpy()
        if not os.path.exists(path):
            return packed
        image = self.files.read(row, kind)
        if _differ(image, packed, path):
            raise UserError(f"{path} differs from its packed {self.files.name}; {how_to_repack(self.labels)}")
        return image


def _differ(image: np.ndarray, packed: np.ndarray, path: str) -> bool:
    if path.endswith(".png"):
        return not np.array_equal(image, packed)
    return np.abs(image.astype(int) - packed).mean() > JPEG_ROUNDING


def check_labels(labels: Labels, required: Sequence[str]) -> None:
    """Read all keys. Raises UserError for one of `required`, or of the statistics of poses, that is missing."""
    has_poses = any(name in labels for name in POSE_KEYS)
    absent = () if has_poses else POSE_KEYS
    # The reader checks what it reads.
    for name in dict.fromkeys((*required, *STATISTIC_KEYS, *labels)):
        if name not in absent:
            labels[name]


def check_rotations(labels: Labels) -> None:
    """Raises UserError for a matrix that is no rotation, or not the inverse that it should be."""
    rotation, inverse = labels["extrinsic_rot"], labels["extrinsic_rot_inv"]
    check_rows(
        labels,
        rotation_error(rotation),
        "'extrinsic_rot' differs from a rotation by {:.3g}{}; expected an orthonormal matrix of determinant 1",
        ROTATION_TOLERANCE,
    )
    check_rows(
        labels,
        np.abs(rotation @ inverse - np.eye(3)).max(axis=(1, 2)),
        "'extrinsic_rot_inv' differs from the inverse of 'extrinsic_rot' by {:.3g}{}; expected its inverse",
        ROTATION_TOLERANCE,
    )


def check_instants(labels: Labels) -> Groups:
    """Rows by instant. Raises UserError for two rows of one instant and camera."""
    instants = group_rows(labels, instant_keys(labels), within="cam")
    repeated = np.diff(labels["cam"][instants.order]) == 0
    # The same camera number across a border between two instants is no repetition.
    repeated[instants.start[1:] - 1] = False
    if repeated.any():
        row = instants.order[np.argmax(repeated) + 1]
        raise UserError(f"{labels.path}: duplicate row{labels.row_name(row)}; expected one per instant and camera")
    return instants


def check_views(labels: Labels, instants: Groups) -> None:
    """Raises UserError for an instant that too few cameras see."""
    few = instants.count < MIN_CAMERAS
    if few.any():
        row = instants.first[np.argmax(few)]
        raise UserError(
            f"{labels.path}: {few.sum()} of {len(few)} instants have fewer than {MIN_CAMERAS} cameras, "
            f"the first{labels.row_name(row)}; expected several views of each"
        )


def check_rows(labels: Labels, error: np.ndarray, message: str, limit: float) -> None:
    """Raise UserError for the first row whose `error` (N,) exceeds `limit` or is NaN."""
    # Negated, so that NaN is bad too.
    bad = ~(error <= limit)
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(f"{labels.path}: {message.format(error[row], labels.row_name(row))}")


def listed(names: Sequence[str]) -> str:
    """Names as text, such as "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def count_table(labels: Labels, instants: Groups, title: str, groups: np.ndarray, images: str) -> list[str]:
    """Lines of a table: of the rows of each of `groups` (N,), and of all, sequences, instants, cameras and `images`."""
    lines = [f"{title:>7} {'sequences':>9} {'instants':>9} {'cameras':>7} {images:>9}"]
    for group in [*np.unique(groups), None]:
        rows = np.full(len(groups), True) if group is None else groups == group
        sequences, cameras = (len(np.unique(labels[name][rows])) for name in ("seq", "cam"))
        name = "all" if group is None else group
        lines.append(f"{name:>7} {sequences:>9} {rows[instants.first].sum():>9} {cameras:>7} {rows.sum():>9}")
    return lines
