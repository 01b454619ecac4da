"""Motions as C3D: the binary file of motion capture programs. Millimeters, z up."""

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import numpy as np

from training.exports.motion import Motion
from utils.commands import install_extra
from utils.errors import UserError
from utils.skeleton import JOINT_NAMES

# The format's counts are words. With TRIAL:ACTUAL_END_FIELD, which goes beyond, ezc3d 1.7 reads no more.
MAX_INSTANTS = (1 << 16) - 1
_BLOCK = 512  # bytes; files consist of whole ones


def ezc3d() -> ModuleType:
    """The module ezc3d. Raises UserError with the pip command if it is missing."""
    try:
        import ezc3d as module
    except ImportError as error:
        raise UserError(f"writing C3D needs the package 'ezc3d': {install_extra('estimate')}") from error
    return module


def check_length(count: int) -> None:
    """UserError for more instants than a C3D file counts: readers would leave the rest out."""
    if count > MAX_INSTANTS:
        raise UserError(
            f"{count} instants for a C3D file; expected at most {MAX_INSTANTS} (take every N-th instant, cut the "
            "video, or leave c3d out of the formats)"
        )


def write_c3d(path: Path, motion: Motion) -> None:
    """Write a motion; joints of unknown instants are invalid points (residual -1)."""
    file = ezc3d().c3d()
    count = len(motion.joints)
    points = np.ones((4, len(JOINT_NAMES), count))
    points[:3] = 1000 * motion.z_up().transpose(2, 1, 0)
    file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    file["parameters"]["POINT"]["RATE"]["value"] = [motion.instants_per_second]
    file["parameters"]["POINT"]["LABELS"]["value"] = list(JOINT_NAMES)
    file.add_parameter("POINT", "X_SCREEN", ["+X"])
    file.add_parameter("POINT", "Y_SCREEN", ["+Z"])
    file["data"]["points"] = points
    file["data"]["meta_points"] = {
        "residuals": np.where(motion.known, 0.0, -1.0)[None, None].repeat(len(JOINT_NAMES), axis=1),
        "camera_masks": np.zeros((7, len(JOINT_NAMES), count), dtype=bool),
    }
    # ezc3d gives every file the ending .c3d, which temporary names do not have.
    with TemporaryDirectory() as folder:
        written = Path(folder) / "motion.c3d"
        file.write(str(written))
        content = written.read_bytes()
        # ezc3d does not say that a disk is full. The header names the block, from 1, at which the points begin.
        blocks = int.from_bytes(content[16:18], "little") - 1 + -(-4 * points.size // _BLOCK)
        if len(content) < _BLOCK * blocks:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(written))
        path.write_bytes(content)
