"""Packed crops: all crops of a layout in plain arrays beside the PNG files, so that nothing is decoded.

    <root>/packed/img_crop.npy         (N,3,R,R) uint8, in the order of labels.h5
    <root>/packed/bg_crop.npy          (M,3,R,R) uint8, each distinct background once; only if there are any
    <root>/packed/bg_crop_rows.npy     (N,) int64, the background of each row
    <root>/packed/mask_crop.npy        (N,1,R,R) uint8; only if there are masks
    <root>/packed/packed.json          fingerprint of the labels, size and kinds; written last

Memory maps gather 32 random crops of 128 px five times as fast as HDF5 does (0.15 ms and 0.8 ms, one core).
"""

import hashlib
import io
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from datasets.layout.crops import CropArray, PngCrops
from datasets.layout.labels import Labels, fingerprint
from datasets.layout.png import map_threads
from datasets.layout.writer import CROP_CHANNELS
from utils.commands import command_for
from utils.errors import UserError
from utils.files import naming, write_atomically
from utils.locks import writing
from utils.readers import read_arrays, read_json, reason

PACKED_FOLDER = "packed"
UNFINISHED_FOLDER = ".packing"
ABOUT_FILE = "packed.json"
BLOCK = 512  # crops that are decoded and written at once


def open_packed(labels: Labels) -> dict[str, CropArray]:
    """The packed crops of a layout by kind, as memory maps; empty where none were packed.

    Raises UserError where they were packed from other labels, or are damaged or truncated.
    """
    folder = labels.root / PACKED_FOLDER
    if not folder.is_dir():
        return {}
    try:
        about = read_json(folder / ABOUT_FILE, dict)
        if about["labels"] == fingerprint(labels):
            return {kind: _open_kind(folder, kind, labels.num_rows, about["size"]) for kind in about["kinds"]}
    except Exception as error:
        raise UserError(f"packed crops {folder} are damaged ({reason(error)}); {_how_to_repack(labels)}") from error
    raise UserError(f"packed crops of {labels.root} belong to other labels; {_how_to_repack(labels)}")


def pack(root: str | Path, progress: bool = True) -> str:
    """Pack the crops of the layout `root`; returns a line on what was packed.

    An interrupted call resumes where it stopped. Packed crops are kept as long as the labels have not changed. Raises
    UserError for a crop that is missing or corrupt, and for a full disk.
    """
    labels = Labels(root)
    with writing(labels.root):
        return _pack(labels, progress)


def _pack(labels: Labels, progress: bool) -> str:
    png, job = PngCrops(labels), fingerprint(labels)
    if _is_packed(labels, job):
        return _report(labels)
    kinds = ["img_crop", *(kind for kind in png.kinds if kind != "img_crop")]
    unfinished = labels.root / UNFINISHED_FOLDER
    _claim(unfinished, job)
    _check_disk(png, kinds, unfinished)
    for kind in kinds:
        rows = np.arange(len(png))
        # A fixed camera shows the same background in many crops: each distinct one is stored once.
        if kind == "bg_crop":
            index = _background_index(unfinished / f"{kind}_rows.npy", png, progress)
            rows = np.unique(index, return_index=True)[1]
        _append_crops(unfinished / f"{kind}.npy", png, rows, kind, progress)
    about = {"labels": job, "size": png.size, "kinds": kinds}
    write_atomically(unfinished / ABOUT_FILE, lambda part: part.write_text(json.dumps(about)))
    # The old folder goes only now, when the new one is complete; renaming is atomic.
    shutil.rmtree(labels.root / PACKED_FOLDER, ignore_errors=True)
    os.replace(unfinished, labels.root / PACKED_FOLDER)
    return _report(labels)


def _how_to_repack(labels: Labels) -> str:
    return f"pack again ({command_for('pack_dataset')} {labels.root}) or remove {labels.root / PACKED_FOLDER}"


def _open_kind(folder: Path, kind: str, num_rows: int, size: int) -> CropArray:
    # Copy-on-write instead of read-only, since torch warns about arrays that are not writable.
    crops = np.load(folder / f"{kind}.npy", mmap_mode="c", allow_pickle=False)
    rows_file = folder / f"{kind}_rows.npy"
    index = _read_index(rows_file) if rows_file.exists() else None
    count = num_rows if index is None else len(crops)
    expected = (count, CROP_CHANNELS[kind], size, size)
    if crops.shape != expected or crops.dtype != np.uint8:
        raise ValueError(f"{kind}.npy is {crops.dtype} {crops.shape}; expected uint8 {expected}")
    if index is None:
        return CropArray(torch.from_numpy(crops))
    # An index out of range would fail only later, in the middle of an epoch.
    if index.shape != (num_rows,) or index.dtype != np.int64 or index.min() < 0 or index.max() >= count:
        raise ValueError(f"{rows_file.name} does not map {num_rows} rows to {count} crops")
    return CropArray(torch.from_numpy(crops), torch.from_numpy(index))


def _is_packed(labels: Labels, job: str) -> bool:
    about = labels.root / PACKED_FOLDER / ABOUT_FILE
    try:
        return read_json(about, dict).get("labels") == job and bool(open_packed(labels))
    # Damaged crops are packed again.
    except UserError:
        return False


def _report(labels: Labels) -> str:
    packed = open_packed(labels)
    parts = [f"{len(array.crops)} distinct {kind}" for kind, array in packed.items()]
    gigabytes = sum(array.nbytes for array in packed.values()) / 2**30
    return f"{labels.num_rows} rows in {labels.root / PACKED_FOLDER}: {', '.join(parts)}; {gigabytes:.2f} GiB"


def _claim(folder: Path, job: str) -> None:
    """Create the folder of an unfinished job; one of other labels is emptied."""
    mark = folder / "job"
    if folder.is_dir() and not (mark.exists() and mark.read_bytes() == job.encode()):
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    write_atomically(mark, lambda part: part.write_text(job))


def _check_disk(png: PngCrops, kinds: list[str], folder: Path) -> None:
    present = sum(file.stat().st_size for file in folder.iterdir())
    channels = sum(CROP_CHANNELS[kind] for kind in kinds)
    needed, free = channels * len(png) * png.size**2 - present, shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{free / 2**30:.1f} GiB of disk are free; expected {needed / 2**30:.1f} GiB to pack {png.root}"
        )


def _background_index(path: Path, png: PngCrops, progress: bool) -> np.ndarray:
    """Number (N,) of the distinct background of each row, in the order of first use. Equal files are one background."""
    if path.exists():
        with suppress(UserError):
            index = _read_index(path)
            if index.shape == (len(png),) and index.dtype == np.int64:
                return index
    digests = np.empty((len(png), 2), np.uint64)

    def digest(row: int) -> None:
        content = png.file_bytes(row, "bg_crop")
        digests[row] = np.frombuffer(hashlib.blake2b(content, digest_size=16).digest(), np.uint64)

    # Files are compared by digest, without decoding: reading is all that it costs.
    with _bar("Comparing backgrounds", len(png), progress) as bar:
        for done in map_threads(digest, range(len(png))):
            bar.update(done)
    # np.unique sorts by digest; the second argsort numbers the digests by their first row instead.
    _, first, inverse = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    index = np.argsort(np.argsort(first))[inverse.reshape(-1)].astype(np.int64)
    write_atomically(path, lambda part: _save(part, index))
    return index


def _read_index(path: Path) -> np.ndarray:
    return read_arrays(path)[""]


def _append_crops(path: Path, png: PngCrops, rows: np.ndarray, kind: str, progress: bool) -> None:
    """Write the crops of `rows` as one .npy file; crops that an interrupted call wrote are kept."""
    shape = (len(rows), CROP_CHANNELS[kind], png.size, png.size)
    header = io.BytesIO()
    # The header names the final shape from the start, so that blocks can be appended to a valid .npy file.
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    start, crop_bytes = len(header.getvalue()), CROP_CHANNELS[kind] * png.size**2
    path.touch()
    # The file grows by whole blocks; a crop that was cut off by a kill is written again.
    done = max(0, path.stat().st_size - start) // crop_bytes
    with naming(path), open(path, "r+b") as file, _bar(f"Packing {kind}", len(rows), progress, done) as bar:
        file.write(header.getvalue())
        file.seek(start + done * crop_bytes)
        file.truncate()
        for first in range(done, len(rows), BLOCK):
            block = rows[first : first + BLOCK]
            crops = np.empty((len(block), *shape[1:]), np.uint8)
            for count in png.fill(crops, block, kind):
                bar.update(count)
            file.write(crops)


def _save(path: Path, array: np.ndarray) -> None:
    # Given a name instead of a file, np.save would append ".npy" to it.
    with open(path, "wb") as file:
        np.save(file, array)


def _bar(title: str, total: int, progress: bool, done: int = 0):
    from tqdm import tqdm

    return tqdm(desc=title, total=total, initial=done, unit="crop", disable=not progress)
