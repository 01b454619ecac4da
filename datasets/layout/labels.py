"""labels.h5 of the training layout: its keys, and reading it in one canonical form."""

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
POSE_SIZE = 3 * NUM_JOINTS
MAX_JOINT_DISTANCE = 3.0  # meters from the root: a larger one is in another unit

# Per-row keys: shape of one row, and type in memory.
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
FURTHER_ROW_KEYS = ("motion", "shifted")  # per row too, where a set has them
INSTANT_KEYS = ("subj", "seq", "frame")  # equal for all cameras that see one instant
FINGERPRINT_KEYS = ("seq", "cam", "frame", "bounding_box_cam")  # they identify the crops of a layout
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


def fingerprint(labels: Mapping[str, np.ndarray], keys: Iterable[str] = FINGERPRINT_KEYS) -> str:
    """Hexadecimal checksum of the arrays of `keys`; by default of the ids and boxes, which identify the crops."""
    digest = hashlib.blake2b(digest_size=16)
    for key in keys:
        digest.update(labels[key])
    return digest.hexdigest()


class Labels(Mapping):
    """The arrays of `<root>/labels.h5`, each read on first use and then kept.

    `frame`, `cam`, `seq` and `subj` are int64 (N,). `3D` is float32 (N,51): meters, camera frame, root-centered.
    `extrinsic_rot`, `extrinsic_rot_inv` and `intrinsic_crop` are (N,3,3), `bounding_box_cam` (N,4), `pose_mean` and
    `pose_std` (51,). `label_source` says where poses come from that were not measured, or is None. Files
    may store other number types and shapes of the same size, such as (N,1). Other keys come as stored, strings as str.

    Raises UserError where there is no complete layout, and for a missing or misshapen key, by name.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.path = self.root / LABELS_FILE
        _check_exists(self.root)
        with open_hdf5(self.path, "an HDF5 file, the labels of a layout") as file:
            # HDF5 gives names that are not UTF-8 as bytes.
            self._keys = tuple(map(str, file))
            source = file.attrs.get(LABEL_SOURCE)
            frames = find_dataset(file, "frame")
            self.num_rows = frames.shape[0] if frames.ndim else 0
        if not self.num_rows:
            raise UserError(f"{self.path} has no rows in 'frame'; expected one row per crop")
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
        names = ("subj", "seq", "frame", "cam")
        return f" in row {row} (" + ", ".join(f"{name} {self[name][row]}" for name in names) + ")"

    def _read(self, file: h5py.File, name: str) -> np.ndarray:
        if name not in ROW_SHAPES and name not in STATISTIC_KEYS:
            data = find_dataset(file, name)
            array = read_text(file, name) if data.dtype.kind in "SO" else np.asarray(data[()])
            if name in FURTHER_ROW_KEYS and array.shape[:1] != (self.num_rows,):
                raise UserError(f"{self.path}: '{name}' has shape {array.shape}; expected {self.num_rows} rows")
            return array
        row_shape, dtype = ROW_SHAPES.get(name, ((POSE_SIZE,), np.float32))
        shape = row_shape if name in STATISTIC_KEYS else (self.num_rows, *row_shape)
        # Ids name rows: of their own faults, the number of the row must do.
        named = {} if dtype is np.int64 or name in STATISTIC_KEYS else {"row_name": self.row_name}
        array = read_numbers(file, name, dtype, **named)
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
