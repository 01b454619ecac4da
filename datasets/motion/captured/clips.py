"""A folder of captured motion: its split into training and test clips, and their segments that fit into the room."""

import functools
import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from datasets.motion.captured.bvh import read_bvh
from datasets.motion.captured.capture import RATE, Capture, analyze
from datasets.motion.captured.retarget import retarget
from datasets.people.body import Body, Motion
from utils.errors import UserError

_TEST_EVERY = 5  # one clip in five is a test clip, if there are as many
# Meters, hip to ankle. No body has longer legs, so a segment that fits into the room with these legs fits for all.
_LONGEST_LEG = 1.0
_WALL = 0.35  # meters kept between the path and the edge of the area, if there is space


class ClipSegment(NamedTuple):
    """Part of a clip. start: first frame, counted at `RATE`. num_frames: its length, counted at the rendered rate."""

    file: str
    name: str
    start: int
    num_frames: int


def find_clips(source: str | Path) -> list[Path]:
    """The BVH files of a folder, sorted by name, or the one file given. Raises UserError if there are none."""
    source = Path(source)
    # "._walk.bvh" is what macOS adds to copies on other disks.
    files = [source] if source.is_file() else sorted(p for p in source.glob("[!.]*") if p.suffix.lower() == ".bvh")
    if not files:
        raise UserError(f"no motion in {str(source)!r}; expected a folder with *.bvh files, or one such file")
    return files


def describe_clips(files: list[Path]) -> dict:
    """Names of the clips and a checksum of all their bytes, for render.json."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return {"motion": [file.stem for file in files], "motion_sha256": digest.hexdigest()}


def split_clips(files: list[Path], split: str) -> list[Path]:
    """The clips of "train" or "test". One in five is a test clip; fewer than five clips serve both splits."""
    if len(files) < _TEST_EVERY:
        print(f"{len(files)} clips of motion, fewer than {_TEST_EVERY}: train and test share them", file=sys.stderr)
        return files
    # A fixed seed, whatever the set's seed is: no training set shares a clip with any test set of the same folder.
    order = np.random.default_rng(0).permutation(len(files))
    tests = {*order[::_TEST_EVERY].tolist()}
    return [file for index, file in enumerate(files) if (index in tests) == (split == "test")]


def segment_clips(files: list[Path], fps: float, longest: int, area: float, progress: bool = True) -> list[ClipSegment]:
    """Split clips evenly into segments of at most `longest` frames at `fps`, whose path fits into |x|, |y| <= area.

    Raises UserError for files that cannot be read, or whose skeleton is not a person's.
    """
    segments, far = [], []
    for file in tqdm(files, unit="clip", desc="read motion", disable=not progress):
        step = round(RATE / fps)
        path = load_capture(str(file)).hips[::step, :2] * _LONGEST_LEG
        parts = np.array_split(np.arange(len(path)), -(-len(path) // longest))
        inside = [half for part in parts for half in _halve_until_inside(path, part, area)]
        far += [file.name] if len(inside) > len(parts) else []
        segments += [ClipSegment(str(file), file.stem, int(part[0]) * step, len(part)) for part in inside]
    if far:
        print(f"split further to stay within {area} m of the middle: {', '.join(far)}", file=sys.stderr)
    return segments


def _halve_until_inside(path: np.ndarray, part: np.ndarray, area: float) -> list[np.ndarray]:
    low, high = path[part].min(0), path[part].max(0)
    # A radius and not a width, because the path must fit whatever the heading (`retarget_segment` samples it later).
    radius = np.linalg.norm(path[part] - (low + high) / 2, axis=1).max()
    if radius <= area or len(part) == 1:
        return [part]
    return [half for half in np.array_split(part, 2) for half in _halve_until_inside(path, half, area)]


@functools.lru_cache(maxsize=8)
def load_capture(file: str) -> Capture:
    """The captured motion of a file. The last few are cached."""
    return analyze(read_bvh(file), Path(file).name)


def retarget_segment(segment: ClipSegment, body: Body, fps: float, rng: np.random.Generator, area: float) -> Motion:
    """The segment retargeted to a body, at a random place in the area and with a random heading."""
    heading = rng.uniform(-np.pi, np.pi)
    motion = retarget(load_capture(segment.file), body, segment.start, segment.num_frames, fps, heading)
    path = motion.translation[:, :2]
    spare = np.maximum(area - _WALL - np.abs(path).max(0), 0)
    path += (rng.uniform(-1, 1, 2) * spare).astype(np.float32)
    return motion
