"""Renders a posed person in a lit room as virtual crop cameras see it, with Warp on a CPU or a GPU.

Body and furniture are rasterized into depth buffers of the cameras; for shadows, the body also into those of the lamps.
Rays are cast only for the light of the room, which is baked once for all crops.

World frame: z up, meters. Camera frames: x right, y down, z forward, meters.
"""

import functools
import sys
import threading
from types import ModuleType
from typing import NamedTuple

import numpy as np

from datasets.cameras.crop_camera import crop_camera
from utils.commands import install_extra
from utils.errors import UserError

AMBIENT_REACH = 1.5  # meters within which other surfaces darken a point
AMBIENT_DIRECTIONS = 64
RAY_OFFSET = 3e-3  # meters in front of a surface where its rays start, so that they do not hit the surface itself
LIGHT_TEXELS = 5  # texels along an axis per computed value of light; values in between are interpolated
# A GPU machine renders on its cores too: they pose, dress and write in any case, and 16 of them render faster than they
# could wait for one GPU. And a set then has the same bytes with and without a GPU.
DEVICE = "cpu"
_LOOK_DOWN = np.diag([1.0, -1.0, -1.0])  # world -> a camera that looks down


class Surface(NamedTuple):
    """The inside of a room as rectangles with square texels.

    corners: (Q,4,3) meters, counter-clockwise as seen from the room.
    tiles: (Q,3) int32, of each rectangle the first texel, the columns (along corner 0 -> 1), the rows (0 -> 3).
    albedo: (texels,3) linear; a glowing surface has values above 1.
    shell: the first so many rectangles are the sides of a convex room around the rest.
    """

    corners: np.ndarray
    tiles: np.ndarray
    albedo: np.ndarray
    shell: int


class Light(NamedTuple):
    """Light of a sequence.

    lamps: (4,3) points in the world that cast shadows, one for each sample of a pixel.
    key, ambient: strengths of the lamps' and of the ambient light. tint: (3,) the color of both.
    spread: 0 for lamps that shine down, up to 1 for windows and bulbs that shine to all sides.
    """

    lamps: np.ndarray
    key: float
    ambient: float
    tint: np.ndarray
    spread: float = 0.0


class RenderView(NamedTuple):
    """Virtual cameras of C crops.

    centers: (C,3) world. rotations: (C,3,3) world -> crop camera.
    intrinsics: (C,3,3) normalized coordinates -> crop coordinates 0..1, centered on the axis as by `crop_camera`.
    """

    centers: np.ndarray
    rotations: np.ndarray
    intrinsics: np.ndarray


@functools.cache
def warp_kernels() -> tuple[ModuleType, ...]:
    """The modules warp (initialized quietly), `kernels`, `depth_buffers` and `frame_kernels`.

    Raises UserError with the pip command if Warp is missing.
    """
    try:
        import warp
    except ImportError as error:
        raise UserError(f"rendering needs the package {error.name!r}: {install_extra('render')}") from error
    # Newer versions of Warp replaced `quiet` by log levels.
    if hasattr(warp, "LOG_ERROR"):
        warp.config.log_level = warp.LOG_ERROR
    else:
        warp.config.quiet = True
    warp.init()
    from datasets.rendered import depth_buffers, frame_kernels, kernels

    return warp, kernels, depth_buffers, frame_kernels


@functools.cache
def load_kernels(device: str) -> None:
    """Load the kernels for a device of Warp, "cpu" or, for a GPU, "cuda:0".

    The first call on a machine compiles them, and prints a line if that takes long. Raises UserError for a device that
    Warp does not find.
    """
    warp, *modules = warp_kernels()
    try:
        available = warp.is_device_available(device)
    except RuntimeError:  # of "cuda", the current GPU, where there is none
        available = False
    if not available:
        found = ", ".join(str(each) for each in warp.get_devices())
        raise UserError(f"device {device!r}; expected one that Warp finds: {found}")
    line = f"warp compiles the rendering kernels into {warp.config.kernel_cache_dir} (once) ..."
    notice = threading.Timer(3, lambda: print(line, file=sys.stderr, flush=True))
    notice.daemon = True
    notice.start()
    for module in modules:
        warp.load_module(module, device=device)
    notice.cancel()


class Room:
    """A room with its light baked in, on a device. One room serves all crops of a run."""

    def __init__(self, surface: Surface, lamp_points: np.ndarray, device: str = DEVICE, spread: float = 0.0):
        """lamp_points: (P,3) meters, world, evenly spaced over the lamps. device: as for `load_kernels`.

        spread: of the lamps, as in `Light`.
        """
        warp, kernels, *_ = warp_kernels()
        load_kernels(device)
        array = functools.partial(warp.array, device=device)
        corners = surface.corners[surface.shell :].reshape(-1, 3).astype(np.float32)
        # Two triangles per rectangle, in order: the index of a rectangle is half that of its triangles. The shell is
        # left out, as its planes are met without a mesh.
        triangles = 4 * np.arange(len(corners) // 4)[:, None] + np.array([0, 1, 2, 0, 2, 3])
        triangles = triangles.reshape(-1, 3).astype(np.int32)
        self.faces = array(triangles, dtype=warp.vec3i)
        self.mesh = warp.Mesh(array(corners, dtype=warp.vec3), array(triangles.ravel(), dtype=int))
        self.struct = kernels.RoomStruct()
        self.sides = surface.corners[: surface.shell]
        self.struct.mesh, self.struct.shell = self.mesh.id, surface.shell
        self.struct.tiles = array(surface.tiles, dtype=warp.vec3i)
        for name, values in zip(("origins", "across", "along"), _edges(surface.corners), strict=True):
            setattr(self.struct, name, array(values.astype(np.float32), dtype=warp.vec3))
        light = _bake(self.struct, surface, lamp_points, device, spread)
        texels = np.concatenate([surface.albedo, light], axis=1, dtype=np.float32)
        self.struct.texels = array(texels, dtype=kernels.Texel)


class Triangles:
    """The triangles of a body on the device of a room. Built once per subject.

    faces: (F,3) int32. num_vertices: V.
    """

    def __init__(self, room: Room, faces: np.ndarray, num_vertices: int):
        warp, *_ = warp_kernels()
        array = functools.partial(warp.array, device=room.mesh.device)
        self.faces = array(faces.astype(np.int32), dtype=warp.vec3i)
        self.first, self.around = (array(part, dtype=int) for part in _vertex_faces(faces, num_vertices))


class RenderedBody:
    """A dressed body on the device of a room.

    colors: (F,10,3) linear albedo of each triangle's texels. thickness: (V,) meters of hair and cloth over the body
    (`datasets.people.clothes.Outfit` has both).
    """

    def __init__(self, room: Room, light: Light, triangles: Triangles, colors: np.ndarray, thickness: np.ndarray):
        warp, kernels, *_ = warp_kernels()
        self.triangles, self.device, self.lamps = triangles, room.mesh.device, light.lamps
        array = functools.partial(warp.array, device=self.device)
        self.thickness = array(thickness.astype(np.float32), dtype=float)
        self.points, self.normals = (warp.zeros(len(thickness), dtype=warp.vec3, device=self.device) for _ in range(2))
        self.struct = kernels.PersonStruct()
        self.struct.faces, self.struct.normals = triangles.faces, self.normals
        self.struct.colors = array(colors.astype(np.float32), dtype=warp.vec3)

    def place(self, vertices: np.ndarray, samples: int) -> None:
        """Move the body to vertices (V,3), meters, world; its shadow has `samples` along a side."""
        self._dress(vertices)
        # Shadows use the far side of the body, so that the lit side cannot shadow itself by rounding.
        self.struct.shadow = self.seen(lamp_view(self.lamps, vertices), samples, facing=-1)

    def seen(self, view: RenderView, samples: int, facing: int = 1):
        """The depth buffers of the body in cameras."""
        return rasterize_mesh(self.points, self.triangles.faces, view, samples, facing)

    def _dress(self, vertices: np.ndarray) -> None:
        """Set points and normals of the body with hair and clothes on."""
        warp, kernels, *_ = warp_kernels()
        bare = warp.array(vertices.astype(np.float32), dtype=warp.vec3, device=self.device)
        normals = [self.triangles.faces, self.triangles.first, self.triangles.around, self.normals]
        for kernel, inputs in (
            (kernels.vertex_normals, [bare, *normals]),
            (kernels.thicken, [bare, self.normals, self.thickness, self.points]),
            (kernels.vertex_normals, [self.points, *normals]),
        ):
            warp.launch(kernel, len(vertices), inputs, device=self.device)


def light_struct(light: Light, device):
    """A light on a device."""
    warp, kernels, *_ = warp_kernels()
    struct = kernels.LightStruct()
    struct.lamps = warp.array(light.lamps.astype(np.float32), dtype=warp.vec3, device=device)
    struct.key, struct.ambient, struct.spread = light.key, light.ambient, light.spread
    struct.tint = warp.vec3(*light.tint)
    return struct


def plane_array(room: Room, centers: np.ndarray):
    """The sides of a room as `_planes` has them, seen from centers (C,3), on the room's device."""
    warp, *_ = warp_kernels()
    return warp.array(_planes(room.sides, centers), dtype=warp.vec3, device=room.mesh.device)


class Rendering(NamedTuple):
    """Crops with and without the person, (C,size,size,3) uint8, and masks (C,size,size) uint8, 255 for the person."""

    img_crop: np.ndarray
    bg_crop: np.ndarray
    mask_crop: np.ndarray


class Renderer:
    """Renders one dressed body in one room. Built once per sequence, then called once per frame.

    triangles, colors, thickness: of the body, as in `RenderedBody`. others: a body, or several in one mesh, that
    belongs to the background; already placed. None: nobody else.
    """

    def __init__(self, room: Room, light: Light, triangles: Triangles, colors, thickness, others=None):
        _, kernels, depth_buffers, _ = warp_kernels()
        self.room, self.device, self.others = room, room.mesh.device, others
        self.body = RenderedBody(room, light, triangles, colors, thickness)
        self.light = light_struct(light, self.device)
        self.nobody = kernels.PersonStruct(), depth_buffers.DepthBuffer()

    def __call__(self, vertices: np.ndarray, view: RenderView, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Render vertices (V,3), meters, world: `img_crop` and `bg_crop`, as `with_mask` has them."""
        return self.with_mask(vertices, view, size)[:2]

    def with_mask(self, vertices: np.ndarray, view: RenderView, size: int) -> Rendering:
        """Render vertices (V,3), meters, world."""
        warp, kernels, *_ = warp_kernels()
        self.body.place(vertices, 2 * size)
        body = self.body.seen(view, 2 * size)
        others = (self.others.struct, self.others.seen(view, 2 * size)) if self.others else self.nobody
        furniture = rasterize_mesh(self.room.mesh.points, self.room.faces, view, 2 * size, facing=0)
        shape = (len(view.centers), size, size)
        img_crop, bg_crop = (warp.empty((*shape, 3), dtype=warp.uint8, device=self.device) for _ in range(2))
        mask_crop = warp.empty(shape, dtype=warp.uint8, device=self.device)
        planes = plane_array(self.room, view.centers)
        inputs = [self.room.struct, self.light, self.body.struct, body, *others, furniture, planes, size]
        images = [img_crop, bg_crop, mask_crop]
        warp.launch(kernels.render, shape, inputs + images, device=self.device)
        return Rendering(*(image.numpy() for image in images))


def rasterize_mesh(points, faces, view: RenderView, samples: int, facing: int):
    """Depth buffers of a mesh, `samples` along a side. facing: front (1), back (-1) or both sides (0) of triangles."""
    warp, _, depth_buffers, _ = warp_kernels()
    buffer = empty_depth_buffer(view, samples, (len(points), len(view.centers)), len(view.centers), points.device)
    warp.launch(depth_buffers.project_vertices, len(points), [points, buffer], device=points.device)
    warp.launch(depth_buffers.rasterize, len(faces), [faces, buffer, float(facing)], device=points.device)
    return buffer


def empty_depth_buffer(view: RenderView, samples: int, projected: tuple[int, int], layers: int, device):
    """A depth buffer that shows nothing. projected: numbers of vertices and of their projections; layers: of images."""
    warp, _, depth_buffers, _ = warp_kernels()
    array = functools.partial(warp.array, device=device)
    buffer = depth_buffers.DepthBuffer()
    buffer.centers = array(view.centers.astype(np.float32), dtype=warp.vec3)
    buffer.rotations = array(view.rotations.astype(np.float32), dtype=warp.mat33)
    buffer.focals = array(view.intrinsics[:, 0, 0].astype(np.float32), dtype=float)
    buffer.samples = samples
    buffer.projected = warp.empty(projected, dtype=warp.vec3, device=device)
    buffer.bounds = warp.empty(projected, dtype=warp.vec4i, device=device)
    buffer.nearest = warp.zeros((layers, samples, samples), dtype=warp.uint64, device=device)
    return buffer


def lamp_view(lamps: np.ndarray, vertices: np.ndarray) -> RenderView:
    """Cameras in the lamps (L,3) that look at a sphere around the vertices (V,3), which fills their images."""
    # One row for each axis: NumPy is ten times as fast along long rows as along points of three numbers.
    rows = np.ascontiguousarray(vertices.T)
    center = (rows.min(1) + rows.max(1)) / 2
    x, y, z = rows - center[:, None]
    radius = np.sqrt((x * x + y * y + z * z).max()) + 0.05
    roots = (center - lamps) @ _LOOK_DOWN.T
    # Seen from nearby, the outline of a sphere is wider than its diameter at the center's distance: 1 / cosine of half
    # the angle that it fills. 0.95 limits that for a lamp close to the person.
    sine = min(radius / np.linalg.norm(roots, axis=-1).min(), 0.95)
    camera = crop_camera(roots, float(2 * radius / np.sqrt(1 - sine**2)))
    return RenderView(lamps, camera.rotation @ _LOOK_DOWN, camera.intrinsic_crop)


def _vertex_faces(faces: np.ndarray, num_vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces at each vertex: `around[first[i]:first[i + 1]]`, int32."""
    corners = faces.ravel()
    around = np.argsort(corners, kind="stable") // 3
    first = np.concatenate([[0], np.cumsum(np.bincount(corners, minlength=num_vertices))])
    return first.astype(np.int32), around.astype(np.int32)


def _bake(room, surface: Surface, lamp_points: np.ndarray, device: str, spread: float) -> np.ndarray:
    """Light of the lamps and ambient light on every texel of the room, (texels,2)."""
    warp, kernels, *_ = warp_kernels()
    # Light varies slowly: it is computed on coarse grids, and interpolated to the texels.
    grids = [
        tuple(max(2, -(-count // LIGHT_TEXELS)) for count in (columns, rows)) for _, columns, rows in surface.tiles
    ]
    points, normals = zip(*(_light_points(*pair) for pair in zip(surface.corners, grids, strict=True)), strict=True)
    points, normals = np.concatenate(points), np.concatenate(normals)
    key, ambient = (warp.zeros(len(points), dtype=float, device=device) for _ in range(2))
    starts = points + RAY_OFFSET * normals
    arrays = (
        starts,
        _planes(surface.corners[: surface.shell], starts),
        normals,
        lamp_points,
        _sphere(AMBIENT_DIRECTIONS),
    )
    inputs = [warp.array(a.astype(np.float32), dtype=warp.vec3, device=device) for a in arrays]
    warp.launch(kernels.bake, len(points), [room, *inputs, AMBIENT_REACH, spread, key, ambient], device=device)
    coarse = np.stack([key.numpy(), ambient.numpy()], axis=-1)
    fine, start = [], 0
    for (columns, rows), (_, wide, high) in zip(grids, surface.tiles, strict=True):
        block = coarse[start : start + columns * rows].reshape(rows, columns, 2)
        fine.append(_enlarge(block, high, wide).reshape(-1, 2))
        start += columns * rows
    return np.concatenate(fine)


def _edges(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First corners of rectangles (Q,4,3), and both edges divided by their squared lengths; each (Q,3).

    The product of such an edge with an offset from the first corner is a coordinate in 0..1 along it.
    """
    edges = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    return corners[:, 0], *(edge / (edge**2).sum(-1, keepdims=True) for edge in edges)


def _planes(corners: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Planes (P,Q,3) float32 of rectangles (Q,4,3), seen from starts (P,3).

    The product of a plane with a ray is the inverse distance from the start to the plane along that ray.
    """
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0])
    heights = (normals * corners[:, 0]).sum(-1) - starts @ normals.T
    return (normals / heights[..., None]).astype(np.float32)


def _light_points(corners: np.ndarray, grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Centers of a grid (columns, rows) on a rectangle, row by row, and its normal at each: (columns*rows,3)."""
    columns, rows = grid
    across, along = corners[1] - corners[0], corners[3] - corners[0]
    s, t = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
    points = corners[0] + s.reshape(-1, 1) * across + t.reshape(-1, 1) * along
    normal = np.cross(across, along)
    return points, np.broadcast_to(normal / np.linalg.norm(normal), points.shape)


def _enlarge(block: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Bilinear interpolation of cell centers (r,c,D) to (rows,columns,D)."""
    for axis, count in ((0, rows), (1, columns)):
        place = np.clip((np.arange(count) + 0.5) / count * block.shape[axis] - 0.5, 0, block.shape[axis] - 1)
        low = np.minimum(place.astype(int), block.shape[axis] - 2)
        weight = np.expand_dims(place - low, [a for a in range(3) if a != axis])
        block = np.take(block, low, axis) * (1 - weight) + np.take(block, low + 1, axis) * weight
    return block


def _sphere(count: int) -> np.ndarray:
    """Evenly spaced unit vectors (count,3): a Fibonacci lattice."""
    i = np.arange(count) + 0.5
    z, angle = 1 - 2 * i / count, i * np.pi * (1 + 5**0.5)
    flat = np.sqrt(1 - z**2)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=-1)
