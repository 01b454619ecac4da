"""Human3.6M's metadata.xml: the file names of all sequences and the calibration of all cameras.

Its structure is known from public descriptions of the data set. The file itself comes with the data set's software,
and its license forbids redistribution.
"""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from datasets.cameras.camera import Camera
from utils.errors import UserError
from utils.readers import read_xml, reason

METADATA_FILE = "metadata.xml"
CAMERA_IDS = ("54138969", "55011271", "58860488", "60457274")
ACTIONS = range(2, 17)  # action 1 is "_ALL"; rows after the last action hold no sequences
NUM_SUBJECTS = 11
INTRINSICS_START, NUM_VALUES = 264, 300


class RecordedSequence(NamedTuple):
    """One sequence of a subject. seq: number, unique over all subjects. name: of its files, such as "Directions 1".
    motion: the action, such as "Directions"."""

    seq: int
    subject: int
    name: str
    motion: str


class Metadata(NamedTuple):
    """names: {(action, subaction): {subject: file name}}. w0: (300,) calibration of all cameras."""

    names: dict[tuple[int, int], dict[int, str]]
    w0: np.ndarray

    def sequences(self, subject: int) -> list[RecordedSequence]:
        """Sequences of a subject in the order of the table. Raises UserError for an unknown subject."""
        rows = list(self.names.values())
        found = [
            RecordedSequence(len(rows) * subject + row, subject, names[subject], _motion(names))
            for row, names in enumerate(rows)
            if subject in names
        ]
        if not found:
            known = sorted({number for names in rows for number in names})
            raise UserError(f"subject {subject} is not in {METADATA_FILE}; it has {', '.join(map(str, known))}")
        return found

    def camera(self, subject: int, cam: int, width: int, height: int) -> Camera:
        """Camera `cam` (0..3, order of CAMERA_IDS) for the videos of `subject`, of width x height pixels."""
        start = 6 * (NUM_SUBJECTS * cam + subject - 1)
        angles, center = self.w0[start : start + 3], self.w0[start + 3 : start + 6]
        # The extrinsics come first, one per camera and subject: cameras were moved between subjects. Intrinsics follow.
        start = INTRINSICS_START + 9 * cam
        fx, fy, cx, cy, k1, k2, k3, p1, p2 = self.w0[start : start + 9]
        intrinsics = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        return Camera(
            rotation_from_angles(angles), center / 1000, intrinsics, np.array([k1, k2, p1, p2, k3]), width, height
        )


def read_metadata(path: Path) -> Metadata:
    """Read metadata.xml. Raises UserError for whatever is missing in it."""
    root = read_xml(path, f"Human3.6M's {METADATA_FILE}")
    table, w0 = root.find("mapping"), root.find("w0")
    if table is None or w0 is None:
        raise UserError(f"{path} has no <mapping> or no <w0>; expected Human3.6M's {METADATA_FILE}")
    values = re.sub(r"[\[\],;]", " ", w0.text or "").split()
    if len(values) != NUM_VALUES:
        raise UserError(f"{path}: <w0> has {len(values)} numbers; expected {NUM_VALUES}")
    try:
        w0 = np.array(values, dtype=np.float64)
    except ValueError as error:
        raise UserError(f"{path}: <w0> holds {reason(error)}; expected {NUM_VALUES} numbers") from error
    if not np.isfinite(w0).all():
        raise UserError(f"{path}: <w0> holds NaN or infinity; expected {NUM_VALUES} finite numbers")
    return Metadata(_names(table, path), w0)


def find_metadata(source: Path, given: str | Path | None = None) -> Path:
    """The path of metadata.xml: `given`, or in `source` or one folder below or above it."""
    if given is not None:
        if not Path(given).is_file():
            raise UserError(f"no file {str(given)!r}; expected Human3.6M's {METADATA_FILE}")
        return Path(given)
    for path in (source / METADATA_FILE, *sorted(source.glob(f"*/{METADATA_FILE}")), source.parent / METADATA_FILE):
        if path.is_file():
            return path
    raise UserError(
        f"no {METADATA_FILE} in {str(source)!r}; expected the file of Human3.6M's software there, or --metadata FILE"
    )


def rotation_from_angles(angles: np.ndarray) -> np.ndarray:
    """Rotation (3,3) world -> camera of three angles in radians: Rx @ Ry @ Rz."""
    import roma
    import torch

    return roma.euler_to_rotmat("XYZ", torch.as_tensor(np.asarray(angles, dtype=np.float64))).numpy()


def _names(table: ElementTree.Element, path: Path) -> dict[tuple[int, int], dict[int, str]]:
    """File names by (action, subaction) and subject. The first row holds the heads: action, subaction, subjects."""
    rows = [[(cell.text or "").strip() for cell in row] for row in table]
    subjects = [int(cell[1:]) for cell in rows[0][2:] if re.fullmatch(r"S\d+", cell)] if rows else []
    names: dict[tuple[int, int], dict[int, str]] = {}
    for row in rows[1:]:
        if len(row) < 2 or not (row[0].isdecimal() and row[1].isdecimal()) or int(row[0]) not in ACTIONS:
            continue
        found = {subject: name for subject, name in zip(subjects, row[2:], strict=False) if name}
        names.setdefault((int(row[0]), int(row[1])), found)
    if not names:
        raise UserError(f"{path}: <mapping> has no row of a sequence; expected action, subaction and file names")
    return names


def _motion(names: dict[int, str]) -> str:
    """The most frequent name without its number: S1 has "TakingPhoto" where the others have "Photo"."""
    plain = Counter(re.sub(r" \d+$", "", name) for name in names.values())
    return plain.most_common(1)[0][0]
