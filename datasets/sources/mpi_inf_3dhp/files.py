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
from utils.readers import reading, whole_number

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
    with reading(path, "a Skeletool Camera Calibration File, as downloaded"):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines[1:], 2):
        name, *values = line.split() or [""]
        if name in ("name", "size", "intrinsic", "extrinsic", "radial"):
            expected = {"name": 1, "size": 2, "intrinsic": 16, "extrinsic": 16}.get(name, len(values))
            try:
                fields[name] = np.array(values, dtype=np.float64)
            except ValueError as error:
                raise UserError(f"{path} line {number}: {error}; expected numbers after {name!r}") from error
            if len(values) != expected or not np.isfinite(fields[name]).all():
                raise UserError(
                    f"{path} line {number}: {len(values)} numbers after {name!r}; expected {expected}, all finite"
                )
        # "radial" is the last line of a camera.
        if name == "radial":
            camera = _camera(fields, f"{path} line {number}")
            cameras[_whole(fields["name"][0], f"{path} line {number}: name")] = camera
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
    extrinsic, intrinsics = (fields[name].reshape(4, 4) for name in ("extrinsic", "intrinsic"))
    if not (0.9 < np.linalg.det(extrinsic[:3, :3]) < 1.1 and intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0):
        raise UserError(f"{where}: no rotation or no focal length; expected 'extrinsic' and 'intrinsic' of 4x4")
    # The file gives a few digits only. Projected back onto the rotations, its transpose is its inverse again.
    left, _, right = np.linalg.svd(extrinsic[:3, :3])
    rotation, to_z_up = left @ right, UP_AXES["y"]
    center = to_z_up @ (-rotation.T @ extrinsic[:3, 3] / 1000)
    width, height = (_whole(side, f"{where}: size") for side in fields["size"])
    return Camera(rotation @ to_z_up.T, center, intrinsics[:3, :3], np.zeros(5), width, height)


def _whole(value: float, where: str) -> int:
    number = whole_number(value)
    if number is None:
        raise UserError(f"{where} is {value:g}; expected a whole number from 0")
    return number


def read_annotations(path: str | Path, names: Iterable[str]) -> dict[str, list[np.ndarray]]:
    """By name ("annot2", "annot3"), the arrays (N,K) of all cameras. Raises UserError for a file of another form."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UserError(f"annot.mat needs the package 'scipy': {install_extra('3dhp')}") from error
    names = list(names)
    # Version 7.3 is HDF5, which loadmat does not read.
    with reading(path, "a MATLAB file of version 7, as downloaded"):
        content = loadmat(path, variable_names=names)
    for name in names:
        cells = content.get(name)
        if not isinstance(cells, np.ndarray) or cells.dtype != object:
            raise UserError(
                f"{path} has no cell array {name!r}; expected that of the training set, one cell per camera"
            )
        if not all(isinstance(cell, np.ndarray) and cell.dtype.kind in "iuf" for cell in cells.reshape(-1)):
            raise UserError(f"{path}: {name!r} has cells without numbers; expected an array for each camera")
    return {name: [cell.astype(np.float64) for cell in content[name].reshape(-1)] for name in names}
