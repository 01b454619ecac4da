"""Files of poses: of every crop in its camera's frame with its trust, and fused ones in the world frame."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from datasets.layout.labels import INSTANT_KEYS
from training.exports.motion import CAMERA, JOINT_COLUMNS
from training.trained.fusion import Fused, fuse_cameras
from utils.errors import UserError
from utils.files import check_writable, save_npz, write_atomically, write_csv
from utils.skeleton import NUM_JOINTS

SUFFIXES = (".npz", ".csv")
JUDGED = ("trust", "expected_error_mm", "flagged")
_NAMED = (*INSTANT_KEYS, "cam", *JUDGED)  # columns of a .csv before the joints


def fuse_instants(
    labels: Mapping[str, np.ndarray], rows: np.ndarray, poses: np.ndarray, trust: np.ndarray | None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Fuse the cameras of each instant of `rows`; `poses` (N,51) and `trust` (N,) are of all rows of a set.

    Returns columns of instants (`subj`, `seq`, `frame`, `poses` (I,17,3) in the world frame, `trust`, `cameras`), and
    the fused pose (R,51) of each of `rows` in its camera's frame.
    """
    ids = np.stack([labels[key][rows] for key in INSTANT_KEYS], axis=1)
    instants, index, cameras = np.unique(ids, axis=0, return_inverse=True, return_counts=True)
    judged = None if trust is None else trust[rows]
    fused: Fused = fuse_cameras(poses[rows], labels["extrinsic_rot"][rows], index.reshape(-1), judged)
    columns = {key: instants[:, number] for number, key in enumerate(INSTANT_KEYS)}
    columns |= {"cameras": cameras, "poses": fused.poses}
    if fused.trust is not None:
        columns["trust"] = fused.trust
    return columns, fused.of_camera.reshape(-1, 3 * NUM_JOINTS)


def check_poses_path(path: str | os.PathLike) -> Path:
    """`path`, if `write_poses` can write it; else UserError for its name, or OSError."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UserError(f"cannot write poses to {str(path)!r}; expected a name that ends in {' or '.join(SUFFIXES)}")
    check_writable(path)
    return path


def write_poses(
    path: str | os.PathLike,
    labels: Mapping[str, np.ndarray],
    rows: np.ndarray,
    poses: np.ndarray,
    scores: Mapping[str, np.ndarray],
    fused: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write the poses (N,51) of `rows` to a .npz or a .csv file, atomically.

    .npz: `poses` (R,17,3) in meters, root-centered, camera frame (as `space` says), `row`, `subj`, `seq`, `frame`,
    `cam`, and `trust`, `expected_error_mm`, `flagged` of judged poses, (R,); of `fused` (`fuse_instants`) the same
    with the prefix `fused_`, in the world frame. .csv: a line per pose; `cam` is "fused" for those in the world frame.
    """
    path = check_poses_path(path)
    columns = {"row": rows, **{key: labels[key][rows] for key in (*INSTANT_KEYS, "cam")}}
    for name in JUDGED:
        if name in scores:
            columns[name] = scores[name][rows].astype(bool if name == "flagged" else np.float32)
    columns["poses"] = poses[rows].reshape(-1, NUM_JOINTS, 3).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        columns["space"] = np.array(CAMERA)
        columns |= {f"fused_{name}": values for name, values in (fused or {}).items()}
        write_atomically(path, lambda part: save_npz(part, columns))
    else:
        write_csv(path, [*_NAMED, *JOINT_COLUMNS], _csv_rows(columns, fused))


def _csv_rows(columns: Mapping[str, np.ndarray], fused: Mapping[str, np.ndarray] | None) -> Iterator[list[str]]:
    for source in (columns, {**fused, "cam": np.full(len(fused["poses"]), "fused")} if fused else None):
        for index in range(len(source["poses"]) if source else 0):
            cells = [_cell(source, name, index) for name in _NAMED]
            yield [*cells, *(f"{value:.4f}" for value in source["poses"][index].reshape(-1))]


def _cell(source: Mapping[str, np.ndarray], name: str, index: int) -> str:
    if name not in source:
        return ""
    value = source[name][index]
    return f"{value:.4f}" if name in ("trust", "expected_error_mm") else str(value)
