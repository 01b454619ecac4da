"""Procedural materials of the room.

Sines serve as random numbers: a material is a pure function of the place, so that every run has the same boards and
bricks without a seed.
"""

from collections.abc import Callable

import numpy as np

# (u, v) meters along both edges of a surface -> sRGB colors (...,3) in 0..1; a glowing surface may exceed 1.
Material = Callable[[np.ndarray, np.ndarray], np.ndarray]


def plain(*color: float) -> Material:
    """One color."""
    return lambda u, v: np.broadcast_to(np.asarray(color), (*u.shape, 3))


def wood(*color: float) -> Material:
    """Grain along u."""
    return lambda u, v: shaded(color, 0.10 * np.sin(60 * v + 2 * np.sin(3 * u)) + 0.06 * np.sin(171 * v))


def cloth(*color: float) -> Material:
    """A coarse weave."""
    return lambda u, v: shaded(color, 0.06 * np.sin(95 * u) * np.sin(95 * v) + 0.05 * _grain(u, v))


def checkered(first, second, side: float) -> Material:
    """A chessboard of two colors."""
    return lambda u, v: choose((u // side + v // side) % 2 < 1, first, second)


def floor(half_x: float, half_y: float) -> Material:
    """Planks, with a mat where people move."""

    def color_at(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        # A random tone per board: the hash of shaders, fract(sin(n * 12.9898) * 43758.5453).
        plank = np.floor(v / 0.16)
        board = plank + 7 * np.floor((u + 0.53 * plank) / 1.3)
        tone = 0.16 * (np.sin(12.9898 * board) * 43758.5453 % 1 - 0.5) + 0.05 * np.sin(90 * v + 3 * np.sin(2 * u))
        gap = (v % 0.16 < 0.012) * 0.25
        planks = shaded((0.56, 0.44, 0.33), tone - gap)
        mat = shaded((0.36, 0.42, 0.47), 0.07 * _grain(u, v))
        x, y = np.abs(u - half_x), np.abs(v - half_y)
        edge = np.maximum(x - 2.3, y - 2.0)
        colors = np.where((edge < 0)[..., None], mat, planks)
        return np.where((np.abs(edge + 0.08) < 0.04)[..., None], (0.72, 0.66, 0.42), colors)

    return color_at


def ceiling(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Tiles."""
    return shaded((0.84, 0.84, 0.82), -0.12 * ((u % 0.6 < 0.05) | (v % 0.6 < 0.05)))


def wall(upper, lower) -> Material:
    """Two colors with a rail between them and a skirting board."""

    def color_at(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        colors = choose(v > 0.95, upper, lower) * (1 + 0.02 * _grain(u, v))[..., None]
        colors[np.abs(v - 0.95) < 0.03] = (0.42, 0.36, 0.30)
        colors[v < 0.1] = (0.30, 0.27, 0.24)
        return colors

    return color_at


def bricks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A brick wall."""
    course = np.floor(v / 0.11)
    place = u / 0.30 + 0.5 * (course % 2)
    mortar = (v % 0.11 < 0.018) | (place % 1 < 0.06)
    tone = 0.25 * (np.sin(78.233 * (np.floor(place) + 31 * course)) * 43758.5453 % 1 - 0.5)
    colors = shaded((0.66, 0.46, 0.38), tone)
    colors[mortar] = (0.70, 0.66, 0.60)
    return colors


def books(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The open front of a book shelf."""
    shelf, up = np.floor(v / 0.4), v % 0.4
    book = np.floor((u + 0.013 * shelf) / 0.055) + 57 * shelf
    hues = np.stack([np.sin((12.9 + 7 * c) * book + c) * 0.5 + 0.5 for c in range(3)], axis=-1)
    colors = 0.15 + 0.6 * hues
    height = 0.22 + 0.1 * (np.sin(4.7 * book) * 0.5 + 0.5)
    colors[up > height + 0.03] = (0.12, 0.09, 0.07)
    colors[(up < 0.03) | (u < 0.03) | (u > u.max() - 0.02)] = (0.45, 0.30, 0.18)
    return colors


def poster(hue: int) -> Material:
    """A framed poster of soft shapes."""

    def color_at(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        shapes = [np.sin((5 + c + hue) * u + 2 * np.sin(4 * v + hue)) + np.sin((7 - c) * v + hue * c) for c in range(3)]
        colors = 0.5 + 0.2 * np.stack(shapes, axis=-1)
        edge = np.minimum(np.minimum(u, u.max() - u), np.minimum(v, v.max() - v))
        colors[edge < 0.03] = (0.14, 0.12, 0.11)
        return colors

    return color_at


def screen(color) -> Material:
    """A switched-on monitor."""

    def color_at(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        colors = np.tile(np.asarray(color) * 1.5, (*u.shape, 1))
        colors[(v % 0.06 < 0.025) & (u < 0.42) & (u > 0.08)] = (0.75, 0.8, 0.8)
        edge = np.minimum(np.minimum(u, u.max() - u), np.minimum(v, v.max() - v))
        colors[edge < 0.02] = (0.06, 0.06, 0.07)
        return colors

    return color_at


def window(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Sky and trees behind a frame; brighter than the room."""
    trees = 0.55 + 0.12 * np.sin(9 * u) + 0.06 * np.sin(31 * u + 1)
    sky = np.stack([0.85 - 0.15 * v, 0.95 - 0.08 * v, np.full_like(v, 1.1)], axis=-1)
    colors = np.where((v < trees)[..., None], shaded((0.35, 0.52, 0.28), 0.2 * np.sin(23 * u) * np.sin(29 * v)), sky)
    frame = (np.abs(u - 0.75) < 0.03) | (np.abs(v - 1.0) < 0.025)
    frame |= np.minimum(np.minimum(u, u.max() - u), np.minimum(v, v.max() - v)) < 0.06
    colors[frame] = (0.86, 0.85, 0.82)
    return colors


def whiteboard(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A whiteboard with a few lines of writing."""
    colors = np.tile(np.array([0.93, 0.94, 0.95]), (*u.shape, 1))
    writing = (
        (np.abs((v % 0.17) - 0.08 - 0.025 * np.sin(60 * u)) < 0.014) & (u > 0.15) & (u < 0.9 + 0.3 * np.sin(9 * v))
    )
    colors[writing] = (0.20, 0.25, 0.60)
    edge = np.minimum(np.minimum(u, u.max() - u), np.minimum(v, v.max() - v))
    colors[edge < 0.03] = (0.55, 0.56, 0.58)
    return colors


def door(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A door with two panels and a handle."""
    colors = np.array(wood(0.48, 0.33, 0.22)(v, u))
    inset = np.minimum(np.minimum(u, u.max() - u) - 0.14, np.minimum(v % 1.05, 1.05 - v % 1.05) - 0.12)
    colors[np.abs(inset) < 0.015] *= 0.55
    colors[np.hypot(u - 0.85, v - 1.02) < 0.045] = (0.85, 0.80, 0.55)
    return colors


def ribs(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A heater."""
    return shaded((0.86, 0.86, 0.84), -0.25 * (u % 0.1 < 0.035))


def carton(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Cardboard with tape."""
    return choose(np.abs(u - u.mean()) < 0.03, (0.80, 0.72, 0.55), (0.66, 0.50, 0.33))


def leaves(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Foliage."""
    return shaded((0.20, 0.42, 0.16), 0.35 * np.sin(70 * u + 9 * np.sin(20 * v)) * np.sin(45 * v))


def curtain(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Long folds."""
    return shaded((0.34, 0.20, 0.34), 0.28 * np.sin(42 * u) + 0.1 * np.sin(97 * u + 1))


def locker(color) -> Material:
    """A metal door with slits."""

    def color_at(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        slits = (np.abs(v - 1.5) < 0.12) & (v % 0.05 < 0.02) & (np.abs(u - 0.25) < 0.13)
        edge = np.minimum(u, u.max() - u) < 0.015
        return shaded(color, -0.5 * (slits | edge) - 0.4 * (np.hypot(u - 0.42, v - 0.95) < 0.03))

    return color_at


def shaded(color, amount: np.ndarray) -> np.ndarray:
    """A color, lighter or darker by a share `amount` (...)."""
    return np.clip(np.asarray(color) * (1 + amount)[..., None], 0.02, 0.98)


def choose(mask: np.ndarray, first, second) -> np.ndarray:
    """The first color where the mask (...) is true, else the second."""
    return np.where(mask[..., None], np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64))


def _grain(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Irregular speckle in -1..1, smooth enough not to flicker between neighboring pixels."""
    return np.sin(23 * u + 5 * np.sin(17 * v)) * np.sin(29 * v + 4 * np.sin(19 * u))
