"""The Warp kernels behind `raycast`. Importing this module starts Warp; only `raycast` does so, when it is used."""

import warp as wp

from datasets.body_kernels import Picture, barycentric, hides, nearest_face, nearest_inverse

wp.set_module_options({"enable_backward": False, "fast_math": True})

OFFSET = wp.constant(3e-3)  # metres that a secondary ray starts off its surface
FAR = wp.constant(50.0)
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
    normals: wp.array(dtype=wp.vec3)
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
    """Texel of a rectangle at a point of its plane; -1 outside."""
    offset = point - room.origins[rectangle]
    column = wp.dot(offset, room.across[rectangle])
    row = wp.dot(offset, room.along[rectangle])
    tile = room.tiles[rectangle]
    x = int(wp.floor(column * float(tile[1])))
    y = int(wp.floor(row * float(tile[2])))
    if x < 0 or y < 0 or x >= tile[1] or y >= tile[2]:
        return -1
    return tile[0] + y * tile[1] + x


@wp.func
def plane_distance(room: Room, rectangle: int, start: wp.vec3, ray: wp.vec3) -> float:
    normal = room.normals[rectangle]
    return wp.dot(room.origins[rectangle] - start, normal) / wp.dot(ray, normal)


@wp.func
def first_rectangle(room: Room, start: wp.vec3, ray: wp.vec3, reach: float):
    """Index and distance of the first rectangle that a ray meets within `reach`; -1 and `reach` if it meets none."""
    index = wp.int32(-1)
    distance = wp.float32(reach)
    for side in range(room.shell):
        if wp.dot(ray, room.normals[side]) < 0.0:
            exit = plane_distance(room, side, start, ray)
            if exit < distance:
                distance = exit
                index = side
    hit = wp.mesh_query_ray(room.mesh, start, ray, distance)
    if hit.result:
        index = room.shell + hit.face / 2
        distance = hit.t
    return index, distance


@wp.func
def body_texel(u: float, v: float) -> int:
    i = wp.min(int(u * float(GRID)), GRID - 1)
    j = wp.min(int(v * float(GRID)), GRID - 1 - i)
    return i * (2 * GRID + 1 - i) / 2 + j


@wp.func
def body_weights(cameras: Picture, camera: int, corner: wp.vec3i, row: int, column: int) -> wp.vec3:
    """Weights of a triangle's corners at the point of it that a sample shows."""
    a = cameras.projected[camera, corner[0]]
    b = cameras.projected[camera, corner[1]]
    c = cameras.projected[camera, corner[2]]
    seen = barycentric(a, b, c, float(column) + 0.5, float(row) + 0.5)
    weights = wp.cw_mul(seen, wp.vec3(a[2], b[2], c[2]))
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
    cameras: Picture,  # of 2 x 2 samples for each pixel
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
    rectangle = wp.int32(-1)
    count = wp.float32(0.0)
    for k in range(4):
        column = 2 * x + (k + 1) / 2 % 2
        row = 2 * y + k % 2
        # as long as its depth is one, so that distances along it are depths
        ray = to_world * wp.vec3((float(column - size) + 0.5) * step, (float(row - size) + 0.5) * step, 1.0)
        # a pixel's rays mostly end on one rectangle, and its plane is met much sooner than the whole room
        place = wp.int32(-1)
        distance = wp.float32(FAR)
        if rectangle >= 0:
            distance = plane_distance(room, rectangle, centre, ray)
            place = room_texel(room, rectangle, centre + ray * distance)
        if place < 0:
            rectangle, distance = first_rectangle(room, centre, ray, FAR)
            place = wp.max(room_texel(room, rectangle, centre + ray * distance), room.tiles[rectangle][0])
        lit = (light.ambient * room.ambient[place] + light.key * room.key[place]) * room.albedo[place]
        colour = lit
        inverse = nearest_inverse(cameras, camera, row, column)
        if inverse * distance > 1.0:
            face = nearest_face(cameras, camera, row, column)
            weights = body_weights(cameras, camera, person.faces[face], row, column)
            colour = body_colour(person, light, face, weights, centre + ray / inverse, k)
        elif hides(person.shade, k, centre + ray * distance):
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
    points: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    lamps: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),  # unit sphere, even
    reach: float,
    key: wp.array(dtype=float),
    ambient: wp.array(dtype=float),
):
    """Light that falls on points of a room: from its lamps, and from all around where nothing within `reach` is."""
    i = wp.tid()
    normal = normals[i]
    start = points[i] + OFFSET * normal
    direct = wp.float32(0.0)
    for k in range(lamps.shape[0]):
        direct += unblocked_light(room.mesh, start, normal, lamps[k])
    weight = wp.float32(0.0)
    free = wp.float32(0.0)
    for k in range(directions.shape[0]):
        cosine = wp.dot(directions[k], normal)
        if cosine > 0.0:
            weight += cosine
            _, distance = first_rectangle(room, start, directions[k], reach)
            free += cosine * distance / reach
    key[i] = direct / float(lamps.shape[0])
    ambient[i] = sky(normal) * (0.25 + 0.75 * free / weight)
