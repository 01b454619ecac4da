"""One person's motion, which all formats are written from, and the axes of these formats."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from utils.skeleton import JOINT_NAMES

WORLD, CAMERA = "world", "camera"
# Points of a space @ axes = points of a space with z up. Of a camera frame, forward becomes y.
_Z_UP = {WORLD: np.eye(3), CAMERA: np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])}
# The same from z up to y up, with x as it is: what programs that import files with y up undo.
_Y_UP_OF_Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


class Motion(NamedTuple):
    """T instants of one person.

    joints: (T,17,3) meters, in the order of utils/skeleton.py; NaN where the person is unknown. instants: (T,) numbers,
    counted from 0 at `rate` per second, increasing in equal steps. space: "world" (z up), or "camera" (x right, y
    down, z forward). trust: (T,) in 0..1, NaN where unknown and where the joints are no network's; None for
    weights that were not calibrated. source: what the joints come from, if they were not measured. offsets: frame
    number at instant 0 of the cameras by name, where videos show the motion.
    """

    joints: np.ndarray
    instants: np.ndarray
    rate: float
    space: str = WORLD
    trust: np.ndarray | None = None
    source: str | None = None
    offsets: Mapping[str, int] | None = None

    @property
    def times(self) -> np.ndarray:
        """Seconds (T,) from instant 0."""
        return self.instants / self.rate

    @property
    def instants_per_second(self) -> float:
        """Rate of the instants that there are: every N-th has the N-th part of the full rate."""
        return self.rate / (int(self.instants[1] - self.instants[0]) if len(self.instants) > 1 else 1)

    @property
    def known(self) -> np.ndarray:
        """(T,) bool: where the person is known."""
        return np.isfinite(self.joints).all((1, 2))

    def z_up(self) -> np.ndarray:
        """Joints (T,17,3) with z up."""
        return self.joints @ _Z_UP[self.space]

    def y_up(self) -> np.ndarray:
        """Joints (T,17,3) with y up: x, z, -y of those with z up, so that Blender shows these."""
        return self.z_up() @ _Y_UP_OF_Z_UP


def fill_gaps(values: np.ndarray) -> np.ndarray:
    """Values (T,...) with rows of NaN filled linearly from their neighbors in time; at the ends, with the nearest."""
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    known = np.isfinite(rows).all(1)
    if not known.any():
        return np.array(values, np.float64)
    times = np.arange(len(rows))
    filled = np.stack([np.interp(times, times[known], column[known]) for column in rows.T], axis=1)
    return filled.reshape(np.shape(values))


JOINT_COLUMNS = tuple(f"{joint}_{axis}" for joint in JOINT_NAMES for axis in "xyz")  # of tables
