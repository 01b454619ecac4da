"""A folder of captured motion: its split into training and test clips, and their segments that fit into the room."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datasets.motion.captured.bvh import read_bvh
from datasets.motion.captured.capture import RATE, Capture, analyze
from datasets.motion.captured.retarget import cut, retarget
from datasets.people.body import Body, Motion
from utils.errors import UserError

_TEST_EVERY = 5  # one clip in five is a test clip, if there are as many
# Meters, hip to ankle. No body has longer legs, so a segment that fits into the room with these legs fits for all.
_LONGEST_LEG = 1.0
_WALL = 0.35  # meters kept between the path and the edge of the area, if there is space
# Meters of the hips: people on ladders and stairs would be above the lamps. Jumps are lower.
_HIGHEST = 1.4


@dataclass(frozen=True, eq=False)  # equal to itself only: as a tuple it would be compared and hashed by its arrays
class ClipSegment:
    """Part of a clip, which needs no file any more.

    start: first frame of the clip, counted at `RATE`. num_frames: its length, counted at the rendered rate. capture,
    first: the captured motion around it, and which frame of that is `start`.
    """

    name: str
    start: int
    num_frames: int
    capture: Capture
    first: int


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

    Frames high above the floor are left out. Raises UserError for files that cannot be read, or whose skeleton is not a
    person's, and where no frame is left.
    """
    segments, far, high = [], [], []
    step = round(RATE / fps)
    for file in tqdm(files, unit="clip", desc="read motion", disable=not progress):
        capture = analyze(read_bvh(file), file.name)
        path = capture.hips[::step] * _LONGEST_LEG
        runs = _low_runs(path[:, 2])
        parts = [part for run in runs for part in np.array_split(run, -(-len(run) // longest))]
        inside = [half for part in parts for half in _halve_until_inside(path[:, :2], part, area)]
        far += [file.name] if len(inside) > len(parts) else []
        high += [file.name] if sum(map(len, runs)) < len(path) else []
        segments += [_segment(capture, int(part[0]) * step, len(part), step) for part in inside]
    if far:
        print(f"split further to stay within {area} m of the middle: {', '.join(far)}", file=sys.stderr)
    if high:
        print(f"left out where hips are more than {_HIGHEST} m above the floor: {', '.join(high)}", file=sys.stderr)
    if not segments:
        raise UserError(f"no motion is left of {', '.join(high)}; expected people on the floor")
    return segments


def _low_runs(height: np.ndarray) -> list[np.ndarray]:
    """Frames without gaps at which the hips are low enough for a room."""
    low = np.flatnonzero(height <= _HIGHEST)
    return [run for run in np.split(low, np.flatnonzero(np.diff(low) > 1) + 1) if len(run)]


def _segment(capture: Capture, start: int, num_frames: int, step: int) -> ClipSegment:
    first, part = cut(capture, start, start + (num_frames - 1) * step + 1)
    return ClipSegment(capture.name, start, num_frames, part.copy(), start - first)


def _halve_until_inside(path: np.ndarray, part: np.ndarray, area: float) -> list[np.ndarray]:
    low, high = path[part].min(0), path[part].max(0)
    # A radius and not a width, because the path must fit whatever the heading (`retarget_segment` samples it later).
    radius = np.linalg.norm(path[part] - (low + high) / 2, axis=1).max()
    if radius <= area or len(part) == 1:
        return [part]
    return [half for half in np.array_split(part, 2) for half in _halve_until_inside(path, half, area)]


def retarget_segment(segment: ClipSegment, body: Body, fps: float, rng: np.random.Generator, area: float) -> Motion:
    """The segment retargeted to a body, at a random place in the area and with a random heading."""
    heading = rng.uniform(-np.pi, np.pi)
    motion = retarget(segment.capture, body, segment.first, segment.num_frames, fps, heading)
    path = motion.translation[:, :2]
    spare = np.maximum(area - _WALL - np.abs(path).max(0), 0)
    path += (rng.uniform(-1, 1, 2) * spare).astype(np.float32)
    return motion
