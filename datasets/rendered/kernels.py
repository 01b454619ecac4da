"""The Warp kernels behind `raycast`: shading of pixels, light baked into the room, clothes over the body.

Importing this module starts Warp, so only `raycast` imports it, on first use.
"""

import warp as wp

from datasets.people import clothes
from datasets.rendered.depth_buffers import DepthBuffer, edge_functions, inverse_depth, nearest_face, occludes, shifted

wp.set_module_options({"enable_backward": False, "fast_math": True})

SAME_COLOR = wp.constant(0.1)  # relative difference of two colors below which a pixel needs no further samples
LAMPS = wp.constant(4)  # of a `Light`: one for each sample of a pixel
BODY_TEXELS = wp.constant(clothes.TEXELS_PER_EDGE)


# Of a texel of the room: albedo (3), light of the lamps with the furniture's shadows, and light from everywhere else,
# darker in corners. One vector, since most of a pixel's time is the wait for this memory.
Texel = wp.types.vector(5, float)


@wp.struct
class RoomStruct:
    mesh: wp.uint64  # all rectangles but the shell
    shell: int  # the first so many rectangles are the sides of a convex room around everything
    tiles: wp.array(dtype=wp.vec3i)  # per rectangle: first texel, columns, rows
    origins: wp.array(dtype=wp.vec3)  # per rectangle: its first corner
    across: wp.array(dtype=wp.vec3)  # per rectangle: edges along columns and rows, divided by their squared lengths
    along: wp.array(dtype=wp.vec3)
    texels: wp.array(dtype=Texel)


@wp.struct
class LightStruct:
    lamps: wp.array(dtype=wp.vec3)  # four: one for each sample of a pixel
    key: float
    ambient: float
    spread: float  # 0: the lamps shine down; 1: to all sides
    tint: wp.vec3


@wp.struct
class PersonStruct:
    faces: wp.array(dtype=wp.vec3i)
    normals: wp.array(dtype=wp.vec3)
    colors: wp.array2d(dtype=wp.vec3)  # per triangle: albedo of its texels
    shadow: DepthBuffer  # the backs of its triangles as the lamps see them; of several people, one after the other


@wp.func
def tone_map(light: float) -> float:
    """Linear light -> 0..255 with gamma 2 and a soft shoulder, like a camera's."""
    return 255.0 * wp.sqrt(wp.clamp(1.3 * light / (1.0 + 0.3 * light), 0.0, 1.0))


@wp.func
def lamp_light(point: wp.vec3, normal: wp.vec3, lamp: wp.vec3, spread: float) -> float:
    """Light of one lamp on a surface without shadows; 1 on the floor 2.5 m under it."""
    to_lamp = lamp - point
    squared = wp.length_sq(to_lamp)
    direction = to_lamp / wp.sqrt(squared)
    # 6.25 is 2.5 m squared, which scales the inverse square law to 1 at that distance.
    return 6.25 / squared * wp.max(wp.dot(normal, direction), 0.0) * wp.max(direction[2], spread)


@wp.func
def blocked(mesh: wp.uint64, point: wp.vec3, lamp: wp.vec3) -> bool:
    to_lamp = lamp - point
    distance = wp.length(to_lamp)
    return wp.mesh_query_ray_anyhit(mesh, point, to_lamp / distance, distance)


@wp.func
def shadowed_light(mesh: wp.uint64, point: wp.vec3, normal: wp.vec3, lamp: wp.vec3, spread: float) -> float:
    """Light of a lamp, 0 in the shadow of the mesh."""
    light = lamp_light(point, normal, lamp, spread)
    if light <= 0.0:
        return 0.0
    if blocked(mesh, point, lamp):
        return 0.0
    return light


@wp.func
def ambient_from(normal: wp.vec3) -> float:
    """Ambient light from the half space above a surface: ceiling and walls reflect more than the floor."""
    return 0.75 + 0.25 * normal[2]


@wp.func
def texel_index(room: RoomStruct, rectangle: int, point: wp.vec3) -> int:
    """Index of the texel of a rectangle at a point of its plane; the nearest texel for a point outside it."""
    offset = point - room.origins[rectangle]
    tile = room.tiles[rectangle]
    x = int(wp.dot(offset, room.across[rectangle]) * float(tile[1]))
    y = int(wp.dot(offset, room.along[rectangle]) * float(tile[2]))
    return tile[0] + wp.clamp(y, 0, tile[2] - 1) * tile[1] + wp.clamp(x, 0, tile[1] - 1)


@wp.func
def nearest_side(planes: wp.array2d(dtype=wp.vec3), sides: int, i: int, ray: wp.vec3):
    """Index of the side of the room where a ray from the i-th start ends, and the inverse of its length."""
    # The room is convex, so the side that is hit first is the one with the largest inverse distance: no division.
    index = wp.int32(0)
    nearest = wp.float32(0.0)
    for side in range(sides):
        inverse = wp.dot(ray, planes[i, side])
        if inverse > nearest:
            nearest = inverse
            index = side
    return index, nearest


@wp.func
def nearest_rectangle(
    room: RoomStruct,
    furniture: DepthBuffer,
    planes: wp.array2d(dtype=wp.vec3),
    camera: int,
    row: int,
    column: int,
    ray: wp.vec3,
):
    """Index of the rectangle of the room that a sample shows, and its inverse depth."""
    rectangle, nearest = nearest_side(planes, room.shell, camera, ray)
    in_front = inverse_depth(furniture, camera, row, column)
    if in_front > nearest:
        nearest = in_front
        # Every rectangle of the furniture is two triangles.
        rectangle = room.shell + nearest_face(furniture, camera, row, column) / 2
    return rectangle, nearest


@wp.func
def body_texel(u: float, v: float) -> int:
    """Texel of a triangle at barycentric coordinates (u, v), in the order of `clothes._coordinates_of_texels`."""
    i = wp.min(int(u * float(BODY_TEXELS)), BODY_TEXELS - 1)
    j = wp.min(int(v * float(BODY_TEXELS)), BODY_TEXELS - 1 - i)
    # Row i of the triangle has BODY_TEXELS - i texels, so this many texels lie in the rows before it.
    return i * (2 * BODY_TEXELS + 1 - i) / 2 + j


@wp.func
def body_weights(cameras: DepthBuffer, camera: int, corner: wp.vec3i, row: int, column: int) -> wp.vec3:
    """Weights of a triangle's corners at the point of it that a sample shows, correct in perspective."""
    x = float(column) + 0.5
    y = float(row) + 0.5
    a = shifted(cameras.projected[corner[0], camera], x, y)
    b = shifted(cameras.projected[corner[1], camera], x, y)
    c = shifted(cameras.projected[corner[2], camera], x, y)
    weights = edge_functions(a, b, c) * wp.vec3(0.0, 0.0, 1.0)
    return weights / (weights[0] + weights[1] + weights[2])


@wp.func
def in_shadow(shadow: DepthBuffer, lamp: int, point: wp.vec3) -> bool:
    """Whether one of the people in `shadow` hides a lamp from a point."""
    hidden = wp.bool(False)
    for person in range(shadow.centers.shape[0] / LAMPS):
        hidden = hidden or occludes(shadow, LAMPS * person + lamp, point)
    return hidden


@wp.func
def body_color(person: PersonStruct, light: LightStruct, face: int, weights: wp.vec3, point: wp.vec3, k: int):
    """Light reflected by a point of the body when the k-th lamp is on."""
    corner = person.faces[face]
    normal = wp.normalize(
        weights[0] * person.normals[corner[0]]
        + weights[1] * person.normals[corner[1]]
        + weights[2] * person.normals[corner[2]]
    )
    direct = lamp_light(point, normal, light.lamps[k], light.spread)
    if direct > 0.0 and in_shadow(person.shadow, k, point):
        direct = 0.0
    amount = light.ambient * ambient_from(normal) + light.key * direct
    return amount * person.colors[face, body_texel(weights[0], weights[1])]


@wp.kernel
def render(
    room: RoomStruct,
    light: LightStruct,
    person: PersonStruct,
    body: DepthBuffer,  # the person, with 2 x 2 samples for each pixel
    others: PersonStruct,  # people who stand behind: part of the background
    crowd: DepthBuffer,  # the others from the same cameras; without samples if there are none
    furniture: DepthBuffer,  # all rectangles but the shell, from the same cameras
    planes: wp.array2d(dtype=wp.vec3),  # per camera and side of the shell: its product with a ray is an inverse length
    size: int,
    img_crop: wp.array(dtype=wp.uint8, ndim=4),
    bg_crop: wp.array(dtype=wp.uint8, ndim=4),
    mask_crop: wp.array(dtype=wp.uint8, ndim=3),  # the share of the person in each pixel, times 255
):
    camera, y, x = wp.tid()
    center = body.centers[camera]
    to_world = wp.transpose(body.rotations[camera])
    step = 0.5 / (float(size) * body.focals[camera])
    with_person = wp.vec3(0.0)
    without_person = wp.vec3(0.0)
    last = wp.vec3(0.0)
    count = wp.float32(0.0)
    covered = wp.float32(0.0)
    # The samples of a pixel go (0, 0), (1, 1), (1, 0), (0, 1): a diagonal first, which crosses most edges.
    # Each sample has a lamp of its own, so that averaging them gives soft shadows at no extra cost.
    for k in range(4):
        column = 2 * x + (k + 1) / 2 % 2
        row = 2 * y + k % 2
        # The ray is scaled to a depth of one, so that distances along it are depths.
        ray = to_world * wp.vec3((float(column - size) + 0.5) * step, (float(row - size) + 0.5) * step, 1.0)
        rectangle, nearest = nearest_rectangle(room, furniture, planes, camera, row, column, ray)
        point = center + ray / nearest
        texel = room.texels[texel_index(room, rectangle, point)]
        albedo = wp.vec3(texel[0], texel[1], texel[2])
        lit = (light.ambient * texel[4] + light.key * texel[3]) * albedo
        is_room = wp.bool(True)
        if crowd.samples > 0:
            behind = inverse_depth(crowd, camera, row, column)
            if behind > nearest:
                nearest = behind
                is_room = False
                other = nearest_face(crowd, camera, row, column)
                where = body_weights(crowd, camera, others.faces[other], row, column)
                lit = body_color(others, light, other, where, center + ray / behind, k)
        color = lit
        inverse = inverse_depth(body, camera, row, column)
        if inverse > nearest:
            face = nearest_face(body, camera, row, column)
            weights = body_weights(body, camera, person.faces[face], row, column)
            color = body_color(person, light, face, weights, center + ray / inverse, k)
            covered += 1.0
        elif is_room and in_shadow(person.shadow, k, point):
            color = light.ambient * texel[4] * albedo
        with_person += color
        without_person += lit
        count += 1.0
        # Where the two samples of the diagonal agree, the other two would as well. Most pixels stop here.
        if k == 1 and wp.length(color - last) < SAME_COLOR * wp.length(color + last):
            break
        last = color
    scale = 1.0 / count
    mask_crop[camera, y, x] = wp.uint8(255.0 * covered * scale + 0.5)
    for c in range(3):
        byte = wp.uint8(tone_map(with_person[c] * light.tint[c] * scale) + 0.5)
        img_crop[camera, y, x, c] = byte
        if without_person[c] != with_person[c]:
            byte = wp.uint8(tone_map(without_person[c] * light.tint[c] * scale) + 0.5)
        bg_crop[camera, y, x, c] = byte


@wp.kernel
def bake(
    room: RoomStruct,
    starts: wp.array(dtype=wp.vec3),
    planes: wp.array2d(dtype=wp.vec3),  # per start and side of the shell, as in `render`
    normals: wp.array(dtype=wp.vec3),
    lamps: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),  # evenly spaced on the unit sphere
    reach: float,
    spread: float,
    key: wp.array(dtype=float),
    ambient: wp.array(dtype=float),
):
    """Light on points just before a surface: direct light of the lamps, and ambient light with occlusion.

    Ambient occlusion: the mean distance to the next surface, cosine weighted and capped at `reach`, darkens corners.
    """
    i = wp.tid()
    normal = normals[i]
    direct = wp.float32(0.0)
    for k in range(lamps.shape[0]):
        direct += shadowed_light(room.mesh, starts[i], normal, lamps[k], spread)
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
    # A quarter of the ambient light reaches even the deepest corner, in place of light reflected several times.
    ambient[i] = ambient_from(normal) * (0.25 + 0.75 * free / weight)


@wp.kernel
def vertex_normals(
    vertices: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    first: wp.array(dtype=int),  # (V+1,) where each vertex's faces begin in `around`
    around: wp.array(dtype=int),
    normals: wp.array(dtype=wp.vec3),
):
    """Unit normals of vertices, weighted by the area of their triangles."""
    i = wp.tid()
    # Each vertex gathers from its faces. Faces that scatter with atomic additions would sum in any order, and a GPU
    # would not give the same bytes each time.
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
    """Move vertices outwards by the thickness of hair, cloth and soles, meters."""
    i = wp.tid()
    thickened[i] = vertices[i] + thickness[i] * normals[i]
