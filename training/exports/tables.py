"""Motions as tables of numbers: .npz for NumPy, CSV for spreadsheets. Meters, in the space of the motion."""

import csv
import io
from pathlib import Path

import numpy as np

from datasets.layout.labels import LABEL_SOURCE
from training.exports.motion import JOINT_COLUMNS, WORLD, Motion
from utils.files import save_npz


def write_npz(path: Path, motion: Motion) -> None:
    """`poses` (T,17,3), NaN where unknown, `instants` (T,), `rate`, `space`, and where there is one, `up`, the axis of
    the world that points up, `trust` (T,), `label_source`, what the joints come from, and `offsets`, texts such as
    "left=3"."""
    columns = {
        "poses": motion.joints.astype(np.float32),
        "instants": motion.instants,
        "rate": np.array(motion.rate),
        "space": np.array(motion.space),
    }
    if motion.space == WORLD:
        columns["up"] = np.array("z")
    if motion.source is not None:
        columns[LABEL_SOURCE] = np.array(motion.source)
    if motion.trust is not None:
        columns["trust"] = motion.trust.astype(np.float32)
    if motion.offsets is not None:
        columns["offsets"] = np.array([f"{name}={offset}" for name, offset in motion.offsets.items()], dtype=np.str_)
    save_npz(path, columns)


def write_csv(path: Path, motion: Motion) -> None:
    """A row per instant: `instant`, `seconds`, `trust`, and x, y, z of each joint; empty cells where unknown."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["instant", "seconds", "trust", *JOINT_COLUMNS])
    trust = np.full(len(motion.joints), np.nan) if motion.trust is None else motion.trust
    for instant, time, score, joints in zip(motion.instants, motion.times, trust, motion.joints, strict=True):
        writer.writerow([instant, f"{time:.6f}", *map(_cell, (score, *joints.reshape(-1)))])
    path.write_text(text.getvalue(), newline="", encoding="utf-8")


def _cell(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else ""
