"""The room around all subjects: floor, walls, windows and furniture, as textured rectangles.

World frame: z up, meters, floor at z = 0. The middle, where people move, and the cameras' lines of sight are free.
"""

import numpy as np

from datasets.rendered import materials
from datasets.rendered.materials import Material, plain
from datasets.rendered.raycast import Surface

HALF_X, HALF_Y, HEIGHT = 5.6, 5.3, 3.2
LAMPS = ((1.0, 1.5), (-1.3, -0.8))  # centers on the ceiling
LAMP_SIZE = (1.2, 0.6)
TEXEL = 0.02  # meters


def build_room() -> Surface:
    """The room as textured rectangles, its walls first."""
    builder = Builder()
    _add_shell(builder)
    shell = len(builder.corners)
    _add_lamps(builder)
    _furnish_east(builder)
    _furnish_west(builder)
    _furnish_north(builder)
    _furnish_south(builder)
    return builder.surface(shell)


def lamp_points(per_lamp: int = 12) -> np.ndarray:
    """Points evenly spaced over the lamps (2*per_lamp,3), meters, alternating between the two."""
    k = np.arange(per_lamp)
    # Multiples of the golden ratio space the points evenly along the second axis too.
    inside = np.stack([(k + 0.5) / per_lamp, (k * 0.618 + 0.3) % 1], axis=-1) - 0.5
    points = np.asarray(LAMPS) + (inside * LAMP_SIZE)[:, None]
    return np.concatenate([points, np.full((per_lamp, len(LAMPS), 1), HEIGHT - 0.05)], axis=-1).reshape(-1, 3)


class Builder:
    """Collects textured rectangles. A `Material` gets meters along both edges. texel: side of a texel, meters."""

    def __init__(self, texel: float = TEXEL):
        self.texel = texel
        self.corners, self.tiles, self.albedo, self.count = [], [], [], 0

    def quad(self, origin, across, along, material: Material, texel: float | None = None) -> None:
        """Add a parallelogram, whose front is where `across` x `along` points."""
        origin, across, along = (np.asarray(v, dtype=np.float64) for v in (origin, across, along))
        width, height, texel = np.linalg.norm(across), np.linalg.norm(along), texel or self.texel
        columns, rows = max(1, round(width / texel)), max(1, round(height / texel))
        u, v = np.meshgrid((np.arange(columns) + 0.5) / columns * width, (np.arange(rows) + 0.5) / rows * height)
        self.corners.append([origin, origin + across, origin + across + along, origin + along])
        self.tiles.append((self.count, columns, rows))
        # Squaring converts sRGB to linear albedo. `tone_map` of the kernels takes the root again.
        self.albedo.append(np.broadcast_to(material(u, v), (rows, columns, 3)).reshape(-1, 3) ** 2)
        self.count += columns * rows

    def box(self, center, size, material: Material, front: Material | None = None, facing: str = "") -> None:
        """Add an upright box. center: of its underside. front: material of the side `facing` "+x", "-x", "+y", "-y"."""
        (x, y, z), (a, b, c) = center, size
        low, high = (x - a / 2, y - b / 2), (x + a / 2, y + b / 2)
        sides = {
            "-y": ((low[0], low[1], z), (a, 0, 0)),
            "+x": ((high[0], low[1], z), (0, b, 0)),
            "+y": ((high[0], high[1], z), (-a, 0, 0)),
            "-x": ((low[0], high[1], z), (0, -b, 0)),
        }
        for side, (origin, across) in sides.items():
            self.quad(origin, across, (0, 0, c), front if front and side == facing else material)
        self.quad((low[0], low[1], z + c), (a, 0, 0), (0, b, 0), material)
        if z > 0:
            self.quad((low[0], high[1], z), (a, 0, 0), (0, -b, 0), material)

    def column(self, center, radii: tuple[float, float], height: float, material: Material, sides: int = 10) -> None:
        """Add an upright cone frustum without lids. radii: at the bottom and at the top."""
        angles = np.linspace(0, 2 * np.pi, sides + 1)
        ring = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=-1)
        low, high = np.asarray(center) + ring * radii[0], np.asarray(center) + ring * radii[1] + [0, 0, height]
        # The sides are trapezoids, but only parallelograms can be added: each is as wide as the middle of the frustum.
        for k in range(sides):
            middle, edge = (low[k] + low[k + 1] + high[k] + high[k + 1]) / 4, ring[k + 1] - ring[k]
            across = edge * (radii[0] + radii[1]) / 2
            along = (high[k] + high[k + 1] - low[k] - low[k + 1]) / 2
            self.quad(middle - across / 2 - along / 2, across, along, material)

    def table(self, center, size, material: Material, legs: Material) -> None:
        """Add a board on four legs. size: length along x, along y, height."""
        (x, y), (a, b, c) = center, size
        self.box((x, y, c - 0.04), (a, b, 0.04), material)
        for i in (-1, 1):
            for j in (-1, 1):
                self.box((x + i * (a / 2 - 0.06), y + j * (b / 2 - 0.06), 0), (0.05, 0.05, c - 0.04), legs)

    def chair(self, center, back: tuple[int, int], material: Material) -> None:
        """Add a chair. back: the axis of the floor along which its back lies."""
        x, y = center
        self.table(center, (0.42, 0.42, 0.46), material, plain(0.25, 0.25, 0.27))
        thin = (0.04 if back[0] else 0.42, 0.04 if back[1] else 0.42, 0.42)
        self.box((x + back[0] * 0.19, y + back[1] * 0.19, 0.5), thin, material)

    def surface(self, shell: int) -> Surface:
        return Surface(np.array(self.corners), np.array(self.tiles, dtype=np.int32), np.concatenate(self.albedo), shell)


def _add_shell(builder: Builder) -> None:
    """Floor, ceiling and walls. They come first: the renderer meets them with planes and not as triangles."""
    x, y, z = HALF_X, HALF_Y, HEIGHT
    builder.quad((-x, -y, 0), (2 * x, 0, 0), (0, 2 * y, 0), materials.floor(x, y))
    builder.quad((-x, y, z), (2 * x, 0, 0), (0, -2 * y, 0), materials.ceiling, texel=0.1)
    wall = materials.wall
    builder.quad((-x, y, 0), (2 * x, 0, 0), (0, 0, z), wall((0.80, 0.77, 0.70), (0.50, 0.56, 0.60)))  # north, +y
    builder.quad((x, -y, 0), (-2 * x, 0, 0), (0, 0, z), wall((0.62, 0.70, 0.74), (0.46, 0.52, 0.58)))  # south
    builder.quad((x, y, 0), (0, -2 * y, 0), (0, 0, z), wall((0.83, 0.80, 0.74), (0.60, 0.45, 0.36)))  # east, +x
    builder.quad((-x, -y, 0), (0, 2 * y, 0), (0, 0, z), materials.bricks)  # west


def _add_lamps(builder: Builder) -> None:
    # They hang 2 cm under the ceiling, and a color above 1 makes them glow.
    for cx, cy in LAMPS:
        a, b = LAMP_SIZE
        builder.quad((cx - a / 2, cy + b / 2, HEIGHT - 0.02), (a, 0, 0), (0, -b, 0), plain(1.6, 1.6, 1.55), texel=0.2)


def _furnish_east(builder: Builder) -> None:
    """Desk with two screens, shelf, chair, posters."""
    x = HALF_X
    builder.table((x - 0.45, 0.3), (0.8, 2.0, 0.75), materials.wood(0.62, 0.45, 0.28), plain(0.2, 0.2, 0.22))
    for y, colors in ((-0.15, (0.16, 0.32, 0.52)), (0.7, (0.12, 0.42, 0.36))):
        screen = materials.screen(colors)
        builder.box((x - 0.35, y, 0.87), (0.05, 0.6, 0.38), plain(0.08, 0.08, 0.09), screen, "-x")
        builder.box((x - 0.33, y, 0.75), (0.06, 0.12, 0.14), plain(0.12, 0.12, 0.13))
    builder.chair((x - 1.05, 0.35), (-1, 0), plain(0.55, 0.16, 0.14))
    builder.box((x - 0.2, -1.6, 0), (0.36, 1.1, 2.0), materials.wood(0.45, 0.30, 0.18), materials.books, "-x")
    builder.box((x - 0.2, 2.1, 0), (0.4, 0.5, 1.1), plain(0.36, 0.42, 0.40))
    for y, z, hue in ((0.9, 1.75, 0), (-0.1, 1.75, 1), (2.6, 1.6, 2)):
        builder.quad((x - 0.01, y, z), (0, -0.6, 0), (0, 0, 0.85), materials.poster(hue))


def _furnish_west(builder: Builder) -> None:
    """Sofa, plant, door."""
    x, red = -HALF_X, materials.cloth(0.55, 0.22, 0.20)
    builder.box((x + 0.5, -0.4, 0), (0.9, 1.9, 0.42), red)
    builder.box((x + 0.16, -0.4, 0.42), (0.25, 1.9, 0.42), red)
    for y in (-1.25, 0.45):
        builder.box((x + 0.5, y, 0.42), (0.9, 0.2, 0.2), red)
    builder.box((x + 0.4, -0.1, 0.42), (0.14, 0.42, 0.36), materials.checkered((0.85, 0.8, 0.6), (0.3, 0.4, 0.6), 0.09))
    builder.column((x + 0.45, 1.3, 0), (0.16, 0.21), 0.35, plain(0.62, 0.34, 0.22))
    for z, low, high in ((0.35, 0.36, 0.20), (0.62, 0.33, 0.14), (0.92, 0.25, 0.03)):
        builder.column((x + 0.45, 1.3, z), (low, high), 0.32, materials.leaves)
    builder.quad((x + 0.01, 2.2, 0), (0, 0.95, 0), (0, 0, 2.1), materials.door)
    builder.quad((x + 0.01, -1.1, 1.35), (0, 1.4, 0), (0, 0, 0.95), materials.poster(4))


def _furnish_north(builder: Builder) -> None:
    """Two windows with a heater under each, boxes, whiteboard between them."""
    y = HALF_Y
    for cx in (-1.9, 1.9):
        builder.quad((cx - 0.75, y - 0.01, 1.0), (1.5, 0, 0), (0, 0, 1.5), materials.window)
        builder.box((cx, y - 0.1, 0.15), (1.4, 0.12, 0.6), materials.ribs)
    builder.quad((-0.8, y - 0.01, 0.95), (1.6, 0, 0), (0, 0, 1.1), materials.whiteboard)
    builder.box((-0.1, y - 0.5, 0), (0.6, 0.5, 0.45), materials.carton)
    builder.box((0.5, y - 0.45, 0), (0.5, 0.5, 0.38), materials.carton)
    builder.box((-0.05, y - 0.5, 0.45), (0.42, 0.4, 0.32), materials.carton)
    builder.chair((-1.3, y - 0.6), (0, 1), plain(0.16, 0.32, 0.52))


def _furnish_south(builder: Builder) -> None:
    """Lockers, a curtain, a table with a box."""
    y = -HALF_Y
    for k, color in enumerate(((0.30, 0.44, 0.52), (0.62, 0.58, 0.30), (0.30, 0.44, 0.52))):
        builder.box((-1.6 + 0.52 * k, y + 0.25, 0), (0.5, 0.45, 1.8), plain(*color), materials.locker(color), "+y")
    builder.table((0.9, y + 0.4), (1.4, 0.7, 0.74), materials.wood(0.75, 0.62, 0.45), plain(0.75, 0.75, 0.75))
    builder.box((0.6, y + 0.4, 0.74), (0.4, 0.3, 0.28), plain(0.72, 0.66, 0.14))
    builder.box((1.2, y + 0.4, 0.74), (0.3, 0.3, 0.42), plain(0.20, 0.20, 0.22))
    builder.quad((3.6, y + 0.02, 0.1), (-1.5, 0, 0), (0, 0, 2.7), materials.curtain)
    builder.column((-2.6, y + 0.4, 0), (0.17, 0.2), 0.6, plain(0.18, 0.36, 0.26))
