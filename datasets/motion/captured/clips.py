"""A folder of captured motion: which clips train and which test, and the pieces of them that fit into the room."""

import functools
import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from datasets.motion.captured.bvh import read_bvh
from datasets.motion.captured.capture import RATE, Capture, analyse
from datasets.motion.captured.retarget import retarget
from datasets.people.body import Body, Motion
from utils.errors import UserError

_TEST_EVERY = 5  # one clip in so many tests, where there are as many
_LONGEST_LEG = 1.0  # metres, hip to ankle: no body's legs are longer, so that a piece that fits it fits all
_WALL = 0.35  # metres between the path and the edge of the area, where there is room


class Piece(NamedTuple):
    """A stretch of a clip: its file and name, the first frame at `RATE`, and how many instants it lasts."""

    file: str
    name: str
    start: int
    instants: int


def find_clips(source: str | Path) -> list[Path]:
    """The BVH files of a folder, sorted by name, or the one file. Raises UserError when there is none."""
    source = Path(source)
    files = [source] if source.is_file() else sorted(p for p in source.glob("*") if p.suffix.lower() == ".bvh")
    if not files:
        raise UserError(f"no motion in {str(source)!r}; expected a folder with *.bvh files, or one such file")
    return files


def describe_clips(files: list[Path]) -> dict:
    """Names of the clips and a checksum of all their bytes: what a set was rendered from."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return {"motion": [file.stem for file in files], "motion_sha256": digest.hexdigest()}


def split_clips(files: list[Path], split: str) -> list[Path]:
    """The clips of "train" or "test": one in five tests, drawn by a fixed seed, so that no set shares a clip with one
    of the other split. Fewer than five clips serve both."""
    if len(files) < _TEST_EVERY:
        print(f"{len(files)} clips of motion, fewer than {_TEST_EVERY}: train and test share them", file=sys.stderr)
        return files
    order = np.random.default_rng(0).permutation(len(files))
    tests = {*order[::_TEST_EVERY].tolist()}
    return [file for index, file in enumerate(files) if (index in tests) == (split == "test")]


def cut_pieces(files: list[Path], fps: float, longest: int, area: float, progress: bool = True) -> list[Piece]:
    """Cut clips evenly into pieces of at most `longest` instants at `fps`, whose path fits into |x|, |y| <= area.

    Raises UserError for files that cannot be read, or whose skeleton is no person's.
    """
    pieces, far = [], []
    for file in tqdm(files, unit="clip", desc="read motion", disable=not progress):
        step = round(RATE / fps)
        path = load_capture(str(file)).hips[::step, :2] * _LONGEST_LEG
        parts = np.array_split(np.arange(len(path)), -(-len(path) // longest))
        inside = [half for part in parts for half in _halve_until_inside(path, part, area)]
        far += [file.name] if len(inside) > len(parts) else []
        pieces += [Piece(str(file), file.stem, int(part[0]) * step, len(part)) for part in inside]
    if far:
        print(f"cut shorter to stay within {area} m of the middle: {', '.join(far)}", file=sys.stderr)
    return pieces


def _halve_until_inside(path: np.ndarray, part: np.ndarray, area: float) -> list[np.ndarray]:
    low, high = path[part].min(0), path[part].max(0)
    radius = np.linalg.norm(path[part] - (low + high) / 2, axis=1).max()
    if radius <= area or len(part) == 1:
        return [part]
    return [half for half in np.array_split(part, 2) for half in _halve_until_inside(path, half, area)]


@functools.lru_cache(maxsize=8)
def load_capture(file: str) -> Capture:
    """The captured motion of a file; the last few are kept."""
    return analyse(read_bvh(file), Path(file).name)


def play(piece: Piece, body: Body, fps: float, rng: np.random.Generator, area: float) -> Motion:
    """The motion of a body that moves as in the piece, somewhere in the area and facing anywhere in its middle."""
    heading = rng.uniform(-np.pi, np.pi)
    motion = retarget(load_capture(piece.file), body, piece.start, piece.instants, fps, heading)
    path = motion.translation[:, :2]
    spare = np.maximum(area - _WALL - np.abs(path).max(0), 0)
    path += (rng.uniform(-1, 1, 2) * spare).astype(np.float32)
    return motion
