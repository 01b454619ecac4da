"""Interiors drawn from a number: size, surfaces, windows, furniture, clutter and light differ.

World frame: z up, meters, floor at z = 0. People move within `Interior.area` of the middle, which is free.
"""

from typing import NamedTuple

import numpy as np

from datasets.rendered import materials
from datasets.rendered.materials import plain
from datasets.rendered.raycast import Light, Surface
from datasets.rendered.room import Builder
from datasets.rendered.wild import textures

TEXEL = 0.03  # meters
_FURNITURE = 1.2  # meters between the walls and cameras that are given
_THINGS = 0.75  # meters from the middle of a thing on the floor to people and to cameras that are given
_WALL_LAMPS = 1.9  # meters, the least height of a window's light: it must be above the people


class Interior(NamedTuple):
    """A furnished room and its light.

    surface: rectangles. half: (2,) half its width along x and y; height: meters. area: people stay within |x|, |y|.
    lamps: (P,3) points of its lamps; spread: as in `Light`. ambient: strength of the light from everywhere else.
    """

    surface: Surface
    half: np.ndarray
    height: float
    area: float
    lamps: np.ndarray
    spread: float
    ambient: float

    def hidden(self, place: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Whether something stands between a place (3,) and each of the targets (N,3)."""
        corners = self.surface.corners[self.surface.shell :]
        origin, across, along = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
        normal = np.cross(across, along)
        with np.errstate(divide="ignore", invalid="ignore"):
            reached = ((origin - place) * normal).sum(-1) / ((targets - place)[:, None] @ normal.T)[:, 0]
            offset = place + reached[..., None] * (targets - place)[:, None] - origin
            u, v = ((offset * edge).sum(-1) / (edge**2).sum(-1) for edge in (across, along))
            return ((reached > 0) & (reached < 1) & (u > 0) & (u < 1) & (v > 0) & (v < 1)).any(1)


class Space(NamedTuple):
    """What a room must hold: cameras within |x|, |y| <= reach and up to a height, and people within the area; meters.

    Nothing but mats stands within reach.
    """

    reach: float
    height: float
    area: float


def draw_interior(number: int, space: Space | None = None) -> Interior:
    """The interior of this number, always the same for the same space. None: of usual size, people in its middle."""
    rng = np.random.default_rng([91, number])
    # Halls, rooms, small rooms; the larger, the higher.
    low, high = [(4.5, 7.0), (3.2, 5.0), (2.6, 3.4)][rng.choice(3, p=[0.3, 0.5, 0.2])]
    half = rng.uniform(low, high, 2)
    height = float(rng.uniform(2.4, 3.2) + 0.35 * max(0.0, half.min() - 3.5) * rng.random())
    if space:
        half, height = np.maximum(half, space.reach + _FURNITURE), max(height, space.height + 0.2)
    builder = Builder(TEXEL)
    _add_shell(builder, half, height, rng)
    shell = len(builder.corners)
    lamps, spread, ambient = _add_light(builder, half, height, rng)
    _line_walls(builder, half, height, rng)
    area = space.area if space else float(np.clip(half.min() - 1.7, 0.6, 1.5))
    _scatter(builder, half, max(area, space.reach if space else 0) + _THINGS, area, rng)
    return Interior(builder.surface(shell), half, height, area, lamps, spread, ambient)


def draw_light(interior: Interior, rng: np.random.Generator) -> Light:
    """The light of a sequence: the interior's, brighter or darker, in a color of its own."""
    four = interior.lamps[rng.permutation(len(interior.lamps))[:4]]
    warmth, green = rng.normal(0, 0.07), rng.normal(0, 0.025)
    tint = rng.uniform(0.75, 1.25) * np.array([1 + warmth, 1 + green, 1 - warmth])
    return Light(four, rng.uniform(0.6, 1.6), interior.ambient * rng.uniform(0.85, 1.25), tint, interior.spread)


def _add_shell(builder: Builder, half: np.ndarray, height: float, rng: np.random.Generator) -> None:
    """Floor, ceiling and walls. They come first: the renderer meets them with planes and not as triangles."""
    x, y = half
    z = height
    builder.quad((-x, -y, 0), (2 * x, 0, 0), (0, 2 * y, 0), textures.floor(rng))
    ceiling = textures.color(rng, (0.3, 0.95), (0, 0.12))
    tiles = textures.planks(ceiling, 0.6, rng.choice([0.6, 1.2]), rng)
    tiles = tiles if rng.random() < 0.5 else plain(*ceiling)
    builder.quad((-x, y, z), (2 * x, 0, 0), (0, -2 * y, 0), tiles, texel=0.06)
    sides = [((-x, y), (2 * x, 0)), ((x, -y), (-2 * x, 0)), ((x, y), (0, -2 * y)), ((-x, -y), (0, 2 * y))]
    # Most rooms have one material on most walls.
    usual = textures.wall(rng)
    for origin, across in sides:
        wall = usual if rng.random() < 0.65 else textures.wall(rng)
        builder.quad((*origin, 0), (*across, 0), (0, 0, z), wall)


def _add_light(builder: Builder, half, height: float, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """Lamps on the ceiling, or the light of a window: their points, spread, and the ambient light."""
    if rng.random() < 0.35:
        # A window's light comes from a strip high on one wall, and reaches everything by reflection.
        side, sign = rng.integers(2), rng.choice([-1, 1])
        points = np.empty((12, 3))
        points[:, 1 - side] = np.linspace(-0.7, 0.7, 12) * half[1 - side]
        points[:, side] = sign * (half[side] - 0.15)
        points[:, 2] = np.minimum(rng.uniform(_WALL_LAMPS, 2.6, 12), height - 0.1)
        return points, rng.uniform(0.5, 1.0), rng.uniform(0.45, 0.9)
    count = rng.integers(1, 5)
    centers = rng.uniform(-0.6, 0.6, (count, 2)) * half
    size = np.array([rng.uniform(0.2, 1.5), rng.uniform(0.15, 0.6)])
    glow = rng.uniform(1.2, 1.8)
    for cx, cy in centers:
        (a, b), z = size, height - 0.02
        builder.quad((cx - a / 2, cy + b / 2, z), (a, 0, 0), (0, -b, 0), plain(glow, glow, 0.97 * glow), texel=0.2)
    points = np.repeat(centers, 12, axis=0) + rng.uniform(-0.5, 0.5, (12 * count, 2)) * size
    points = np.concatenate([points, np.full((len(points), 1), height - 0.05)], axis=1)
    return points, rng.choice([0.0, 0.0, 0.35]), rng.uniform(0.4, 0.9)


def _line_walls(builder: Builder, half: np.ndarray, height: float, rng: np.random.Generator) -> None:
    """Windows, doors, pictures and furniture along the four walls."""
    density = rng.uniform(0.55, 1.0)
    for side in range(4):
        wall = _Wall(builder, half, side)
        place = -wall.half + rng.uniform(0.1, 0.6)
        while place < wall.half - 0.5:
            width = rng.uniform(0.5, 2.2)
            if place + width > wall.half - 0.1:
                break
            if rng.random() < density:
                _WALL_PIECES[rng.integers(len(_WALL_PIECES))](wall, place, width, height, rng)
            # Things overlap: a picture above a table, a box before a cabinet.
            place += width * rng.uniform(0.45, 1.1)


class _Wall:
    """Adds things to one of four walls. u: meters along it from its middle; out: meters into the room."""

    def __init__(self, builder: Builder, half: np.ndarray, side: int):
        self.builder = builder
        angle = side * np.pi / 2
        self.out = np.array([-np.round(np.cos(angle)), -np.round(np.sin(angle))])
        self.along = np.array([-self.out[1], self.out[0]])
        axis = side % 2
        self.half, self.distance = float(half[1 - axis]), float(half[axis])

    def point(self, u: float, out: float) -> np.ndarray:
        """The point (2,) of the floor at a place along the wall and before it."""
        return -self.out * (self.distance - out) + self.along * u

    def flat(self, u: float, width: float, low: float, high: float, material) -> None:
        """A picture, window or door on the wall."""
        # The front of a rectangle is where the first edge crossed with the second points: into the room.
        start = self.point(u, 0.012)
        self.builder.quad((*start, low), (*(self.along * width), 0), (0, 0, high - low), material)

    def box(self, u: float, width: float, depth: float, low: float, high: float, material, front=None) -> None:
        """A box against the wall."""
        center = self.point(u + width / 2, depth / 2 + 0.02)
        size = np.abs(self.along) * width + np.abs(self.out) * depth
        facing = ("-" if self.out.sum() < 0 else "+") + ("x" if self.out[0] else "y")
        self.builder.box((*center, low), (*size, high - low), material, front, facing)


def _window(wall: _Wall, u: float, width: float, height: float, rng) -> None:
    low = rng.uniform(0.05, 1.1)
    wall.flat(u, width, low, min(height - 0.15, low + rng.uniform(1.0, 2.2)), textures.window(rng))
    if rng.random() < 0.4:
        wall.flat(u - 0.2, 0.35, 0.1, height - 0.2, materials.curtain)


def _door(wall: _Wall, u: float, width: float, height: float, rng) -> None:
    wall.flat(u, min(width, 1.1), 0, 2.05, textures.surface(rng) if rng.random() < 0.6 else materials.door)


def _pictures(wall: _Wall, u: float, width: float, height: float, rng) -> None:
    for _ in range(rng.integers(1, 4)):
        low = rng.uniform(0.8, 1.6)
        wall.flat(u + rng.uniform(0, 0.6) * width, rng.uniform(0.25, 0.9), low, low + rng.uniform(0.25, 1.0),
                  textures.picture(rng))  # fmt: skip


def _cabinet(wall: _Wall, u: float, width: float, height: float, rng) -> None:
    high = min(rng.uniform(0.5, 2.2), height - 0.1)
    front = [None, materials.books, materials.locker(textures.color(rng, (0.2, 0.8), (0, 0.7))), textures.picture(rng)]
    wall.box(u, width, rng.uniform(0.25, 0.6), 0, high, textures.surface(rng), front[rng.integers(4)])
    _clutter(wall, u, width, high, rng)


def _table(wall: _Wall, u: float, width: float, height: float, rng) -> None:
    high, depth = rng.uniform(0.6, 0.95), rng.uniform(0.5, 0.8)
    x, y = wall.point(u + width / 2, depth / 2 + 0.05)
    size = np.abs(wall.along) * width + np.abs(wall.out) * depth
    wall.builder.table((x, y), (*size, high), textures.surface(rng), textures.surface(rng))
    _clutter(wall, u, width, high, rng)


def _clutter(wall: _Wall, u: float, width: float, high: float, rng) -> None:
    """Boxes, screens and other things on top of furniture."""
    for _ in range(rng.integers(0, 5)):
        side = rng.uniform(0.08, 0.45)
        start = u + rng.uniform(0, max(0.01, width - side))
        front = textures.picture(rng) if rng.random() < 0.3 else None
        wall.box(start, side, rng.uniform(0.06, 0.3), high, high + rng.uniform(0.06, 0.5), textures.surface(rng), front)


def _stack(wall: _Wall, u: float, width: float, height: float, rng) -> None:
    """Cartons, mats, bags on the floor before the wall."""
    for _ in range(rng.integers(1, 5)):
        side, low = rng.uniform(0.2, 0.7), 0.0
        start = u + rng.uniform(0, max(0.01, width - side))
        for _ in range(rng.integers(1, 4)):
            high = low + rng.uniform(0.12, 0.5)
            material = materials.carton if rng.random() < 0.4 else textures.surface(rng)
            wall.box(start + rng.uniform(-0.05, 0.05), side, rng.uniform(0.2, 0.6), low, high, material)
            low = high


def _heater(wall: _Wall, u: float, width: float, height: float, rng) -> None:
    wall.box(u, width, 0.1, 0.12, rng.uniform(0.5, 0.9), materials.ribs)


def _pillar(wall: _Wall, u: float, width: float, height: float, rng) -> None:
    wall.box(u, rng.uniform(0.15, 0.5), rng.uniform(0.1, 0.5), 0, height - 0.01, textures.wall(rng))


def _plant(wall: _Wall, u: float, width: float, height: float, rng) -> None:
    x, y = wall.point(u + 0.3, 0.4)
    size = rng.uniform(0.6, 1.3)
    wall.builder.column((x, y, 0), (0.16 * size, 0.21 * size), 0.35 * size, textures.surface(rng))
    for low, high in ((0.36, 0.20), (0.33, 0.14), (0.25, 0.03)):
        start = (0.35 if low == 0.36 else 0.62 if low == 0.33 else 0.92) * size
        wall.builder.column((x, y, start), (low * size, high * size), 0.32 * size, materials.leaves)


_WALL_PIECES = (
    _window, _window, _door, _pictures, _pictures, _cabinet, _cabinet, _cabinet, _table, _table, _stack, _stack,
    _heater, _pillar, _plant,
)  # fmt: skip


def _scatter(builder: Builder, half: np.ndarray, free: float, area: float, rng: np.random.Generator) -> None:
    """Chairs, benches and equipment between the walls and |x|, |y| < free; mats in the area of the people."""
    for _ in range(rng.integers(2, 14)):
        place = rng.uniform(-1, 1, 2) * (half - 0.7)
        if np.abs(place).max() < free:
            continue
        kind = rng.integers(4)
        if kind == 0:
            back = [(1, 0), (-1, 0), (0, 1), (0, -1)][rng.integers(4)]
            builder.chair(tuple(place), back, textures.surface(rng))
        elif kind == 1:
            builder.table(tuple(place), (*rng.uniform(0.4, 1.4, 2), rng.uniform(0.35, 0.9)), textures.surface(rng),
                          textures.surface(rng))  # fmt: skip
        elif kind == 2:
            builder.box((*place, 0), rng.uniform(0.2, 0.9, 3) * [1, 1, 0.8], textures.surface(rng))
        else:
            # A stand or a pole: a tripod, a lamp, a post.
            builder.column((*place, 0), (0.03, 0.03), rng.uniform(1.0, 1.9), textures.surface(rng), sides=5)
            builder.box((*place, 1.2), (0.15, 0.15, 0.2), textures.surface(rng))
    # Mats and treadmills lie under the people.
    for _ in range(rng.choice([0, 1, 2], p=[0.45, 0.35, 0.2])):
        a, b = rng.uniform(0.7, 3.0, 2)
        x, y = rng.uniform(-0.5, 0.5, 2) * area - [a / 2, b / 2]
        mat = textures.mottled(textures.color(rng, (0.1, 0.8), (0, 0.9)), 0.05, 0.5, rng)
        lift = 0.004 + 0.004 * rng.random()
        builder.quad((x, y, lift), (a, 0, 0), (0, b, 0), mat)
