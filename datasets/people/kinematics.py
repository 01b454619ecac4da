"""Rotations, two-bone inverse kinematics and smooth curves for posing bodies. Radians, metres, float64 NumPy."""

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
    """Rotation vectors (..., 3) to matrices (..., 3, 3) (Rodrigues); small arrays, so NumPy beats a trip to torch."""
    rotation_vector = np.asarray(rotation_vector, dtype=np.float64)
    angle = np.linalg.norm(rotation_vector, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(rotation_vector, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
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
    """Vectors (..., 3) at length 1; a zero vector stays zero."""
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)


def two_bone_ik(
    root: np.ndarray, target: np.ndarray, pole: np.ndarray, upper: float, lower: float, min_bend: float = 0.05
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bend a limb so that its end meets a target, or points at it where it is out of reach.

    Args:
        root, target: (..., 3) where the limb starts and where its end shall be.
        pole: (..., 3) direction in which the middle joint is pushed out.
        upper, lower: lengths of the two bones; min_bend: the middle joint never straightens further.
    Returns:
        unit directions of the upper bone and of the push (orthogonal to it), both (..., 3), and the bend (...)
        of the middle joint, 0 = straight.
    """
    line = target - root
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
    """Eased passage through the values (K, ...) at the key times: at rest at every key. Returns (T, ...)."""
    values = np.asarray(values, dtype=np.float64)
    key_times = np.asarray(key_times, dtype=np.float64)
    after = np.clip(np.searchsorted(key_times, times), 1, max(len(key_times) - 1, 1))
    if len(key_times) == 1:
        return np.broadcast_to(values[0], (len(times), *values.shape[1:])).copy()
    span = np.maximum(key_times[after] - key_times[after - 1], 1e-6)
    share = ease((times - key_times[after - 1]) / span).reshape(-1, *(1,) * (values.ndim - 1))
    return values[after - 1] * (1 - share) + values[after] * share


def smooth_noise(rng: np.random.Generator, times: np.ndarray, period: float, channels: int) -> np.ndarray:
    """(T, channels) smooth wandering about 0, standard deviation 1, changing over about `period` seconds."""
    waves = 4
    speed = 2 * np.pi / (period * rng.uniform(0.8, 2.5, (waves, channels)))
    phase = rng.uniform(0, 2 * np.pi, (waves, channels))
    return np.sin(times[:, None, None] * speed + phase).sum(1) * np.sqrt(2 / waves)


def gaussian_smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth (T, ...) over time with a Gaussian of `sigma` frames; the ends are repeated."""
    radius = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(values, [(radius, radius)] + [(0, 0)] * (values.ndim - 1), mode="edge")
    flat = padded.reshape(len(padded), -1)
    smooth = np.stack([np.convolve(column, kernel, mode="valid") for column in flat.T], axis=1)
    return smooth.reshape(values.shape)
