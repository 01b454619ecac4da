"""All formats by their names, which are the endings of their files."""

from collections.abc import Iterable
from pathlib import Path

from training.exports.bvh import write_bvh
from training.exports.c3d_file import check_length, ezc3d, write_c3d
from training.exports.motion import Motion
from training.exports.tables import write_csv, write_npz
from training.exports.trc import write_trc
from utils.errors import UserError
from utils.files import write_atomically

FORMATS = ("npz", "csv", "trc", "c3d", "bvh")


def check_formats(formats: Iterable[str], count: int = 0) -> None:
    """UserError for an unknown format, one whose package is missing, and one that cannot hold `count` instants."""
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"unknown format {name!r}; expected some of {', '.join(FORMATS)}")
    if "c3d" in formats:
        ezc3d()
        check_length(count)


def write_motion(path: Path, motion: Motion) -> None:
    """Write a motion in the format of the file's ending, atomically. Raises UserError where nobody is in it."""
    if not motion.known.any():
        raise UserError(f"no instant of {path.stem!r} has a person; expected one to write")
    name = path.suffix[1:]
    check_formats([name], len(motion.instants))
    writers = {
        "npz": write_npz,
        "csv": write_csv,
        "trc": lambda part, motion: write_trc(part, motion, path.name),
        "c3d": write_c3d,
        "bvh": write_bvh,
    }
    write_atomically(path, lambda part: writers[name](part, motion))
