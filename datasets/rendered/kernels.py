"""The Warp kernels behind `raycast`. Importing this module starts Warp; only `raycast` does so, when it is used."""

import warp as wp

from datasets.rendered.depth_buffers import Picture, edges, hides, nearest_face, nearest_inverse, shifted

wp.set_module_options({"enable_backward": False, "fast_math": True})

ALIKE = wp.constant(0.1)  # relative difference of two colours that need no further rays
GRID = wp.constant(4)  # texels along the edge of a body's triangle, see `looks`


@wp.struct
class Room:
    mesh: wp.uint64  # all rectangles but the shell
    shell: int  # the first so many rectangles are the sides of a convex room around everything
    tiles: wp.array(dtype=wp.vec3i)  # per rectangle: first texel, columns, rows
    origins: wp.array(dtype=wp.vec3)  # per rectangle: its first corner
    across: wp.array(dtype=wp.vec3)  # per rectangle: edges along columns and rows, over their squared lengths
    along: wp.array(dtype=wp.vec3)
    albedo: wp.array(dtype=wp.vec3)
    key: wp.array(dtype=float)  # per texel: light of the lamps, the furniture's shadows included
    ambient: wp.array(dtype=float)  # per texel: light from everywhere else, darker in corners


@wp.struct
class Light:
    lamps: wp.array(dtype=wp.vec3)  # four: one for each ray of a pixel
    key: float
    ambient: float
    tint: wp.vec3


@wp.struct
class Person:
    faces: wp.array(dtype=wp.vec3i)
    normals: wp.array(dtype=wp.vec3)
    colours: wp.array2d(dtype=wp.vec3)  # per triangle: albedo of its texels
    shade: Picture  # as the lamps see the backs of its triangles


@wp.func
def tone(light: float) -> float:
    """Linear light -> 0..255 with gamma 2 and a soft shoulder, like a camera's."""
    return 255.0 * wp.sqrt(wp.clamp(1.3 * light / (1.0 + 0.3 * light), 0.0, 1.0))


@wp.func
def lamp_light(point: wp.vec3, normal: wp.vec3, lamp: wp.vec3) -> float:
    """Light of one downward lamp on a surface without shadows; 1 on the floor 2.5 m under it."""
    to_lamp = lamp - point
    squared = wp.length_sq(to_lamp)
    direction = to_lamp / wp.sqrt(squared)
    return 6.25 / squared * wp.max(wp.dot(normal, direction), 0.0) * wp.max(direction[2], 0.0)


@wp.func
def blocked(mesh: wp.uint64, point: wp.vec3, lamp: wp.vec3) -> bool:
    to_lamp = lamp - point
    distance = wp.length(to_lamp)
    return wp.mesh_query_ray_anyhit(mesh, point, to_lamp / distance, distance)


@wp.func
def unblocked_light(mesh: wp.uint64, point: wp.vec3, normal: wp.vec3, lamp: wp.vec3) -> float:
    """Light of a lamp where the mesh casts no shadow."""
    light = lamp_light(point, normal, lamp)
    if light <= 0.0:
        return 0.0
    if blocked(mesh, point, lamp):
        return 0.0
    return light


@wp.func
def sky(normal: wp.vec3) -> float:
    """Light from ceiling and walls; floors send less back up."""
    return 0.75 + 0.25 * normal[2]


@wp.func
def room_texel(room: Room, rectangle: int, point: wp.vec3) -> int:
    """Texel of a rectangle at a point of its plane; beside it the nearest one."""
    offset = point - room.origins[rectangle]
    tile = room.tiles[rectangle]
    x = int(wp.dot(offset, room.across[rectangle]) * float(tile[1]))
    y = int(wp.dot(offset, room.along[rectangle]) * float(tile[2]))
    return tile[0] + wp.clamp(y, 0, tile[2] - 1) * tile[1] + wp.clamp(x, 0, tile[1] - 1)


@wp.func
def nearest_side(planes: wp.array2d(dtype=wp.vec3), sides: int, i: int, ray: wp.vec3):
    """Index of the side of the room where a ray from the i-th start ends, and the inverse of its length."""
    index = wp.int32(0)
    nearest = wp.float32(0.0)
    for side in range(sides):
        inverse = wp.dot(ray, planes[i, side])
        if inverse > nearest:
            nearest = inverse
            index = side
    return index, nearest


@wp.func
def body_texel(u: float, v: float) -> int:
    i = wp.min(int(u * float(GRID)), GRID - 1)
    j = wp.min(int(v * float(GRID)), GRID - 1 - i)
    return i * (2 * GRID + 1 - i) / 2 + j


@wp.func
def body_weights(cameras: Picture, camera: int, corner: wp.vec3i, row: int, column: int) -> wp.vec3:
    """Weights of a triangle's corners at the point of it that a sample shows."""
    x = float(column) + 0.5
    y = float(row) + 0.5
    a = shifted(cameras.projected[camera, corner[0]], x, y)
    b = shifted(cameras.projected[camera, corner[1]], x, y)
    c = shifted(cameras.projected[camera, corner[2]], x, y)
    weights = edges(a, b, c) * wp.vec3(0.0, 0.0, 1.0)
    return weights / (weights[0] + weights[1] + weights[2])


@wp.func
def body_colour(person: Person, light: Light, face: int, weights: wp.vec3, point: wp.vec3, k: int):
    """Light that a point of the body sends back, the k-th lamp being on."""
    corner = person.faces[face]
    normal = wp.normalize(
        weights[0] * person.normals[corner[0]]
        + weights[1] * person.normals[corner[1]]
        + weights[2] * person.normals[corner[2]]
    )
    direct = lamp_light(point, normal, light.lamps[k])
    if direct > 0.0 and hides(person.shade, k, point):
        direct = 0.0
    amount = light.ambient * sky(normal) + light.key * direct
    return amount * person.colours[face, body_texel(weights[0], weights[1])]


@wp.kernel
def render(
    room: Room,
    light: Light,
    person: Person,
    cameras: Picture,  # of the body; 2 x 2 samples for each pixel
    inside: Picture,  # of all rectangles but the shell, from the same cameras
    planes: wp.array2d(dtype=wp.vec3),  # per camera and side of the shell: times a ray, its inverse length to there
    size: int,
    img_crop: wp.array(dtype=wp.uint8, ndim=4),
    bg_crop: wp.array(dtype=wp.uint8, ndim=4),
):
    camera, y, x = wp.tid()
    centre = cameras.centres[camera]
    to_world = wp.transpose(cameras.rotations[camera])
    step = 0.5 / (float(size) * cameras.focals[camera])
    seen = wp.vec3(0.0)
    empty = wp.vec3(0.0)
    last = wp.vec3(0.0)
    count = wp.float32(0.0)
    for k in range(4):
        column = 2 * x + (k + 1) / 2 % 2
        row = 2 * y + k % 2
        # as long as its depth is one, so that distances along it are depths
        ray = to_world * wp.vec3((float(column - size) + 0.5) * step, (float(row - size) + 0.5) * step, 1.0)
        rectangle, nearest = nearest_side(planes, room.shell, camera, ray)
        before = nearest_inverse(inside, camera, row, column)
        if before > nearest:
            nearest = before
            rectangle = room.shell + nearest_face(inside, camera, row, column) / 2
        point = centre + ray / nearest
        place = room_texel(room, rectangle, point)
        lit = (light.ambient * room.ambient[place] + light.key * room.key[place]) * room.albedo[place]
        colour = lit
        inverse = nearest_inverse(cameras, camera, row, column)
        if inverse > nearest:
            face = nearest_face(cameras, camera, row, column)
            weights = body_weights(cameras, camera, person.faces[face], row, column)
            colour = body_colour(person, light, face, weights, centre + ray / inverse, k)
        elif hides(person.shade, k, point):
            colour = light.ambient * room.ambient[place] * room.albedo[place]
        seen += colour
        empty += lit
        count += 1.0
        # where two diagonal rays see the same, the other two would as well
        if k == 1 and wp.length(colour - last) < ALIKE * wp.length(colour + last):
            break
        last = colour
    scale = 1.0 / count
    for c in range(3):
        img_crop[camera, y, x, c] = wp.uint8(tone(seen[c] * light.tint[c] * scale) + 0.5)
        bg_crop[camera, y, x, c] = wp.uint8(tone(empty[c] * light.tint[c] * scale) + 0.5)


@wp.kernel
def bake(
    room: Room,
    starts: wp.array(dtype=wp.vec3),
    planes: wp.array2d(dtype=wp.vec3),  # per start and side of the shell, as in `render`
    normals: wp.array(dtype=wp.vec3),
    lamps: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),  # unit sphere, even
    reach: float,
    key: wp.array(dtype=float),
    ambient: wp.array(dtype=float),
):
    """Light on points just before a surface: from the lamps, and from all around where nothing within `reach` is."""
    i = wp.tid()
    normal = normals[i]
    direct = wp.float32(0.0)
    for k in range(lamps.shape[0]):
        direct += unblocked_light(room.mesh, starts[i], normal, lamps[k])
    weight = wp.float32(0.0)
    free = wp.float32(0.0)
    for k in range(directions.shape[0]):
        cosine = wp.dot(directions[k], normal)
        if cosine > 0.0:
            weight += cosine
            _, nearest = nearest_side(planes, room.shell, i, directions[k])
            distance = wp.min(1.0 / nearest, reach)
            hit = wp.mesh_query_ray(room.mesh, starts[i], directions[k], distance)
            if hit.result:
                distance = hit.t
            free += cosine * distance / reach
    key[i] = direct / float(lamps.shape[0])
    ambient[i] = sky(normal) * (0.25 + 0.75 * free / weight)


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
