"""Warp kernels that rasterize a mesh into depth buffers: which triangle each sample of an image shows.

Imported by `raycast` only, like `kernels`. Triangles are rasterized in homogeneous coordinates (Olano and Greer,
"Triangle scan conversion using 2D homogeneous coordinates", 1997), so that none has to be clipped.
"""

import warp as wp

wp.set_module_options({"enable_backward": False, "fast_math": True})

NEAR = wp.constant(0.01)  # meters in front of a camera
# Ratio of inverse depths above which a surface shadows a point. It keeps a surface from shadowing itself: 1.002 is
# about 5 mm at the distance between the lamps and the person.
SHADOW_RATIO = wp.constant(1.002)
# Least barycentric coordinate: slightly below 0, so that rounding leaves no gaps between triangles.
LEAST_WEIGHT = wp.constant(-1e-5)


@wp.struct
class DepthBuffer:
    """What cameras, or lamps, see of a mesh."""

    centers: wp.array(dtype=wp.vec3)
    rotations: wp.array(dtype=wp.mat33)  # world -> camera
    focals: wp.array(dtype=float)  # of image coordinates 0..1
    samples: int  # along a side of the image
    projected: wp.array2d(dtype=wp.vec3)  # per vertex and camera: depth times column and row in samples, depth
    bounds: wp.array2d(dtype=wp.vec4i)  # per vertex and camera: `sample_bounds`
    nearest: wp.array3d(dtype=wp.uint64)  # per camera, row, column: bits of the inverse depth, number of the triangle


@wp.func
def project_point(buffer: DepthBuffer, camera: int, point: wp.vec3) -> wp.vec3:
    """Homogeneous image coordinates of a world point: depth times column, depth times row (in samples), depth."""
    local = buffer.rotations[camera] * (point - buffer.centers[camera])
    focal = buffer.focals[camera]
    side = float(buffer.samples)
    return wp.vec3(side * (focal * local[0] + 0.5 * local[2]), side * (focal * local[1] + 0.5 * local[2]), local[2])


@wp.func
def shifted(point: wp.vec3, x: float, y: float) -> wp.vec3:
    """A projected point with (x, y) as the origin of the image."""
    return wp.vec3(point[0] - x * point[2], point[1] - y * point[2], point[2])


@wp.func
def edge_functions(a: wp.vec3, b: wp.vec3, c: wp.vec3) -> wp.mat33:
    """Matrix whose product with (x, y, 1) is the weights of a triangle's projected corners there, up to a factor."""
    return wp.matrix_from_rows(wp.cross(b, c), wp.cross(c, a), wp.cross(a, b))


@wp.func
def outside_frustum(a: wp.vec3, b: wp.vec3, c: wp.vec3, side: float) -> bool:
    """Whether all corners of a triangle are beyond the same border of the image, or too near."""
    # Coordinates are multiplied by depth, so comparing a[0] with side * a[2] also holds for corners behind the camera.
    for axis in range(2):
        if wp.max(wp.max(a[axis], b[axis]), c[axis]) < 0.0:
            return True
        if wp.max(wp.max(side * a[2] - a[axis], side * b[2] - b[axis]), side * c[2] - c[axis]) < 0.0:
            return True
    return wp.max(wp.max(a[2], b[2]), c[2]) < NEAR


@wp.func
def sample_bounds(point: wp.vec3, samples: int) -> wp.vec4i:
    """First column and row of samples from a projected point on, and last ones up to it, with reversed signs.

    The minimum over the corners of a triangle bounds the samples that it may cover. A point too near for an image
    bounds nothing: it gives the whole image.
    """
    if point[2] < NEAR:
        return wp.vec4i(0, 0, 1 - samples, 1 - samples)
    inverse = 1.0 / point[2]
    limit = float(samples)
    column = wp.clamp(point[0] * inverse, -1.0, limit + 1.0)
    row = wp.clamp(point[1] * inverse, -1.0, limit + 1.0)
    return wp.vec4i(
        int(wp.ceil(column - 0.5)), int(wp.ceil(row - 0.5)), -int(wp.floor(column - 0.5)), -int(wp.floor(row - 0.5))
    )


@wp.kernel
def project_vertices(vertices: wp.array(dtype=wp.vec3), buffer: DepthBuffer):
    i = wp.tid()
    for camera in range(buffer.centers.shape[0]):
        point = project_point(buffer, camera, vertices[i])
        buffer.projected[i, camera] = point
        buffer.bounds[i, camera] = sample_bounds(point, buffer.samples)


@wp.func
def rasterize_face(corner: wp.vec3i, face: int, buffer: DepthBuffer, camera: int, layer: int, facing: float):
    """Rasterize one triangle for one camera into a layer of `nearest`."""
    # Most triangles of a body lie between the samples. Integers of its corners tell, before anything is computed.
    bounds = wp.min(
        wp.min(buffer.bounds[corner[0], camera], buffer.bounds[corner[1], camera]), buffer.bounds[corner[2], camera]
    )
    left = wp.max(bounds[0], 0)
    top = wp.max(bounds[1], 0)
    right = wp.min(-bounds[2], buffer.samples - 1)
    bottom = wp.min(-bounds[3], buffer.samples - 1)
    if left > right or top > bottom:
        return
    a = buffer.projected[corner[0], camera]
    b = buffer.projected[corner[1], camera]
    c = buffer.projected[corner[2], camera]
    if wp.min(wp.min(a[2], b[2]), c[2]) < NEAR and outside_frustum(a, b, c, float(buffer.samples)):
        return
    # The origin moves to the first sample of the triangle, because float32 loses fewer digits in small numbers.
    a = shifted(a, float(left) + 0.5, float(top) + 0.5)
    b = shifted(b, float(left) + 0.5, float(top) + 0.5)
    c = shifted(c, float(left) + 0.5, float(top) + 0.5)
    # The sign of the volume tells the side that the camera sees, also for triangles partly behind the camera.
    volume = wp.dot(a, wp.cross(b, c))
    if volume * facing > 0.0 or volume == 0.0:
        return
    to_weights = edge_functions(a, b, c) / volume  # weights divided by depth, so that their sum is the inverse depth
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            weights = to_weights * wp.vec3(float(column - left), float(row - top), 1.0)
            inverse = weights[0] + weights[1] + weights[2]
            if wp.min(wp.min(weights[0], weights[1]), weights[2]) >= LEAST_WEIGHT * inverse and inverse > 0.0:
                # The bits of positive floats sort like the floats. One atomic maximum over (inverse depth, triangle)
                # keeps the nearest triangle and gives the same result whatever the order of the threads.
                key = (wp.uint64(wp.cast(inverse, wp.uint32)) << wp.uint64(32)) | wp.uint64(face)
                wp.atomic_max(buffer.nearest, layer, row, column, key)


@wp.kernel
def rasterize(faces: wp.array(dtype=wp.vec3i), buffer: DepthBuffer, facing: float):
    """Rasterize the triangles that show their front (facing 1), back (-1) or either (0)."""
    face = wp.tid()
    for camera in range(buffer.centers.shape[0]):
        rasterize_face(faces[face], face, buffer, camera, camera, facing)


@wp.func
def inverse_depth(buffer: DepthBuffer, camera: int, row: int, column: int) -> float:
    """Inverse depth of the mesh at a sample; 0 where the sample shows none of it."""
    return wp.cast(wp.uint32(buffer.nearest[camera, row, column] >> wp.uint64(32)), wp.float32)


@wp.func
def nearest_face(buffer: DepthBuffer, camera: int, row: int, column: int) -> int:
    return int(buffer.nearest[camera, row, column] & wp.uint64(0xFFFFFFFF))


@wp.func
def occludes(buffer: DepthBuffer, camera: int, point: wp.vec3) -> bool:
    """Whether the mesh lies between a camera (or lamp) and a point."""
    projected = project_point(buffer, camera, point)
    column = int(wp.floor(projected[0] / projected[2]))
    row = int(wp.floor(projected[1] / projected[2]))
    if projected[2] < NEAR or column < 0 or row < 0 or column >= buffer.samples or row >= buffer.samples:
        return False
    return inverse_depth(buffer, camera, row, column) * projected[2] > SHADOW_RATIO
