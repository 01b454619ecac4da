"""Writing labels.h5 in pieces, so that a killed job resumes where it stopped.

`labels.h5` is written last, so that a layout with this file is complete. Until then, `<root>/.parts/` records what is
done.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets.layout.labels import (
    CONTENTS,
    CROPS,
    LABEL_SOURCE,
    LABELS_FILE,
    LAYOUT_VERSION,
    PARTS_FOLDER,
    POSE_SIZE,
    is_finished,
)
from utils.errors import UserError
from utils.files import save_npz, write_atomically, write_text
from utils.readers import read_arrays, read_json

Rows = dict[str, np.ndarray]  # per-row arrays (N,...) by key
Shapes = dict[str, tuple[tuple[int, ...], type]]  # of one row, and type in memory


class PieceWriter:
    """What the writers of both versions share: the rows of pieces, and labels.h5 made of them.

    A piece (usually a sequence) is done when its part file exists, which is written after the images of the piece.

    job: what all pieces have in common, such as {"size": 128}, in types that JSON has. total: number of rows of the
    complete layout, checked by `finish`; None: any. threads: number of threads that encode images. Raises UserError
    where `root` holds a finished layout or one of another job.
    """

    version = CROPS

    def __init__(self, root: str | Path, job: dict[str, Any], total: int | None = None, threads: int = 2):
        self.root, self.total, self.threads = Path(root), total, threads
        self.parts = self.root / PARTS_FOLDER
        if is_finished(self.root):
            raise UserError(f"{self.root} already holds a finished layout; choose another folder or remove it first")
        self.parts.mkdir(parents=True, exist_ok=True)
        self._check_same_job(job)

    @property
    def finished_keys(self) -> list[str]:
        """Keys of the pieces that are on disk, sorted."""
        return sorted(path.stem for path in self.parts.glob("*.npz"))

    def has(self, key: str, frames: np.ndarray | None = None) -> bool:
        """Whether the piece `key` is on disk, and can be read. frames: (N,) its `frame`, if other rows do not count."""
        if not self._part(key).exists():
            return False
        try:
            # A power cut may leave an empty file. All of it is read, since `finish` will need all.
            held = self._load(key).get("frame")
        except UserError:
            return False
        return frames is None or np.array_equal(held, frames)

    def finish(
        self,
        pose_mean: np.ndarray | None = None,
        pose_std: np.ndarray | None = None,
        label_source: str | None = None,
        keys: Iterable[str] | None = None,
    ) -> None:
        """Write labels.h5 from the pieces, ordered by key, and delete the part files.

        pose_mean, pose_std: (51,) meters, for a test set those of the training set. None: computed from these rows,
        with the std of the root set to 1. A set without poses has no statistics. label_source: where `3D` comes from
        if it was not measured, such as "triangulated ..."; readers repeat it. keys: of the pieces that make the set,
        each of which must be there, while others are left out; None: all that are on disk.
        """
        keys = self.finished_keys if keys is None else sorted(keys)
        lengths = [len(self._load(key, ["frame"])["frame"]) for key in keys]
        if not keys or (self.total is not None and sum(lengths) != self.total):
            raise UserError(f"{self.root} has {sum(lengths)} rows; expected {self.total or 'at least one'}")
        given = None if pose_mean is None or pose_std is None else (pose_mean, pose_std)
        write_atomically(
            self.root / LABELS_FILE, lambda part: self._write_labels(part, keys, lengths, given, label_source)
        )
        shutil.rmtree(self.parts)

    def _save(self, key: str, rows: Rows) -> None:
        write_atomically(self._part(key), lambda part: save_npz(part, rows, compressed=False))

    def _part(self, key: str) -> Path:
        return self.parts / f"{key}.npz"

    def _load(self, key: str, names: list[str] | None = None) -> Rows:
        expected = "rows of a piece; remove it to write the piece again"
        rows = read_arrays(self._part(key), names, expected)
        if len({array.shape[:1] for array in rows.values()} | {()}) != 2:
            raise UserError(f"{str(self._part(key))!r} has arrays of different lengths; expected {expected}")
        return rows

    def _check_same_job(self, job: dict[str, Any]) -> None:
        job_file = self.parts / "job.json"
        if self.version != CROPS:
            job = job | {LAYOUT_VERSION: self.version}
        if not job_file.exists():
            write_text(job_file, json.dumps(job))
            return
        held = read_json(job_file, dict)
        version = held.get(LAYOUT_VERSION, CROPS)
        if version != self.version:
            raise UserError(
                f"{self.root} is an unfinished layout of version {version}; "
                f"expected version {self.version} ({CONTENTS[self.version]}), or another folder"
            )
        if held.get("size") != job["size"]:
            held, got = (_size_text(size) for size in (held.get("size"), job["size"]))
            images = "crops" if self.version == CROPS else "frames"
            raise UserError(f"{self.root} is unfinished with {images} of {held} px; got {got} px, expected {held}")

    def _write_labels(
        self, path: Path, keys: list[str], lengths: list[int], statistics: tuple | None, source: str | None
    ) -> None:
        with h5py.File(path, "w") as file:
            if self.version != CROPS:
                file.attrs[LAYOUT_VERSION] = self.version
            self._write_rows(file, keys, lengths)
            if "3D" in file:
                if source:
                    file.attrs[LABEL_SOURCE] = source
                mean, std = statistics or pose_statistics(file["3D"])
                file["pose_mean"] = np.asarray(mean, dtype=np.float32).reshape(POSE_SIZE)
                file["pose_std"] = np.asarray(std, dtype=np.float32).reshape(POSE_SIZE)

    def _row_shapes(self, keys: list[str]) -> Shapes:
        """Shapes of the rows of all pieces `keys`."""
        raise NotImplementedError

    def _write_rows(self, file: h5py.File, keys: list[str], lengths: list[int]) -> None:
        shapes, first = self._row_shapes(keys), self._load(keys[0])
        for name, array in first.items():
            shape = shapes[name][0] if name in shapes else array.shape[1:]
            # Strings may be longer in another piece than in the first: the type must hold all of them.
            dtypes = {array.dtype} if name in shapes else {self._load(key, [name])[name].dtype for key in keys}
            file.create_dataset(name, (sum(lengths), *shape), np.result_type(*dtypes))
        start = 0
        for key, length in zip(keys, lengths, strict=True):
            part = self._load(key)
            if set(part) != set(first):
                raise UserError(f"piece {key} has the keys {sorted(part)}; expected {sorted(first)}")
            for name, array in part.items():
                file[name][start : start + length] = self._whole(array, file[name].shape[1:])
            start += length

    @staticmethod
    def _whole(array: np.ndarray, row_shape: tuple[int, ...]) -> np.ndarray:
        """`array` (N,...) of a piece as it is in the whole set."""
        return array


def checked_rows(rows: Rows, count: int, shapes: Shapes, optional: tuple[str, ...], images: str) -> Rows:
    """`rows` in the types and shapes of the layout, text as bytes. images: "crops" or "frames", `count` of them.

    Raises UserError for a key of `shapes` that is missing, unless it is `optional`, and for other shapes.
    """
    missing = [name for name in shapes if name not in rows and name not in optional]
    if missing:
        raise UserError(f"rows lack {', '.join(missing)}; expected {', '.join(shapes)}")
    checked = {}
    for name, value in rows.items():
        value = np.asarray(value)
        if len(value) != count:
            raise UserError(f"{name} has {len(value)} rows; expected one for each of {count} {images}")
        if value.dtype.kind == "U":
            value = np.char.encode(value, "utf-8")
        if name in shapes:
            shape, dtype = shapes[name]
            if value[:1].size != np.prod(shape, dtype=int) and count:
                raise UserError(f"{name} has rows of shape {value.shape[1:]}; expected {shape}")
            value = value.astype(dtype).reshape(count, *shape)
        checked[name] = value
    return checked


def pose_statistics(poses: np.ndarray | h5py.Dataset, chunk: int = 65536) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (51,) of poses (N,51) or (N,P,51), meters; 1 for what never varies, as the root.

    Poses of NaN are not counted. Without any pose, the mean is 0 and the std 1.
    """
    # In chunks and in float64: a set of millions of rows is never in memory at once, and the sums stay exact enough.
    count, total, squares = 0, np.zeros(POSE_SIZE), np.zeros(POSE_SIZE)
    for start in range(0, len(poses), chunk):
        block = np.asarray(poses[start : start + chunk], dtype=np.float64).reshape(-1, POSE_SIZE)
        block = block[np.isfinite(block).all(1)]
        count += len(block)
        total += block.sum(0)
        squares += (block**2).sum(0)
    if not count:
        return total, np.ones(POSE_SIZE)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    # A set may be one crop. Equal values vary a little, by rounding.
    std[std < 1e-5] = 1
    std[:3] = 1
    return mean, std


def _size_text(size: int | list[int]) -> str:
    return "x".join(map(str, size[::-1])) if isinstance(size, list) else str(size)
