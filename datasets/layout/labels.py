"""labels.h5 of the training layout: its keys, and reading it in one canonical form.

Version 1 of the layout holds crops of one person, version 2 full frames of several people.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from datasets.layout.hdf5 import find_dataset, open_hdf5, read_numbers, read_text
from utils.errors import UserError
from utils.readers import names_text
from utils.skeleton import NUM_JOINTS

LABELS_FILE = "labels.h5"
PARTS_FOLDER = ".parts"
LABEL_SOURCE = "label_source"  # attribute of the file
LAYOUT_VERSION = "layout_version"  # attribute of the file; version 1 has none
CROPS, FRAMES = 1, 2  # versions of the layout
CONTENTS = {CROPS: "crops of one person", FRAMES: "full frames of several people"}
MAX_PEOPLE = 254  # masks are bytes: 0 is nobody, p + 1 the person of column p
POSE_SIZE = 3 * NUM_JOINTS
MAX_JOINT_DISTANCE = 3.0  # meters from the root: a larger one is in another unit

# Per-row keys of version 1: shape of one row, and type in memory.
ROW_SHAPES = {
    "frame": ((), np.int64),
    "cam": ((), np.int64),
    "seq": ((), np.int64),
    "subj": ((), np.int64),
    "3D": ((POSE_SIZE,), np.float32),
    "extrinsic_rot": ((3, 3), np.float32),
    "extrinsic_rot_inv": ((3, 3), np.float32),
    "bounding_box_cam": ((4,), np.float32),
    "intrinsic_crop": ((3, 3), np.float32),
}
ROW_KEYS = tuple(ROW_SHAPES)
# Version 2: what each person of a row has, and what belongs to the frame.
PERSON_SHAPES = {
    "subj": ((), np.int64),
    "3D": ((POSE_SIZE,), np.float32),
    "box": ((4,), np.float32),
    "position": ((3,), np.float32),
    "occlusion": ((), np.float32),
}
FRAME_SHAPES = {key: ROW_SHAPES[key] for key in ("frame", "cam", "seq", "extrinsic_rot", "extrinsic_rot_inv")} | {
    "intrinsics": ((3, 3), np.float32),
    "camera_position": ((3,), np.float32),
}
FRAME_ROW_KEYS = (*FRAME_SHAPES, *PERSON_SHAPES)
OPTIONAL_FRAME_KEYS = ("3D", "box", "position", "occlusion", "camera_position")
NOBODY = -1  # `subj` of a column without a person
FURTHER_ROW_KEYS = ("motion", "shifted")  # per row too, where a set has them
INSTANT_KEYS = ("subj", "seq", "frame")  # equal for all cameras that see one instant
# They identify the images of a layout, as far as it has them.
FINGERPRINT_KEYS = {
    CROPS: ("seq", "cam", "frame", "bounding_box_cam"),
    FRAMES: ("seq", "cam", "frame", "subj", "extrinsic_rot", "intrinsics", "box"),
}
STATISTIC_KEYS = ("pose_mean", "pose_std")
POSE_KEYS = ("3D", *STATISTIC_KEYS)  # a set without 3D poses, for stage 1 only, has none of these


def is_finished(root: str | Path) -> bool:
    """Whether `root` holds a complete layout: labels.h5 is written last."""
    return (Path(root) / LABELS_FILE).is_file()


def read_statistics(root: str | Path | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """`pose_mean` and `pose_std` (51,) of the layout `root`, for `LayoutWriter.finish`; (None, None) for None."""
    if root is None:
        return None, None
    labels = Labels(root)
    return labels["pose_mean"], labels["pose_std"]


def row_shapes(version: int, num_people: int = 1) -> dict[str, tuple[tuple[int, ...], type]]:
    """Per-row keys of a version of the layout: shape of one row, and type in memory."""
    if version == CROPS:
        return ROW_SHAPES
    people = {key: ((num_people, *shape), dtype) for key, (shape, dtype) in PERSON_SHAPES.items()}
    return FRAME_SHAPES | people


def sequence_keys(labels: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Columns that are equal within a sequence, and only there. In version 2, `subj` has one column per person."""
    return ("subj", "seq") if labels["subj"].ndim == 1 else ("seq",)


def instant_keys(labels: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Columns that are equal for all cameras that see one instant, and only for them."""
    return (*sequence_keys(labels), "frame")


def fingerprint(labels: "Labels", keys: Iterable[str] | None = None) -> str:
    """Hexadecimal checksum of the arrays of `keys`; by default of those that identify the images."""
    digest = hashlib.blake2b(digest_size=16)
    if keys is None:
        keys = [key for key in FINGERPRINT_KEYS[labels.version] if key in labels or key not in OPTIONAL_FRAME_KEYS]
    for key in keys:
        digest.update(labels[key])
    return digest.hexdigest()


class Labels(Mapping):
    """The arrays of `<root>/labels.h5`, each read on first use and then kept.

    `frame`, `cam`, `seq` and `subj` are int64 (N,). `3D` is float32 (N,51): meters, camera frame, root-centered.
    `extrinsic_rot`, `extrinsic_rot_inv` and `intrinsic_crop` are (N,3,3), `bounding_box_cam` (N,4), `pose_mean` and
    `pose_std` (51,). `label_source` says where poses come from that were not measured, or is None. Files
    may store other number types and shapes of the same size, such as (N,1). Other keys come as stored, strings as str.

    Full frames (`version` 2) have P = `num_people` columns: `subj` (N,P), -1 where there is nobody, `3D` (N,P,51),
    `box` (N,P,4), `position` (N,P,3) and `occlusion` (N,P), NaN where unknown; `intrinsics` (N,3,3), pixels;
    `camera_position` (N,3), world, meters.

    Raises UserError where there is no complete layout, for a version that is none, and for a missing or misshapen key,
    by name.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.path = self.root / LABELS_FILE
        _check_exists(self.root)
        with open_hdf5(self.path, "an HDF5 file, the labels of a layout") as file:
            # HDF5 gives names that are not UTF-8 as bytes.
            self._keys = tuple(map(str, file))
            source = file.attrs.get(LABEL_SOURCE)
            self.version = self._read_version(file)
            frames = find_dataset(file, "frame")
            self.num_rows = frames.shape[0] if frames.ndim else 0
            self.num_people = 1 if self.version == CROPS else self._count_people(file)
        if not self.num_rows:
            raise UserError(f"{self.path} has no rows in 'frame'; expected one row per crop")
        self.row_shapes = row_shapes(self.version, self.num_people)
        self.label_source = None if source is None else str(source)
        self._arrays: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._keys:
            raise UserError(f"{self.path} has no '{name}'; it has {names_text(self._keys)}")
        if name not in self._arrays:
            with open_hdf5(self.path, "an HDF5 file, the labels of a layout") as file:
                self._arrays[name] = self._read(file, name)
        return self._arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def row_name(self, row: int) -> str:
        """Number and ids of a row, for messages."""
        names = (*instant_keys(self), "cam")
        return f" in row {row} (" + ", ".join(f"{name} {self[name][row]}" for name in names) + ")"

    def expect_version(self, version: int) -> None:
        """Raises UserError for a layout of another version than `version`."""
        if self.version != version:
            raise UserError(
                f"{self.root} is a layout of version {self.version} ({CONTENTS[self.version]}); "
                f"expected version {version} ({CONTENTS[version]})"
            )

    def _read_version(self, file: h5py.File) -> int:
        version = np.asarray(file.attrs.get(LAYOUT_VERSION, CROPS))
        if version.size != 1 or version.item() not in CONTENTS:
            known = " or ".join(f"{number} ({content})" for number, content in CONTENTS.items())
            raise UserError(f"{self.path}: '{LAYOUT_VERSION}' is {version.tolist()!r}; expected {known}")
        return int(version.item())

    def _count_people(self, file: h5py.File) -> int:
        shape = find_dataset(file, "subj").shape
        if len(shape) != 2 or not 1 <= shape[1] <= MAX_PEOPLE:
            raise UserError(
                f"{self.path}: 'subj' has shape {shape}; expected ({self.num_rows}, people), 1 to {MAX_PEOPLE} people"
            )
        return shape[1]

    def _read(self, file: h5py.File, name: str) -> np.ndarray:
        if name not in self.row_shapes and name not in STATISTIC_KEYS:
            data = find_dataset(file, name)
            array = read_text(file, name) if data.dtype.kind in "SO" else np.asarray(data[()])
            if name in FURTHER_ROW_KEYS and array.shape[:1] != (self.num_rows,):
                raise UserError(f"{self.path}: '{name}' has shape {array.shape}; expected {self.num_rows} rows")
            return array
        row_shape, dtype = self.row_shapes.get(name, ((POSE_SIZE,), np.float32))
        shape = row_shape if name in STATISTIC_KEYS else (self.num_rows, *row_shape)
        # Ids name rows: of their own faults, the number of the row must do.
        named = {} if dtype is np.int64 or name in STATISTIC_KEYS else {"row_name": self.row_name}
        unknown = self.version == FRAMES and name in PERSON_SHAPES
        array = read_numbers(file, name, dtype, allow_nan=unknown, **named)
        # Published files store (N,1), (N,9) or other types: equal sizes are enough.
        if array.size != np.prod(shape) or (name not in STATISTIC_KEYS and array.shape[:1] != shape[:1]):
            raise UserError(f"{self.path}: '{name}' has shape {array.shape}; expected {shape}")
        if name == "pose_std" and (array <= 0).any():
            raise UserError(f"{self.path}: 'pose_std' is {array.min():g}; expected more than 0")
        return np.ascontiguousarray(array.reshape(shape))


def _check_exists(root: Path) -> None:
    if is_finished(root):
        return
    if (root / PARTS_FOLDER).is_dir():
        raise UserError(f"{root} is unfinished (no {LABELS_FILE} yet); run the command that writes it again to resume")
    if not root.is_dir():
        raise UserError(f"no folder {str(root)!r}; expected a training layout with {LABELS_FILE}")
    raise UserError(f"no {LABELS_FILE} in {str(root)!r}; expected a training layout (render or prepare one)")
