"""All formats by their names, which are the endings of their files."""

from collections.abc import Iterable
from pathlib import Path

from training.exports.bvh import write_bvh
from training.exports.c3d_file import ezc3d, write_c3d
from training.exports.motion import Motion
from training.exports.tables import write_csv, write_npz
from training.exports.trc import write_trc
from utils.errors import UserError
from utils.files import write_atomically

FORMATS = ("npz", "csv", "trc", "c3d", "bvh")


def check_formats(formats: Iterable[str]) -> None:
    """UserError for an unknown format, and for one whose package is missing."""
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"unknown format {name!r}; expected some of {', '.join(FORMATS)}")
    if "c3d" in formats:
        ezc3d()


def write_motion(path: Path, motion: Motion) -> None:
    """Write a motion in the format of the file's ending, atomically. Raises UserError where nobody is in it."""
    if not motion.known.any():
        raise UserError(f"no instant of {path.stem!r} has a person; expected one to write")
    name = path.suffix[1:]
    check_formats([name])
    writers = {
        "npz": write_npz,
        "csv": write_csv,
        "trc": lambda part, motion: write_trc(part, motion, path.name),
        "c3d": write_c3d,
        "bvh": write_bvh,
    }
    write_atomically(path, lambda part: writers[name](part, motion))
