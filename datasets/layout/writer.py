"""The training layout on disk: its files, and how they are written.

    <root>/labels.h5                                           one row per (instant, camera)
    <root>/seq_003/cam_01/img_crop_000042.png                  RGB uint8, the person
    <root>/seq_003/cam_01/bg_crop_000042.png                   the same box without the person; optional
    <root>/seq_003/cam_01/mask_crop_000042.png                 8-bit gray, 255 where the person is; optional

`labels.h5` is written last, so that a layout with this file is complete. Until then, `<root>/.parts/` records what is
done.
"""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np

from datasets.layout.labels import (
    LABEL_SOURCE,
    LABELS_FILE,
    PARTS_FOLDER,
    POSE_KEYS,
    POSE_SIZE,
    ROW_KEYS,
    ROW_SHAPES,
    is_finished,
)
from datasets.layout.png import map_threads, write_png
from utils.errors import UserError
from utils.files import write_atomically
from utils.readers import read_arrays, read_json

IMAGE_KINDS = ("img_crop", "bg_crop")
CROP_CHANNELS = {"img_crop": 3, "bg_crop": 3, "mask_crop": 1}  # all kinds of crops
MIN_SIZE, MAX_SIZE = 16, 4096  # side of a crop, pixels


def image_path(root: str | Path, seq: int, cam: int, frame: int, kind: str) -> str:
    """Path of one crop; `kind` is one of `CROP_CHANNELS`."""
    return f"{root}/seq_{seq:03d}/cam_{cam:02d}/{kind}_{frame:06d}.png"


def check_size(size: int) -> None:
    """Raises UserError for a size of crops that is too small or too large for any network."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UserError(f"size is {size}; expected at least {MIN_SIZE} pixels, at most {MAX_SIZE}")


class LayoutWriter:
    """Writes a layout in pieces, so that a killed job resumes where it stopped.

        writer = LayoutWriter(root, size=128)
        for key in keys:
            if not writer.has(key):
                writer.add(img_crop, bg_crop, rows, key)
        writer.finish()

    A piece (usually a sequence) is done when its part file exists, which is written after the images of the piece.

    size: side R of the crops, pixels. total: number of rows of the complete layout, checked by `finish`; None: any.
    threads: number of threads that encode images. Raises UserError where `root` holds a finished layout or one of
    another crop size, and for a size below 16.
    """

    def __init__(self, root: str | Path, size: int, total: int | None = None, threads: int = 2):
        self.root, self.size, self.total, self.threads = Path(root), size, total, threads
        self.parts = self.root / PARTS_FOLDER
        check_size(size)
        if is_finished(self.root):
            raise UserError(f"{self.root} already holds a finished layout; choose another folder or remove it first")
        self.parts.mkdir(parents=True, exist_ok=True)
        self._check_same_job()

    @property
    def finished_keys(self) -> list[str]:
        """Keys of the pieces that are on disk, sorted."""
        return sorted(path.stem for path in self.parts.glob("*.npz"))

    def has(self, key: str) -> bool:
        """Whether the piece `key` is on disk, completely."""
        return self._part(key).exists()

    def add(
        self,
        img_crop: np.ndarray,
        bg_crop: np.ndarray | None,
        rows: dict[str, np.ndarray],
        key: str,
        mask_crop: np.ndarray | None = None,
    ) -> None:
        """Write N crops and their labels as the piece `key` (a file name, like "seq_003").

        img_crop, bg_crop: (N,R,R,3) uint8; bg_crop: None where there is no background.
        mask_crop: (N,R,R) uint8, the share of the person in each pixel times 255; None where no masks are known.
        rows: the per-row keys of labels.h5, each (N,...): `frame`, `cam`, `seq`, `subj`, `3D` (N,51) or (N,17,3),
            `extrinsic_rot`, `extrinsic_rot_inv`, `bounding_box_cam`, `intrinsic_crop`. `3D` may be missing where no
            poses are known. Further keys (numbers or short strings, such as `motion`) are stored as given. All pieces
            must have the same keys.
        """
        rows = _checked_rows(rows, len(img_crop))
        images = {"img_crop": img_crop, "bg_crop": bg_crop, "mask_crop": mask_crop}
        images = {kind: crops for kind, crops in images.items() if crops is not None}
        for kind, crops in images.items():
            expected = (len(img_crop), self.size, self.size, CROP_CHANNELS[kind])[: 3 if kind == "mask_crop" else 4]
            if crops.shape != expected or crops.dtype != np.uint8:
                raise UserError(f"{kind} is {crops.dtype} {crops.shape}; expected uint8 {expected}")
        # The part file comes last: a kill before it leaves images that the next call writes again.
        self._write_images(images, rows)
        write_atomically(self._part(key), lambda part: _save_rows(part, rows))

    def finish(
        self,
        pose_mean: np.ndarray | None = None,
        pose_std: np.ndarray | None = None,
        label_source: str | None = None,
    ) -> None:
        """Write labels.h5 from all pieces, ordered by key, and delete the part files.

        pose_mean, pose_std: (51,) meters, for a test set those of the training set. None: computed from these rows,
        with the std of the root set to 1. A set without poses has no statistics. label_source: where `3D` comes from
        if it was not measured, such as "triangulated ..."; readers repeat it.
        """
        keys = self.finished_keys
        lengths = [len(self._load(key, ["frame"])["frame"]) for key in keys]
        if not keys or (self.total is not None and sum(lengths) != self.total):
            raise UserError(f"{self.root} has {sum(lengths)} rows; expected {self.total or 'at least one'}")
        given = None if pose_mean is None or pose_std is None else (pose_mean, pose_std)
        write_atomically(
            self.root / LABELS_FILE, lambda part: self._write_labels(part, keys, lengths, given, label_source)
        )
        shutil.rmtree(self.parts)

    def _part(self, key: str) -> Path:
        return self.parts / f"{key}.npz"

    def _load(self, key: str, names: list[str] | None = None) -> dict[str, np.ndarray]:
        return read_arrays(self._part(key), names, "rows of a piece; remove it to write the piece again")

    def _check_same_job(self) -> None:
        job_file = self.parts / "job.json"
        if not job_file.exists():
            write_atomically(job_file, lambda part: part.write_text(json.dumps({"size": self.size})))
            return
        held = read_json(job_file, dict).get("size")
        if held != self.size:
            raise UserError(f"{self.root} is unfinished with crops of {held} px; got {self.size} px, expected {held}")

    def _write_images(self, images: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> None:
        # One folder per sequence and camera, so that no folder gets hundreds of thousands of files.
        for seq, cam in {(int(seq), int(cam)) for seq, cam in zip(rows["seq"], rows["cam"], strict=True)}:
            Path(image_path(self.root, seq, cam, 0, "img_crop")).parent.mkdir(parents=True, exist_ok=True)
        ids = list(zip(rows["seq"], rows["cam"], rows["frame"], strict=True))
        files = [
            (image_path(self.root, *row, kind), crop)
            for kind in images
            for row, crop in zip(ids, images[kind], strict=True)
        ]
        for _ in map_threads(lambda file: write_png(*file), files, self.threads):
            pass

    def _write_labels(
        self, path: Path, keys: list[str], lengths: list[int], statistics: tuple | None, source: str | None
    ) -> None:
        with h5py.File(path, "w") as file:
            self._write_rows(file, keys, lengths)
            if "3D" in file:
                if source:
                    file.attrs[LABEL_SOURCE] = source
                mean, std = statistics or pose_statistics(file["3D"])
                file["pose_mean"] = np.asarray(mean, dtype=np.float32).reshape(POSE_SIZE)
                file["pose_std"] = np.asarray(std, dtype=np.float32).reshape(POSE_SIZE)

    def _write_rows(self, file: h5py.File, keys: list[str], lengths: list[int]) -> None:
        # Strings may be longer in another piece than in the first: the type must hold all of them.
        first = self._load(keys[0])
        for name, array in first.items():
            dtypes = {self._load(key, [name])[name].dtype for key in keys} if name not in ROW_SHAPES else {array.dtype}
            file.create_dataset(name, (sum(lengths), *array.shape[1:]), np.result_type(*dtypes))
        start = 0
        for key, length in zip(keys, lengths, strict=True):
            part = self._load(key)
            if set(part) != set(first):
                raise UserError(f"piece {key} has the keys {sorted(part)}; expected {sorted(first)}")
            for name, array in part.items():
                file[name][start : start + length] = array
            start += length


def pose_statistics(poses: np.ndarray | h5py.Dataset, chunk: int = 65536) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (51,) of poses (N,51), meters; the std of the root, always zero, is set to 1."""
    # In chunks and in float64: a set of millions of rows is never in memory at once, and the sums stay exact enough.
    count, total, squares = len(poses), np.zeros(POSE_SIZE), np.zeros(POSE_SIZE)
    for start in range(0, count, chunk):
        block = np.asarray(poses[start : start + chunk], dtype=np.float64)
        total += block.sum(0)
        squares += (block**2).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    std[:3] = 1
    return mean, std


def _save_rows(path: Path, rows: dict[str, np.ndarray]) -> None:
    # Given a name instead of a file, np.savez would append ".npz" to it.
    with open(path, "wb") as file:
        np.savez(file, **rows)


def _checked_rows(rows: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    missing = [name for name in ROW_KEYS if name not in rows and name not in POSE_KEYS]
    if missing:
        raise UserError(f"rows lack {', '.join(missing)}; expected {', '.join(ROW_KEYS)}")
    checked = {}
    for name, value in rows.items():
        value = np.asarray(value)
        if len(value) != count:
            raise UserError(f"{name} has {len(value)} rows; expected one for each of {count} crops")
        if value.dtype.kind == "U":
            value = np.char.encode(value, "utf-8")
        if name in ROW_SHAPES:
            shape, dtype = ROW_SHAPES[name]
            if value[:1].size != np.prod(shape, dtype=int) and count:
                raise UserError(f"{name} has rows of shape {value.shape[1:]}; expected {shape}")
            value = value.astype(dtype).reshape(count, *shape)
        checked[name] = value
    return checked
