"""Reads the files of MPI-INF-3DHP in their downloaded form.

<source>/S1/Seq1/annot.mat                     annot3: 28 joints, mm, camera frame, per camera; annot2: pixels
<source>/S1/Seq1/camera.calibration            14 cameras, mm, world with y up
<source>/S1/Seq1/imageSequence/video_0.avi     2048 x 2048 px; frame i belongs to row i of annot.mat
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from datasets.cameras.calibration import UP_AXES
from datasets.cameras.camera import Camera
from utils.commands import install_extra
from utils.errors import UserError

SEQUENCES = (1, 2)  # of every subject
NUM_ANNOTATED = 28  # joints


def sequence_folders(source: Path, subjects: Iterable[int]) -> list[tuple[Path, int, int]]:
    """Folder, subject and number of each sequence. Raises UserError where one is missing."""
    root = next((folder for folder in (source, source / "mpi_inf_3dhp") if any(folder.glob("S*/Seq*"))), None)
    if root is None:
        names = ", ".join(sorted(path.name for path in source.glob("*"))[:8]) or "nothing"
        raise UserError(
            f"no S1/Seq1 in {str(source)!r}, which holds {names}; expected S1 to S8, each with Seq1 and Seq2"
        )
    places = [(root / f"S{subject}/Seq{number}", subject, number) for subject in subjects for number in SEQUENCES]
    for folder, _, _ in places:
        for name in ("annot.mat", "camera.calibration", "imageSequence"):
            if not (folder / name).exists():
                raise UserError(
                    f"no {folder / name}; expected it as downloaded (or use --subjects to leave the subject out)"
                )
    return places


def read_cameras(path: str | Path) -> dict[int, Camera]:
    """Cameras by number, in a world in meters with z up. Raises UserError with the line of an error."""
    cameras, fields = {}, {}
    lines = Path(path).read_text().splitlines()
    for number, line in enumerate(lines[1:], 2):
        name, *values = line.split() or [""]
        if name in ("name", "size", "intrinsic", "extrinsic", "radial"):
            expected = {"name": 1, "size": 2, "intrinsic": 16, "extrinsic": 16}.get(name, len(values))
            try:
                fields[name] = np.array(values, dtype=np.float64)
            except ValueError as error:
                raise UserError(f"{path} line {number}: {error}; expected numbers after {name!r}") from error
            if len(values) != expected:
                raise UserError(f"{path} line {number}: {len(values)} numbers after {name!r}; expected {expected}")
        # "radial" is the last line of a camera.
        if name == "radial":
            cameras[int(fields["name"][0])] = _camera(fields, f"{path} line {number}")
            fields = {}
    if not lines or "Calibration" not in lines[0] or not cameras:
        raise UserError(f"{path} holds no cameras; expected a Skeletool Camera Calibration File, as downloaded")
    return cameras


def _camera(fields: dict[str, np.ndarray], where: str) -> Camera:
    missing = [name for name in ("name", "size", "intrinsic", "extrinsic") if name not in fields]
    if missing:
        raise UserError(f"{where}: camera lacks {missing[0]!r}; expected name, size, intrinsic, extrinsic, radial")
    if fields["radial"].any():
        raise UserError(f"{where}: radial distortion {fields['radial'].tolist()}; expected none, 0")
    extrinsic = fields["extrinsic"].reshape(4, 4)
    # The file gives a few digits only. Projected back onto the rotations, its transpose is its inverse again.
    left, _, right = np.linalg.svd(extrinsic[:3, :3])
    rotation, to_z_up = left @ right, UP_AXES["y"]
    center = to_z_up @ (-rotation.T @ extrinsic[:3, 3] / 1000)
    width, height = fields["size"].astype(int).tolist()
    return Camera(rotation @ to_z_up.T, center, fields["intrinsic"].reshape(4, 4)[:3, :3], np.zeros(5), width, height)


def read_annotations(path: str | Path, names: Iterable[str]) -> dict[str, list[np.ndarray]]:
    """By name ("annot2", "annot3"), the arrays (N,K) of all cameras. Raises UserError for a file of another form."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UserError(f"annot.mat needs the package 'scipy': {install_extra('3dhp')}") from error
    names = list(names)
    try:
        content = loadmat(path, variable_names=names)
    except NotImplementedError as error:
        raise UserError(f"{path} is a file of MATLAB 7.3; expected an older version, as downloaded") from error
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise UserError(f"{path} cannot be read as MATLAB file ({error}); expected it as downloaded") from error
    for name in names:
        if name not in content or content[name].dtype != object:
            raise UserError(
                f"{path} has no cell array {name!r}; expected that of the training set, one cell per camera"
            )
    return {name: [np.asarray(cell, dtype=np.float64) for cell in content[name].reshape(-1)] for name in names}
