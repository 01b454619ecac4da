"""Procedural patterns of cloth."""

import numpy as np

PATTERNS = ("plain", "two_tone", "stripes", "bars", "checks", "dots", "diagonal", "blotches", "denim")


def cloth_colors(cloth: dict, point: np.ndarray, around: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """sRGB colors (P,3) of a cloth.

    cloth: its `pattern`, `colors` (2,3) and `scale`. point: (P,3) meters in the neutral stance. around: (P,) meters
    around trunk or limb.
    """
    first, second = cloth["colors"]
    weight = _weight(cloth["pattern"], cloth["scale"], point, around, rng)[:, None]
    return first + weight * (second - first)


def ripples(point: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise (P,) in about -1..1 with waves of about `length` meters, like folds."""
    # 1.7 is about the square root of 3, the length of a normally distributed vector in 3D: it brings the waves to
    # `length`, and the mean of six sines to about the range -1..1.
    waves = rng.normal(size=(3, 6)) * (2 * np.pi / length / 1.7)
    return np.sin(point @ waves + rng.uniform(0, 2 * np.pi, 6)).mean(-1) * 1.7


def _weight(name: str, scale: float, point: np.ndarray, around: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share of the second color (P,), 0..1."""
    height = point[:, 2]
    if name == "two_tone":
        return (point[:, 1] > 0).astype(np.float64)
    if name == "stripes":
        return _square(height, 0.09 * scale)
    if name == "bars":
        return _square(around, 0.07 * scale)
    if name == "checks":
        return 0.5 * _square(height, 0.08 * scale) + 0.5 * _square(around, 0.08 * scale)
    if name == "dots":
        pitch = 0.075 * scale
        row = np.round(height / pitch)
        across = around / pitch + 0.5 * (row % 2)
        return (np.hypot(height / pitch - row, across - np.round(across)) < 0.33).astype(np.float64)
    if name == "diagonal":
        return _square(height + around, 0.11 * scale)
    if name == "blotches":
        return (ripples(point, 0.16 * scale, rng) > 0.05).astype(np.float64)
    if name == "denim":
        return np.clip(0.15 + 0.2 * ripples(point, 0.05, rng) + 0.15 * (point[:, 0] > 0.05), 0, 1)
    return np.zeros(len(point))


def _square(place: np.ndarray, period: float) -> np.ndarray:
    return (place / period % 1 < 0.5).astype(np.float64)
