"""Rotations, two-bone inverse kinematics and smooth curves for posing bodies. Radians, meters, float64 NumPy.

The only rotations about an axis in NumPy; those of tensors are in utils/geometry.py. Posing a body takes many small
arrays, for which a NumPy call costs a fraction of a torch call.
"""

import numpy as np

from utils.geometry import rotation_about


def rotation_x(angle) -> np.ndarray:
    """Rotations (..., 3, 3) about x by angles (...)."""
    return rotation_about("x", np.asarray(angle, dtype=np.float64))


def rotation_y(angle) -> np.ndarray:
    """Rotations (..., 3, 3) about y by angles (...)."""
    return rotation_about("y", np.asarray(angle, dtype=np.float64))


def rotation_z(angle) -> np.ndarray:
    """Rotations (..., 3, 3) about z by angles (...)."""
    return rotation_about("z", np.asarray(angle, dtype=np.float64))


def to_matrix(rotation_vector: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) to matrices (..., 3, 3), by Rodrigues' formula."""
    rotation_vector = np.asarray(rotation_vector, dtype=np.float64)
    angle = np.linalg.norm(rotation_vector, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(rotation_vector, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    # `cross` is not divided by the angle. sinc does that, and is exact at an angle of 0.
    return np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * (cross @ cross)


def to_rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) to vectors (..., 3) of length <= pi."""
    import roma
    import torch

    return roma.rotmat_to_rotvec(torch.as_tensor(matrix, dtype=torch.float64)).numpy()


def transform(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """matrix (..., 3, 3) times vector (..., 3), broadcast."""
    return np.einsum("...ij,...j->...i", matrix, np.asarray(vector, dtype=np.float64))


def unit(vector: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) normalized to length 1. A zero vector stays zero."""
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)


def two_bone_ik(
    root: np.ndarray, target: np.ndarray, pole: np.ndarray, upper: float, lower: float, min_bend: float = 0.05
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bend a limb so that its end reaches a target, or points at it if it is out of reach.

    Args:
        root, target: (..., 3) where the limb starts and where its end should be.
        pole: (..., 3) direction in which the middle joint points.
        upper, lower: lengths of the two bones. min_bend: least bend of the middle joint, radians.
    Returns:
        Directions (..., 3) of the upper bone and, orthogonal to it, of the middle joint; both of length 1.
        The bend (...) of the middle joint, 0 if straight.
    """
    line = target - root
    # The law of cosines in the triangle of both bones and the line to the target. The distance is limited to what the
    # limb can span, which keeps all cosines in -1..1.
    longest = np.sqrt(upper**2 + lower**2 + 2 * upper * lower * np.cos(min_bend))
    distance = np.clip(np.linalg.norm(line, axis=-1), abs(upper - lower) * 1.01 + 1e-6, longest)
    along = unit(line)
    out = unit(pole - along * (pole * along).sum(-1, keepdims=True))
    cosine = np.clip((upper**2 + distance**2 - lower**2) / (2 * upper * distance), -1, 1)[..., None]
    sine = np.sqrt(1 - cosine**2)
    bend = np.pi - np.arccos(np.clip((upper**2 + lower**2 - distance**2) / (2 * upper * lower), -1, 1))
    return along * cosine + out * sine, out * cosine - along * sine, bend


def ease(x) -> np.ndarray:
    """The minimum-jerk curve: 0 for x <= 0, 1 for x >= 1, at rest at both ends."""
    x = np.clip(x, 0, 1)
    return x**3 * (10 - 15 * x + 6 * x**2)


def envelope(times: np.ndarray, intervals, ramp: float) -> np.ndarray:
    """(T,) 0 outside and 1 inside the intervals (start, end), with eased ramps of `ramp` seconds inside them."""
    value = np.zeros(len(times))
    for start, end in intervals:
        edge = max(min(ramp, (end - start) / 2), 1e-6)
        value = np.maximum(value, ease((times - start) / edge) * ease((end - times) / edge))
    return value


def follow_keys(times: np.ndarray, key_times, values) -> np.ndarray:
    """Eased interpolation (T, ...) of the values (K, ...) at the key times, at rest at every key."""
    values = np.asarray(values, dtype=np.float64)
    key_times = np.asarray(key_times, dtype=np.float64)
    after = np.clip(np.searchsorted(key_times, times), 1, max(len(key_times) - 1, 1))
    if len(key_times) == 1:
        return np.broadcast_to(values[0], (len(times), *values.shape[1:])).copy()
    span = np.maximum(key_times[after] - key_times[after - 1], 1e-6)
    share = ease((times - key_times[after - 1]) / span).reshape(-1, *(1,) * (values.ndim - 1))
    return values[after - 1] * (1 - share) + values[after] * share


def smooth_noise(rng: np.random.Generator, times: np.ndarray, period: float, channels: int) -> np.ndarray:
    """Smooth noise (T, channels) of mean 0 and standard deviation 1, which changes over about `period` seconds."""
    # A sum of few sines and not filtered white noise: its samples do not depend on the frame rate.
    waves = 4
    speed = 2 * np.pi / (period * rng.uniform(0.8, 2.5, (waves, channels)))
    phase = rng.uniform(0, 2 * np.pi, (waves, channels))
    return np.sin(times[:, None, None] * speed + phase).sum(1) * np.sqrt(2 / waves)


def gaussian_smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth (T, ...) over time with a Gaussian of `sigma` frames. The first and last values are repeated outwards."""
    radius = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(values, [(radius, radius)] + [(0, 0)] * (values.ndim - 1), mode="edge")
    flat = padded.reshape(len(padded), -1)
    smooth = np.stack([np.convolve(column, kernel, mode="valid") for column in flat.T], axis=1)
    return smooth.reshape(values.shape)
