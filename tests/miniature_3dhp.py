"""A miniature of MPI-INF-3DHP in its own form: MATLAB annotations, a calibration in text, AVI videos."""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import scipy.io

from datasets.sources.mpi_inf_3dhp.prepare import MPI_JOINTS
from tests import markers
from tests.synthetic import random_joints, ring_cameras

SIDE, FOCAL = 256, 190.0
Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # world with z up -> world with y up
CAMERA = """name          {number}
  sensor      10 10
  size        {side} {side}
  animated    0
  intrinsic   {intrinsic}
  extrinsic   {extrinsic}
  radial      0
"""


def write_3dhp(
    root: Path, subjects: Iterable[int] = (1,), frames: int = 8, cameras: Iterable[int] = (0, 1, 2)
) -> dict[tuple[int, int], np.ndarray]:
    """Write both sequences of each subject, with 14 calibrated cameras, of which `cameras` have videos.

    Returns the joints (frames,17,3) by subject and sequence, meters, world with z up.
    """
    truth = {}
    for subject in subjects:
        for number in (1, 2):
            joints = random_joints(frames, np.random.default_rng([subject, number]))
            _write_sequence(Path(root) / f"S{subject}/Seq{number}", joints, set(cameras))
            truth[subject, number] = joints
    return truth


def _write_sequence(folder: Path, joints: np.ndarray, with_video: set[int]) -> None:
    (folder / "imageSequence").mkdir(parents=True)
    intrinsic = np.array([[FOCAL, 0, 130, 0], [0, FOCAL, 126, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    text, annot2, annot3 = "Skeletool Camera Calibration File V1.0\n", [], []
    for number, (rotation, center) in enumerate(zip(*ring_cameras(14, radius=4.5), strict=True)):
        extrinsic = np.eye(4)
        extrinsic[:3, :3], extrinsic[:3, 3] = rotation @ Y_UP.T, -1000 * rotation @ center
        matrices = [" ".join(f"{value:.7g}" for value in matrix.ravel()) for matrix in (intrinsic, extrinsic)]
        text += CAMERA.format(number=number, side=SIDE, intrinsic=matrices[0], extrinsic=matrices[1])
        joints_cam = (joints - center) @ rotation.T
        seen = joints_cam @ intrinsic[:3, :3].T
        pixels = seen[..., :2] / seen[..., 2:]
        annot3.append(_annotated(1000 * joints_cam))
        annot2.append(_annotated(pixels))
        if number in with_video:
            _write_video(folder / f"imageSequence/video_{number}.avi", pixels[:, list(markers.JOINTS)])
    (folder / "camera.calibration").write_text(text)
    cells = {name: _cells(arrays) for name, arrays in (("annot2", annot2), ("annot3", annot3))}
    scipy.io.savemat(folder / "annot.mat", {**cells, "cameras": np.arange(14)})


def _annotated(points: np.ndarray) -> np.ndarray:
    """(T, 28 * K) of 17 points (T,17,K): ours in their places, the root in the others."""
    everything = np.repeat(points[:, :1], 28, axis=1)
    everything[:, list(MPI_JOINTS)] = points
    return everything.reshape(len(points), -1)


def _cells(arrays: list[np.ndarray]) -> np.ndarray:
    cells = np.empty((len(arrays), 1), dtype=object)
    cells[:, 0] = arrays
    return cells


def _write_video(path: Path, pixels: np.ndarray) -> None:
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=25, width=SIDE, height=SIDE)
        stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
        for points in pixels:
            image = markers.render_markers(points, SIDE, SIDE, radius=5)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
