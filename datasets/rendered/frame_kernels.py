"""The Warp kernels behind `frames`: several people in one frame, who occlude and shadow each other.

Importing this module starts Warp, so only `raycast` imports it, on first use. A *layer* is one person as one camera
sees them: person * cameras + camera.
"""

import warp as wp

from datasets.rendered.depth_buffers import (
    DepthBuffer,
    inverse_depth,
    nearest_face,
    project_point,
    rasterize_face,
    sample_bounds,
)
from datasets.rendered.kernels import (
    SAME_COLOR,
    LightStruct,
    PersonStruct,
    RoomStruct,
    body_color,
    body_weights,
    in_shadow,
    nearest_rectangle,
    texel_index,
    tone_map,
)

wp.set_module_options({"enable_backward": False, "fast_math": True})

# Counts of samples of a pixel are packed into one integer, 3 bits for each person: at most 4 fit 3 bits.
COUNT_BITS = wp.constant(3)


@wp.kernel
def project_people(
    vertices: wp.array(dtype=wp.vec3), person: wp.array(dtype=int), own_cameras: bool, buffer: DepthBuffer
):
    """Project each person's vertices into all cameras, or into the cameras of their own (their lamps)."""
    i = wp.tid()
    views = buffer.projected.shape[1]
    first = wp.int32(0)
    if own_cameras:
        first = person[i] * views
    for view in range(views):
        point = project_point(buffer, first + view, vertices[i])
        buffer.projected[i, view] = point
        buffer.bounds[i, view] = sample_bounds(point, buffer.samples)


@wp.kernel
def rasterize_people(faces: wp.array(dtype=wp.vec3i), person: wp.array(dtype=int), buffer: DepthBuffer, facing: float):
    """Rasterize each person's triangles into layers of their own. person: (V,) of each vertex."""
    face = wp.tid()
    views = buffer.projected.shape[1]
    first = person[faces[face][0]] * views
    for view in range(views):
        rasterize_face(faces[face], face, buffer, view, first + view, facing)


@wp.func
def person_at(seen: DepthBuffer, people: int, camera: int, row: int, column: int, behind: float):
    """The nearest person before a surface at inverse depth `behind` (-1: nobody), and a bit for each one before it."""
    cameras = seen.centers.shape[0]
    nearest = behind
    front = wp.int32(-1)
    everybody = wp.int32(0)
    for person in range(people):
        inverse = inverse_depth(seen, person * cameras + camera, row, column)
        if inverse > behind:
            everybody += 1 << COUNT_BITS * person
        if inverse > nearest:
            nearest = inverse
            front = person
    return front, nearest, everybody


@wp.func
def sample_count(counts: int, person: int) -> int:
    return (counts >> COUNT_BITS * person) & 7


@wp.kernel
def render_frames(
    room: RoomStruct,
    light: LightStruct,
    people: PersonStruct,  # all of them in one mesh
    seen: DepthBuffer,  # a square around the frame, with 2 x 2 samples for each pixel; one layer per person and camera
    num_people: int,
    furniture: DepthBuffer,  # all rectangles but the shell, from the same cameras
    planes: wp.array2d(dtype=wp.vec3),  # as in `render`
    left: int,  # samples of the square to the left of the frame and above it
    top: int,
    img: wp.array(dtype=wp.uint8, ndim=4),
    mask: wp.array(dtype=wp.uint8, ndim=3),  # 0: nobody; p + 1: person p
    silhouettes: wp.array(dtype=wp.uint8, ndim=3),  # bit p: person p, also where others stand in front
):
    camera, y, x = wp.tid()
    center = seen.centers[camera]
    to_world = wp.transpose(seen.rotations[camera])
    half = 0.5 * float(seen.samples)
    step = 0.5 / (half * seen.focals[camera])
    total = wp.vec3(0.0)
    last = wp.vec3(0.0)
    shaded = wp.float32(0.0)
    settled = wp.bool(False)
    in_front = wp.int32(0)  # samples that show each person, and samples that each covers
    covered = wp.int32(0)
    before = wp.int32(-1)
    # The order of the samples, and a lamp for each, as in `render`.
    for k in range(4):
        column = left + 2 * x + (k + 1) / 2 % 2
        row = top + 2 * y + k % 2
        ray = to_world * wp.vec3((float(column) + 0.5 - half) * step, (float(row) + 0.5 - half) * step, 1.0)
        rectangle, behind = nearest_rectangle(room, furniture, planes, camera, row, column, ray)
        front, nearest, everybody = person_at(seen, num_people, camera, row, column, behind)
        covered += everybody
        if front >= 0:
            in_front += 1 << COUNT_BITS * front
        if not settled:
            point = center + ray / nearest
            color = wp.vec3(0.0)
            if front >= 0:
                face = nearest_face(seen, front * seen.centers.shape[0] + camera, row, column)
                weights = body_weights(seen, camera, people.faces[face], row, column)
                color = body_color(people, light, face, weights, point, k)
            else:
                texel = room.texels[texel_index(room, rectangle, point)]
                amount = light.ambient * texel[4]
                if not in_shadow(people.shadow, k, point):
                    amount += light.key * texel[3]
                color = amount * wp.vec3(texel[0], texel[1], texel[2])
            total += color
            shaded += 1.0
            if k == 1 and front == before:
                settled = wp.length(color - last) < SAME_COLOR * wp.length(color + last)
            last = color
            before = front
    for c in range(3):
        img[camera, y, x, c] = wp.uint8(tone_map(total[c] * light.tint[c] / shaded) + 0.5)
    # Half of a pixel's samples make it a person's, in both images: a mask is part of its silhouette.
    most = wp.int32(1)
    owner = wp.int32(0)
    bits = wp.int32(0)
    for person in range(num_people):
        if sample_count(in_front, person) > most:
            most = sample_count(in_front, person)
            owner = person + 1
        if sample_count(covered, person) > 1:
            bits += 1 << person
    mask[camera, y, x] = wp.uint8(owner)
    silhouettes[camera, y, x] = wp.uint8(bits)
