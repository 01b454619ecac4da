"""Reads motion capture in the BVH format: a skeleton of joints with fixed offsets, and channels per frame.

Source: the Biovision Hierarchy format as motion capture tools write it. Rotation channels may come in any order, and
position channels in any subset; they replace the joint's offset, as in Blender and MotionBuilder. Any unit and any
vertical axis are read.
"""

import codecs
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.people.kinematics import rotation_x, rotation_y, rotation_z, to_matrix, to_rotation_vector
from utils.errors import UserError

_ROTATIONS = (rotation_x, rotation_y, rotation_z)
_CHANNELS = {f"{axis}{kind}": (kind, index) for kind in ("position", "rotation") for index, axis in enumerate("XYZ")}
END = "_end"  # an End Site has no name: it gets its parent's, with this appended, and a number from the second on
LARGEST = 1e7  # of lengths and degrees: a kilometer in tenths of a millimeter
MIN_FRAME_TIME, MAX_FRAME_TIME = 1e-4, 1.0  # seconds; others are milliseconds or frames per second


class BvhClip(NamedTuple):
    """A captured motion of J joints (end sites included) over T frames, in the file's own axes and unit.

    joints, parents: names, and indices of the parents (-1: root); parents come first.
    offsets: (J, 3) from the parent. translations: (T, J, 3), the same in every frame, or from position channels.
    rotations: (T, J, 3, 3) relative to the parent. rate: frames per second.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    rate: float

    def forward_kinematics(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotations (T, J, 3, 3) and positions (T, J, 3) of all joints in the world."""
        rotations, positions = self.rotations.copy(), self.translations.copy()
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                positions[:, joint] = (
                    positions[:, parent] + (rotations[:, parent] @ positions[:, joint, :, None])[..., 0]
                )
                rotations[:, joint] = rotations[:, parent] @ rotations[:, joint]
        return rotations, positions

    def rest_positions(self) -> np.ndarray:
        """Positions (J, 3) of the joints when all rotations are zero, with the root at 0."""
        positions = self.offsets.copy()
        positions[0] = 0
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                positions[joint] += positions[parent]
        return positions


def read_bvh(path: str | Path) -> BvhClip:
    """The motion in a BVH file. Raises UserError, which names file and line, for a broken or incomplete file."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"no motion file {str(path)!r}") from None
    # Windows programs write a byte order mark.
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")
    lines = text.splitlines()
    header = _Hierarchy(path.name, lines)
    values, rate = _read_motion(path.name, lines, header.end, sum(map(len, header.channels)), text[-1:] in "\r\n")
    offsets = np.array(header.offsets)
    rotations = np.tile(np.eye(3), (len(values), len(offsets), 1, 1))
    translations = np.tile(offsets, (len(values), 1, 1))
    columns = iter(values.T)
    for joint, channels in enumerate(header.channels):
        for kind, axis in channels:
            column = next(columns)
            if kind == "position":
                translations[:, joint, axis] = column
            else:
                # Channels apply from left to right, each in the frame that the ones before have rotated.
                rotations[:, joint] = rotations[:, joint] @ _ROTATIONS[axis](np.radians(column))
    return BvhClip(path.stem, tuple(header.joints), tuple(header.parents), offsets, rotations, translations, rate)


def resample(clip: BvhClip, rate: float) -> BvhClip:
    """The clip at `rate` frames per second.

    Frames are picked if the rates divide. Else rotations are interpolated on the sphere and translations linearly.
    """
    ratio = clip.rate / rate
    # The tolerance is for rounded frame times: 0.033333 means 30 Hz.
    if abs(ratio - round(ratio)) < 1e-3 * ratio and round(ratio) >= 1:
        step = round(ratio)
        return clip._replace(rotations=clip.rotations[::step], translations=clip.translations[::step], rate=rate)
    last = len(clip.rotations) - 1
    times = np.arange(int(last / ratio + 1e-3) + 1) * ratio
    before = np.minimum(times.astype(int), max(last - 1, 0))
    after = np.minimum(before + 1, last)
    fraction = (times - before)[:, None, None]
    start = clip.rotations[before]
    step = to_rotation_vector(start.swapaxes(-1, -2) @ clip.rotations[after])
    translations = clip.translations[before] * (1 - fraction) + clip.translations[after] * fraction
    return clip._replace(rotations=start @ to_matrix(fraction * step), translations=translations, rate=rate)


def despike(clip: BvhClip, degrees: float = 30.0) -> BvhClip:
    """Repair joints that rotate away by more than `degrees` for one or two frames and come back: capture errors.

    Such a rotation is replaced by the medoid of the five frames around it.
    """
    # The medoid of a steady rotation, however fast, is its middle frame. Only outliers change, unlike with a mean.
    frames = len(clip.rotations)
    around = np.clip(np.arange(frames)[:, None] + np.arange(-2, 3), 0, frames - 1)  # (T, 5)
    near = [clip.rotations[around[:, k]] for k in range(5)]
    cosine = [[((near[i] * near[j]).sum((-1, -2)) - 1) / 2 for j in range(5)] for i in range(5)]
    distance = np.arccos(np.clip(cosine, -1, 1))  # (5, 5, T, J)
    medoid = distance.sum(1).argmin(0)  # (T, J)
    off = np.take_along_axis(distance[2], medoid[None], 0)[0] > np.radians(degrees)
    frame, joint = np.nonzero(off)
    rotations = clip.rotations.copy()
    rotations[frame, joint] = clip.rotations[around[frame, medoid[frame, joint]], joint]
    return clip._replace(rotations=rotations)


class _Hierarchy:
    """The HIERARCHY part: joints, parents, offsets, channels; `end`: index of the line after MOTION."""

    def __init__(self, file: str, lines: list[str]):
        self.file, self.end = file, 0
        self.joints, self.parents, self.offsets, self.channels = [], [], [], []
        self._open: list[int] = []  # joints whose braces are open
        number = 0
        for number, line in enumerate(lines, start=1):
            for part in re.split(r"([{}])", line):
                words = part.split()
                if words and words[0].upper() == "MOTION":
                    self._finish(number)
                    self.end = number
                    return
                if words:
                    self._take(number, words)
        raise _error(file, number, "the file ends before MOTION")

    def _take(self, number: int, words: list[str]) -> None:
        keyword = words[0].upper()
        if keyword in ("ROOT", "JOINT", "END"):
            self._start_joint(number, keyword, " ".join(words[1:]))
        elif keyword == "}":
            if not self._open:
                raise _error(self.file, number, "a '}' without '{'")
            self._open.pop()
        elif keyword == "OFFSET" and self._open:
            self.offsets[self._open[-1]] = self._numbers(number, words[1:])
        elif keyword == "CHANNELS" and self._open:
            self.channels[self._open[-1]] = self._channel_list(number, words[1:])
        elif keyword not in ("HIERARCHY", "{"):
            raise _error(self.file, number, f"{words[0]!r}; expected a joint, OFFSET, CHANNELS or MOTION")

    def _start_joint(self, number: int, keyword: str, name: str) -> None:
        if (keyword == "ROOT") == bool(self._open) or (keyword == "ROOT" and self.joints):
            raise _error(self.file, number, f"{keyword} {name}; expected one ROOT, and all joints inside it")
        parent = self._open[-1] if self._open else -1
        if keyword == "END":
            name = f"{self.joints[parent]}{END}"
            count = sum(other.startswith(name) for other in self.joints)
            name += str(count + 1) if count else ""
        if not name or name in self.joints:
            raise _error(self.file, number, f"joint {name!r}; expected a name that no other joint has")
        self._open.append(len(self.joints))
        self.joints.append(name)
        self.parents.append(parent)
        self.offsets.append(None)
        self.channels.append([])

    def _numbers(self, number: int, words: list[str]) -> np.ndarray:
        values = _floats(words, LARGEST)
        if values is None or len(values) != 3:
            raise _error(self.file, number, f"OFFSET {' '.join(words)}; expected three numbers below {LARGEST:g}")
        return values

    def _channel_list(self, number: int, words: list[str]) -> list[tuple[str, int]]:
        names = [word[:1].upper() + word[1:].lower() for word in words[1:]]
        if not words or words[0] != str(len(names)) or len(set(names)) < len(names) or not {*names} <= {*_CHANNELS}:
            expected = f"expected a number and as many of {', '.join(_CHANNELS)}"
            raise _error(self.file, number, f"CHANNELS {' '.join(words)}; {expected}")
        return [_CHANNELS[name] for name in names]

    def _finish(self, number: int) -> None:
        if not self.joints or self._open:
            found = f"MOTION after {len(self.joints)} joints, {len(self._open)} '{{' open"
            raise _error(self.file, number, f"{found}; expected a complete skeleton")
        missing = [name for name, offset in zip(self.joints, self.offsets, strict=True) if offset is None]
        if missing:
            raise _error(self.file, number, f"joint {missing[0]!r} has no OFFSET")


def _read_motion(file: str, lines: list[str], start: int, width: int, ended: bool) -> tuple[np.ndarray, float]:
    """Channel values (T, width) and frames per second.

    start: index of the line after MOTION. ended: whether the last line has its end.
    """
    rows = [(number, line) for number, line in enumerate(lines[start:], start=start + 1) if line.strip()]
    frames = _setting(file, rows[:1], "Frames:", len(lines))
    frame_time = _setting(file, rows[1:2], "Frame Time:", len(lines))
    if frames != int(frames):
        raise _error(file, rows[0][0], f"Frames: {frames}; expected a whole number")
    if not MIN_FRAME_TIME <= frame_time <= MAX_FRAME_TIME:
        expected = f"expected seconds between two frames, {MIN_FRAME_TIME:g} to {MAX_FRAME_TIME:g}"
        raise _error(file, rows[1][0], f"Frame Time: {frame_time:g}; {expected}")
    rows = rows[2:]
    values = np.empty((len(rows), width))
    for index, (number, line) in enumerate(rows):
        row = _floats(line.split(), LARGEST)
        if row is None or len(row) != width:
            found = f"a value that is not a finite number below {LARGEST:g}" if row is None else f"{len(row)} numbers"
            raise _error(file, number, f"{found}; expected {width} numbers, one per channel")
        values[index] = row
    if len(values) < frames and not ended:
        # The file was cut: perhaps within its last number.
        values = values[:-1]
    if not len(values):
        raise _error(file, len(lines), f"the file ends after 0 of {frames:.0f} frames")
    if len(values) != frames:
        # Tools that cut or convert files often forget the count: all rows are whole, so that they can be trusted.
        print(f"{file}: 'Frames: {frames:.0f}', but there are {len(values)}, which are used", file=sys.stderr)
    return values, 1 / frame_time


def _setting(file: str, row: list[tuple[int, str]], name: str, last: int) -> float:
    """The positive number after `name` in the only row. last: the line to name if there is no row."""
    number, line = row[0] if row else (last, "")
    value = _floats(line.strip()[len(name) :].split()) if line.strip().lower().startswith(name.lower()) else None
    if value is None or len(value) != 1 or value[0] <= 0:
        raise _error(file, number, f"{line.strip()!r}; expected '{name}' and a positive number")
    return float(value[0])


def _floats(words: list[str], limit: float = np.inf) -> np.ndarray | None:
    """The numbers, or None if any word is not a finite number below `limit`."""
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        return None
    return values if (np.abs(values) < limit).all() else None  # not so for NaN


def _error(file: str, number: int, problem: str) -> UserError:
    return UserError(f"{file} line {number}: {problem[:200]}")
