"""Warp kernels for the body: its surface, and which triangle of it each sample of a picture shows.

Like `kernels`, to be imported by `raycast` only.
"""

import warp as wp

wp.set_module_options({"enable_backward": False, "fast_math": True})

NEAR = wp.constant(0.01)  # metres before a camera
CLOSER = wp.constant(1.002)  # ratio of depths below which a surface does not hide another: 5 mm below the lamps
EDGE = wp.constant(-1e-5)  # least barycentric coordinate: no gaps between triangles by rounding


@wp.struct
class Picture:
    """What cameras, or lamps, see of the body."""

    centres: wp.array(dtype=wp.vec3)
    rotations: wp.array(dtype=wp.mat33)  # world -> camera
    focals: wp.array(dtype=float)  # of picture coordinates 0..1
    samples: int  # along a side of the picture
    projected: wp.array2d(dtype=wp.vec3)  # per camera and vertex: column and row in samples, inverse depth
    nearest: wp.array3d(dtype=wp.uint64)  # per camera, row, column: bits of the inverse depth, number of the triangle


@wp.kernel
def vertex_normals(
    vertices: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    first: wp.array(dtype=int),  # (V+1,) where each vertex's faces begin in `around`
    around: wp.array(dtype=int),
    normals: wp.array(dtype=wp.vec3),
):
    """Unit normals by area. Gathers instead of adding atomically, so that a GPU too gives the same bytes each time."""
    i = wp.tid()
    total = wp.vec3(0.0)
    for k in range(first[i], first[i + 1]):
        corner = faces[around[k]]
        a = vertices[corner[0]]
        total += wp.cross(vertices[corner[1]] - a, vertices[corner[2]] - a)
    normals[i] = wp.normalize(total)


@wp.kernel
def thicken(
    vertices: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    thickness: wp.array(dtype=float),
    thickened: wp.array(dtype=wp.vec3),
):
    """Move vertices outwards by the thickness of hair, cloth and soles, metres."""
    i = wp.tid()
    thickened[i] = vertices[i] + thickness[i] * normals[i]


@wp.func
def projection(picture: Picture, camera: int, point: wp.vec3) -> wp.vec3:
    """Column and row, in samples, and inverse depth of a point of the world; inverse depth 0 behind the camera."""
    local = picture.rotations[camera] * (point - picture.centres[camera])
    if local[2] < NEAR:
        return wp.vec3(0.0)
    scale = picture.focals[camera] / local[2]
    side = float(picture.samples)
    return wp.vec3((scale * local[0] + 0.5) * side, (scale * local[1] + 0.5) * side, 1.0 / local[2])


@wp.func
def barycentric(a: wp.vec3, b: wp.vec3, c: wp.vec3, x: float, y: float) -> wp.vec3:
    """Twice the areas between a point of the picture and the edges of a triangle that is seen there."""
    return wp.vec3(
        (b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x),
        (c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x),
        (a[0] - x) * (b[1] - y) - (a[1] - y) * (b[0] - x),
    )


@wp.kernel
def project(vertices: wp.array(dtype=wp.vec3), picture: Picture):
    camera, i = wp.tid()
    picture.projected[camera, i] = projection(picture, camera, vertices[i])


@wp.kernel
def cover(faces: wp.array(dtype=wp.vec3i), picture: Picture, facing: float):
    """Draw the triangles whose fronts (facing 1) or backs (facing -1) are seen."""
    camera, face = wp.tid()
    corner = faces[face]
    a = picture.projected[camera, corner[0]]
    b = picture.projected[camera, corner[1]]
    c = picture.projected[camera, corner[2]]
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if area * facing >= 0.0 or wp.min(wp.min(a[2], b[2]), c[2]) <= 0.0:
        return
    left = wp.max(int(wp.ceil(wp.min(wp.min(a[0], b[0]), c[0]) - 0.5)), 0)
    right = wp.min(int(wp.floor(wp.max(wp.max(a[0], b[0]), c[0]) - 0.5)), picture.samples - 1)
    top = wp.max(int(wp.ceil(wp.min(wp.min(a[1], b[1]), c[1]) - 0.5)), 0)
    bottom = wp.min(int(wp.floor(wp.max(wp.max(a[1], b[1]), c[1]) - 0.5)), picture.samples - 1)
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            weights = barycentric(a, b, c, float(column) + 0.5, float(row) + 0.5) / area
            if wp.min(wp.min(weights[0], weights[1]), weights[2]) >= EDGE:
                inverse = weights[0] * a[2] + weights[1] * b[2] + weights[2] * c[2]
                key = (wp.uint64(wp.cast(inverse, wp.uint32)) << wp.uint64(32)) | wp.uint64(face)
                wp.atomic_max(picture.nearest, camera, row, column, key)


@wp.func
def nearest_inverse(picture: Picture, camera: int, row: int, column: int) -> float:
    """Inverse depth of the body at a sample; 0 beside it."""
    return wp.cast(wp.uint32(picture.nearest[camera, row, column] >> wp.uint64(32)), wp.float32)


@wp.func
def nearest_face(picture: Picture, camera: int, row: int, column: int) -> int:
    return int(picture.nearest[camera, row, column] & wp.uint64(0xFFFFFFFF))


@wp.func
def hides(picture: Picture, camera: int, point: wp.vec3) -> bool:
    """Whether the body stands between a camera and a point."""
    place = projection(picture, camera, point)
    column = int(wp.floor(place[0]))
    row = int(wp.floor(place[1]))
    if column < 0 or row < 0 or column >= picture.samples or row >= picture.samples:
        return False
    return nearest_inverse(picture, camera, row, column) > place[2] * CLOSER
