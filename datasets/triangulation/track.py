"""Fits the whole track of a person at once: to what all cameras see, with segments of constant length, smoothly."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from datasets.cameras.camera import Camera
from datasets.triangulation.points import SEGMENTS

NOISE = 0.015  # meters, of a detected point at the person's distance
OUTLIER = 0.05  # meters, from which on a detected point counts little
ACCELERATION = 20.0  # meters per second squared, of a point of the body
ROTATION_PRIOR, POSITION_PRIOR = np.radians(1.0), 0.05  # how far a calibration may be off: radians, meters
ITERATIONS = 150


class Track(NamedTuple):
    """points: (T,P,3) meters, world. lengths: meters, of the segments by number. cameras: corrected, if asked for."""

    points: np.ndarray
    lengths: np.ndarray
    cameras: list[Camera]


def fit_track(
    cameras: Sequence[Camera],
    places: np.ndarray,
    weights: np.ndarray,
    start: np.ndarray,
    seconds: float,
    correct_cameras: bool = False,
) -> Track:
    """The most plausible track of P points through T instants.

    places: (C,T,P,2) normalized coordinates in which C cameras see them, NaN where they do not. weights: (C,T,P)
    confidence in 0..1. start: (T,P,3) a first guess, meters, world. seconds: between two instants. correct_cameras:
    fit small corrections of the cameras' positions and rotations too.

    Minimizes the distances between points and rays, with little weight on far ones (Geman-McClure), the deviations of
    segments from their lengths, which are fitted too, and accelerations.
    """
    first, second, number, tolerance = (torch.tensor(column) for column in zip(*SEGMENTS, strict=True))
    seen = torch.from_numpy(np.where(np.isfinite(places).all(-1), weights, 0.0))
    places = torch.from_numpy(np.nan_to_num(places))
    rotations = torch.from_numpy(np.stack([camera.rotation for camera in cameras]))
    centers = torch.from_numpy(np.stack([camera.center for camera in cameras]))
    points = torch.from_numpy(start.copy()).requires_grad_()
    lengths = torch.from_numpy(segment_lengths(start)).requires_grad_()
    turn = torch.zeros(len(cameras), 3, dtype=torch.float64, requires_grad=correct_cameras)
    shift = torch.zeros(len(cameras), 3, dtype=torch.float64, requires_grad=correct_cameras)

    def loss() -> torch.Tensor:
        corrected = torch.linalg.matrix_exp(_skew(turn)) @ rotations
        in_camera = torch.einsum("cij,ctpj->ctpi", corrected, points - (centers + shift)[:, None, None])
        depth = in_camera[..., 2].clamp(min=0.2)
        # In meters at the point's depth, so that far and near cameras, long and short lenses weigh the same.
        squares = ((in_camera[..., :2] / depth[..., None] - places) * depth.detach()[..., None]).square().sum(-1)
        total = (seen * squares / (1 + squares / OUTLIER**2)).sum() / NOISE**2
        now = (points[:, first] - points[:, second]).square().sum(-1).clamp(min=1e-8).sqrt()
        total = total + ((now - lengths[number]) / tolerance).square().sum()
        if len(points) > 2:
            acceleration = (points[2:] - 2 * points[1:-1] + points[:-2]) / seconds**2
            total = total + (acceleration / ACCELERATION).square().sum()
        if correct_cameras:
            prior = (turn / ROTATION_PRIOR).square().sum() + (shift / POSITION_PRIOR).square().sum()
            # A prior as strong as what one camera sees at one instant.
            total = total + prior * seen.sum() / len(points) / len(cameras)
        return total

    _minimize(loss, [points, lengths, *([turn, shift] if correct_cameras else [])])
    with torch.no_grad():
        corrected = (torch.linalg.matrix_exp(_skew(turn)) @ rotations).numpy()
    moved = (centers + shift.detach()).numpy()
    fitted = [camera._replace(rotation=corrected[index], center=moved[index]) for index, camera in enumerate(cameras)]
    return Track(points.detach().numpy(), lengths.detach().numpy(), fitted if correct_cameras else list(cameras))


def segment_lengths(points: np.ndarray) -> np.ndarray:
    """Median lengths of the segments, by number, in points (T,P,3)."""
    first, second, number, _ = map(np.array, zip(*SEGMENTS, strict=True))
    each = np.linalg.norm(points[:, first] - points[:, second], axis=-1)
    return np.array([np.median(each[:, number == group]) for group in range(number.max() + 1)])


def _minimize(loss, parameters: list[torch.Tensor]) -> None:
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=ITERATIONS, history_size=20, line_search_fn="strong_wolfe", tolerance_change=1e-7
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    threads = torch.get_num_threads()
    # The tensors are small; and with one thread, every run gives the same track.
    torch.set_num_threads(1)
    try:
        optimizer.step(closure)
    finally:
        torch.set_num_threads(threads)


def _skew(vectors: torch.Tensor) -> torch.Tensor:
    """Matrices (C,3,3) whose exponentials rotate about `vectors` (C,3) by their lengths, radians."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3)
