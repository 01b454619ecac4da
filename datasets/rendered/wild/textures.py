"""Materials of drawn interiors: walls, floors, wood, cloth and pictures, each with its own colors and grain."""

from collections.abc import Callable

import numpy as np

from datasets.rendered import materials
from datasets.rendered.materials import Material

Noise = Callable[[np.ndarray, np.ndarray], np.ndarray]


def noise(rng: np.random.Generator, length: float, octaves: int = 3) -> Noise:
    """Smooth noise of (u, v) in about -1..1 with details from `length` meters down."""
    waves = 5
    angles = rng.uniform(0, 2 * np.pi, (octaves, waves))
    speeds = 2 * np.pi / length * 2.1 ** np.arange(octaves)[:, None] * rng.uniform(0.6, 1.5, (octaves, waves))
    phases = rng.uniform(0, 2 * np.pi, (octaves, waves))
    terms = [
        (0.6**octave, speed * np.cos(angle), speed * np.sin(angle), phase)
        for octave in range(octaves)
        for speed, angle, phase in zip(speeds[octave], angles[octave], phases[octave], strict=True)
    ]
    scale = 1.2 / np.sqrt(sum(weight**2 for weight, *_ in terms))

    def value(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return scale * sum(weight * np.sin(a * u + b * v + phase) for weight, a, b, phase in terms)

    return value


def color(rng: np.random.Generator, value: tuple[float, float], saturation: tuple[float, float] = (0, 0.3)):
    """A random sRGB color (3,) of any hue, most often a warm one."""
    hue = rng.normal(0.09, 0.05) if rng.random() < 0.5 else rng.random()
    wave = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return rng.uniform(*value) * (1 - rng.uniform(*saturation) * (1 - wave))


def mottled(base: np.ndarray, amount: float, length: float, rng: np.random.Generator) -> Material:
    """A color with stains and grain, as of plaster, concrete, carpet or lino."""
    stains, grain = noise(rng, length), noise(rng, 0.12, 2)
    return lambda u, v: materials.shaded(base, amount * stains(u, v) + 0.4 * amount * grain(u, v))


def planks(base: np.ndarray, width: float, length: float, rng: np.random.Generator) -> Material:
    """Boards or tiles of slightly different tones, with gaps."""
    tones = rng.uniform(-1, 1, 257)
    contrast, gap, grain = rng.uniform(0.02, 0.12), rng.uniform(-0.4, 0.1), noise(rng, 0.5)
    shift = rng.choice([0.0, 0.5, 0.37])
    edge = 0.03 * rng.uniform(0.3, 1)

    def color_at(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        row = np.floor(v / width)
        along = u / length + shift * row
        tone = tones[(row * 31 + np.floor(along) * 17).astype(int) % 257] * contrast + 0.04 * grain(u, 4 * v)
        between = (v % width < edge * min(1, 3 * width)) | (along % 1 * length < edge * min(1, 3 * width))
        return materials.shaded(base, tone + gap * between)

    return color_at


def striped(first: np.ndarray, second: np.ndarray, width: float) -> Material:
    """Upright stripes, as of wallpaper, blinds or folds."""
    return lambda u, v: materials.choose(u % width < width / 2, first, second)


def split(upper: Material, lower: Material, height: float, rail: np.ndarray) -> Material:
    """A wall with another material below a rail."""

    def color_at(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        colors = np.where((v > height)[..., None], upper(u, v), lower(u, v))
        colors[np.abs(v - height) < 0.03] = rail
        return colors

    return color_at


def picture(rng: np.random.Generator) -> Material:
    """A poster, a photograph or a notice board: blobs of color, maybe lines of writing, in a frame."""
    layers = [noise(rng, rng.uniform(0.15, 0.9), 2) for _ in range(3)]
    colors = [color(rng, (0.1, 0.95), (0, 0.8)) for _ in range(4)]
    frame, written = color(rng, (0.05, 0.6)), rng.random() < 0.4

    def color_at(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        shown = np.broadcast_to(colors[0], (*u.shape, 3)).copy()
        for layer, tint in zip(layers, colors[1:], strict=True):
            shown[layer(u, v) > 0.25] = tint
        if written:
            shown[(v % 0.09 < 0.03) & (np.sin(43 * u + 9 * np.floor(v / 0.09)) > -0.3)] = colors[3]
        edge = np.minimum(np.minimum(u, u.max() - u), np.minimum(v, v.max() - v))
        shown[edge < 0.025] = frame
        return shown

    return color_at


def window(rng: np.random.Generator) -> Material:
    """Sky, and trees or houses, behind a frame; or blinds before it."""
    sky, ground = color(rng, (0.9, 1.25), (0, 0.2)), color(rng, (0.2, 0.6), (0.1, 0.5))
    outline, leaves = noise(rng, 0.8), noise(rng, 0.2)
    bars, blind = rng.uniform(0.4, 0.9), rng.choice([0.0, 0.0, 0.05, 0.08])
    frame = color(rng, (0.3, 0.95), (0, 0.2))
    horizon = rng.uniform(0, 1.2)

    def color_at(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        colors = np.broadcast_to(sky, (*u.shape, 3)).copy()
        below = v < horizon + 0.25 * outline(u, 0 * v)
        colors[below] = (ground * (1 + 0.3 * leaves(u, v))[..., None])[below]
        if blind:
            colors[v % blind < blind * 0.6] = frame * 0.9
        edge = np.minimum(np.minimum(u, u.max() - u), np.minimum(v, v.max() - v))
        colors[(edge < 0.06) | (np.abs(u % bars - bars / 2) < 0.02)] = frame
        return np.clip(colors, 0.02, 1.3)

    return color_at


def wall(rng: np.random.Generator) -> Material:
    """Plaster, bricks, wallpaper, panels or tiles, maybe with another material below a rail."""
    base = color(rng, (0.6, 1.0) if rng.random() < 0.8 else (0.2, 0.6), (0, 0.2 if rng.random() < 0.75 else 0.5))
    kind = rng.choice(("plaster", "brick", "paper", "planks", "tiles", "split"), p=(0.46, 0.1, 0.08, 0.08, 0.08, 0.2))
    if kind == "brick":
        return planks(color(rng, (0.35, 0.85), (0.1, 0.5)), rng.uniform(0.08, 0.2), rng.uniform(0.25, 0.5), rng)
    if kind == "paper":
        return striped(base, base * rng.uniform(0.75, 0.97), rng.uniform(0.08, 0.4))
    if kind == "planks":
        turned = planks(base, rng.uniform(0.1, 0.4), 3.0, rng)
        return lambda u, v: turned(v, u)
    if kind == "tiles":
        side = rng.uniform(0.1, 0.6)
        return planks(base, side, side, rng)
    plaster = mottled(base, rng.uniform(0.01, 0.06), rng.uniform(0.6, 3), rng)
    if kind == "plaster":
        return plaster
    lower = mottled(color(rng, (0.15, 0.8), (0, 0.5)), 0.03, 1.0, rng)
    return split(plaster, lower, rng.uniform(0.3, 1.5), color(rng, (0.1, 0.6)))


def floor(rng: np.random.Generator) -> Material:
    """Boards, tiles, carpet, concrete, lino; gym floors have lines."""
    base = color(rng, (0.25, 0.85), (0, 0.25 if rng.random() < 0.7 else 0.7))
    kind = rng.choice(("boards", "tiles", "plain", "checks"), p=(0.3, 0.2, 0.42, 0.08))
    if kind == "boards":
        found = planks(color(rng, (0.35, 0.8), (0.25, 0.55)), rng.uniform(0.06, 0.2), rng.uniform(0.6, 2), rng)
    elif kind == "tiles":
        side = rng.uniform(0.15, 0.8)
        found = planks(base, side, side, rng)
    elif kind == "checks":
        found = materials.checkered(base, color(rng, (0.1, 0.9)), rng.uniform(0.2, 0.6))
    else:
        found = mottled(base, rng.uniform(0.01, 0.05), rng.uniform(0.3, 2), rng)
    if rng.random() < 0.25:
        return _lined(found, rng)
    return found


def _lined(found: Material, rng: np.random.Generator) -> Material:
    """A floor with colored lines of tape or paint."""
    lines = [
        (rng.random() < 0.5, rng.uniform(1, 8), color(rng, (0.3, 1.0), (0, 0.9))) for _ in range(rng.integers(1, 5))
    ]
    width = rng.uniform(0.03, 0.08)

    def color_at(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        colors = np.array(found(u, v))
        for across, place, tint in lines:
            colors[np.abs((u if across else v) - place) < width / 2] = tint
        return colors

    return color_at


def surface(rng: np.random.Generator) -> Material:
    """What furniture is made of: wood, paint, metal, plastic, cloth."""
    kind = rng.integers(4)
    if kind == 0:
        return materials.wood(*color(rng, (0.25, 0.85), (0.2, 0.6)))
    if kind == 1:
        return mottled(color(rng, (0.05, 0.95), (0, 0.15)), 0.03, 0.5, rng)
    if kind == 2:
        return materials.cloth(*color(rng, (0.1, 0.8), (0.1, 0.85)))
    return mottled(color(rng, (0.1, 0.95), (0.2, 0.9)), 0.05, 0.4, rng)
