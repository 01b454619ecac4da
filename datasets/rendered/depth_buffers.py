"""Warp kernels that draw a mesh into buffers of depth: which triangle each sample of a picture shows.

Like `kernels`, to be imported by `raycast` only. Triangles are drawn in homogeneous coordinates (Olano and Greer,
"Triangle scan conversion using 2D homogeneous coordinates", 1997), so that none has to be clipped.
"""

import warp as wp

wp.set_module_options({"enable_backward": False, "fast_math": True})

NEAR = wp.constant(0.01)  # metres before a camera
CLOSER = wp.constant(1.002)  # ratio of nearness below which a surface does not hide another: 5 mm below the lamps
EDGE = wp.constant(-1e-5)  # least barycentric coordinate: no gaps between triangles by rounding


@wp.struct
class Picture:
    """What cameras, or lamps, see of a mesh."""

    centres: wp.array(dtype=wp.vec3)
    rotations: wp.array(dtype=wp.mat33)  # world -> camera
    focals: wp.array(dtype=float)  # of picture coordinates 0..1
    samples: int  # along a side of the picture
    projected: wp.array2d(dtype=wp.vec3)  # per camera and vertex: depth times column and row in samples, depth
    nearest: wp.array3d(dtype=wp.uint64)  # per camera, row, column: bits of the inverse depth, number of the triangle


@wp.func
def projection(picture: Picture, camera: int, point: wp.vec3) -> wp.vec3:
    """Depth times column and row, in samples, and depth of a point of the world."""
    local = picture.rotations[camera] * (point - picture.centres[camera])
    focal = picture.focals[camera]
    side = float(picture.samples)
    return wp.vec3(side * (focal * local[0] + 0.5 * local[2]), side * (focal * local[1] + 0.5 * local[2]), local[2])


@wp.func
def shifted(point: wp.vec3, x: float, y: float) -> wp.vec3:
    """A projected point with (x, y) as the origin of the picture."""
    return wp.vec3(point[0] - x * point[2], point[1] - y * point[2], point[2])


@wp.func
def edges(a: wp.vec3, b: wp.vec3, c: wp.vec3) -> wp.mat33:
    """Times (x, y, 1): weights of a triangle's projected corners where (x, y) shows it, up to a factor."""
    return wp.matrix_from_rows(wp.cross(b, c), wp.cross(c, a), wp.cross(a, b))


@wp.func
def beside(a: wp.vec3, b: wp.vec3, c: wp.vec3, side: float) -> bool:
    """Whether all corners of a triangle are beyond the same border of the picture, or too near."""
    for axis in range(2):
        if wp.max(wp.max(a[axis], b[axis]), c[axis]) < 0.0:
            return True
        if wp.max(wp.max(side * a[2] - a[axis], side * b[2] - b[axis]), side * c[2] - c[axis]) < 0.0:
            return True
    return wp.max(wp.max(a[2], b[2]), c[2]) < NEAR


@wp.kernel
def project(vertices: wp.array(dtype=wp.vec3), picture: Picture):
    camera, i = wp.tid()
    picture.projected[camera, i] = projection(picture, camera, vertices[i])


@wp.func
def extent(p: float, q: float, r: float, samples: int):
    """First and last column or row of samples between three places."""
    first = int(wp.ceil(wp.max(wp.min(wp.min(p, q), r), 0.0) - 0.5))
    last = int(wp.floor(wp.min(wp.max(wp.max(p, q), r), float(samples)) - 0.5))
    return first, last


@wp.kernel
def cover(faces: wp.array(dtype=wp.vec3i), picture: Picture, facing: float):
    """Draw the triangles whose fronts (facing 1), backs (-1) or either (0) are seen, as far as before the camera."""
    camera, face = wp.tid()
    corner = faces[face]
    a = picture.projected[camera, corner[0]]
    b = picture.projected[camera, corner[1]]
    c = picture.projected[camera, corner[2]]
    if beside(a, b, c, float(picture.samples)):
        return
    left = wp.int32(0)
    top = wp.int32(0)
    right = picture.samples - 1
    bottom = picture.samples - 1
    if wp.min(wp.min(a[2], b[2]), c[2]) >= NEAR:
        nearness = wp.vec3(1.0 / a[2], 1.0 / b[2], 1.0 / c[2])
        left, right = extent(a[0] * nearness[0], b[0] * nearness[1], c[0] * nearness[2], picture.samples)
        top, bottom = extent(a[1] * nearness[0], b[1] * nearness[1], c[1] * nearness[2], picture.samples)
        if left > right or top > bottom:
            return
    # near the triangle, where numbers are small and exact
    a = shifted(a, float(left) + 0.5, float(top) + 0.5)
    b = shifted(b, float(left) + 0.5, float(top) + 0.5)
    c = shifted(c, float(left) + 0.5, float(top) + 0.5)
    volume = wp.dot(a, wp.cross(b, c))
    if volume * facing > 0.0 or volume == 0.0:
        return
    to_weights = edges(a, b, c) / volume  # these are over depth
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            weights = to_weights * wp.vec3(float(column - left), float(row - top), 1.0)
            inverse = weights[0] + weights[1] + weights[2]
            if wp.min(wp.min(weights[0], weights[1]), weights[2]) >= EDGE * inverse and inverse > 0.0:
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
    column = int(wp.floor(place[0] / place[2]))
    row = int(wp.floor(place[1] / place[2]))
    if place[2] < NEAR or column < 0 or row < 0 or column >= picture.samples or row >= picture.samples:
        return False
    return nearest_inverse(picture, camera, row, column) * place[2] > CLOSER
