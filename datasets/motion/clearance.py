"""Keeps forearms and hands out of trunk, thighs and head, by rotating arms at the shoulder.

The body is approximated by elliptic cylinders and the arm by seven spheres. Exact collisions of meshes would be slow,
and the margin hides the difference.
"""

import itertools
from typing import NamedTuple

import numpy as np

from datasets.people.body import BONE_INDEX, Body
from datasets.people.kinematics import gaussian_smooth, to_matrix, to_rotation_vector, transform

_ROUNDS = 8
MARGIN = 0.025  # meters kept free
# Spheres of an arm: four on the forearm (fractions of its length from the elbow), three in the hand.
_FOREARM_FRACTIONS = (0.0, 0.35, 0.7, 1.0)
_RADII = np.array([0.045, 0.045, 0.038, 0.032, 0.03, 0.028, 0.024])
_MAX_STEP = 0.3  # radians per round, so that a deep overlap does not throw the arm across the body


class _Obstacle(NamedTuple):
    """An upright elliptic cylinder with round caps, in the neutral axes of the bone that carries it."""

    bone: int
    center: np.ndarray  # (3,) from the bone's pivot
    half: np.ndarray  # (3,) half axes; the third rounds the caps
    length: float  # half the height between the caps


def obstacles(body: Body) -> list[_Obstacle]:
    """Elliptic cylinders fitted to the body's mesh in its neutral stance."""
    groups = {
        "chest": ("chest", "spine_high"),
        "spine_low": ("spine_low", "spine_mid"),
        "pelvis": ("pelvis",),
        "neck": ("neck",),
        "head": ("head",),
        "thigh_left": ("thigh_left",),
        "thigh_right": ("thigh_right",),
    }
    pivots = body.neutral_pivots
    shapes = []
    for carrier, bones in groups.items():
        points = body.neutral_vertices[np.isin(body.vertex_bone, [BONE_INDEX[b] for b in bones])]
        # Percentiles leave out what sticks out, such as ears and the nose.
        low, high = np.percentile(points, [2, 98], axis=0)
        half = (high - low) / 2
        cap = half[2] if carrier == "head" else min(0.04, half[2])
        bone = BONE_INDEX[carrier]
        shapes.append(
            _Obstacle(bone, (low + high) / 2 - pivots[bone], np.array([half[0], half[1], cap]), half[2] - cap)
        )
    return shapes


def hand_points(body: Body, side: str) -> np.ndarray:
    """Centers (3, 3) of palm, knuckles and fingers relative to the wrist, in the hand's neutral axes."""
    bone = BONE_INDEX[f"hand_{side}"]
    points = body.neutral_vertices[body.vertex_bone == bone] - body.neutral_pivots[bone]
    points = points[np.argsort(-points[:, 2])]
    return np.stack([part.mean(0) for part in np.array_split(points, 3)])


def clear_arm(
    shapes: list[_Obstacle],
    hand_offsets: np.ndarray,
    rotations: np.ndarray,
    positions: np.ndarray,
    bones: tuple[int, int, int],
    rate: float,
    margin: float = MARGIN,
) -> np.ndarray:
    """Rotations (T, 3, 3) about the shoulder in the world, applied after the upper arm's own, that clear the arm.

    Args:
        shapes: see `obstacles`. hand_offsets: see `hand_points`.
        rotations, positions: (T, B, 3, 3), (T, B, 3) of all bones in the world.
        bones: indices of upper arm, forearm and hand. rate: frames per second.
        margin: meters kept free between arm and body.
    """
    upper, forearm, hand = bones
    shoulder = positions[:, upper]
    elbow, wrist = positions[:, forearm] - shoulder, positions[:, hand] - shoulder
    lower = [elbow + fraction * (wrist - elbow) for fraction in _FOREARM_FRACTIONS]
    palm = [wrist + transform(rotations[:, hand], offset) for offset in hand_offsets]
    arm = np.stack(lower + palm, axis=1)  # (T, K, 3)
    clearing = np.tile(np.eye(3), (len(arm), 1, 1))
    # In every round the deepest point of each frame is pushed out. Frames that are clear drop out.
    touching = np.arange(len(arm))
    for _ in range(_ROUNDS):
        moved = transform(clearing[touching, None], arm[touching])
        which, vector = _deepest_push(
            shapes, rotations[touching], positions[touching], shoulder[touching, None] + moved, margin
        )
        inside = vector.any(axis=1)
        touching, which, vector = touching[inside], which[inside], vector[inside]
        if not len(touching):
            break
        lever = moved[np.flatnonzero(inside), which]
        clearing[touching] = to_matrix(_rotation_that_moves(lever, vector)) @ clearing[touching]
    # Frames were treated one by one: smoothing over a tenth of a second keeps the arm from jerking.
    return to_matrix(gaussian_smooth(to_rotation_vector(clearing), max(0.1 * rate, 0.3)))


def _rotation_that_moves(lever: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Rotation vectors (T, 3) that move the ends of levers by about the given vectors."""
    rotation = np.cross(lever, vector) / np.maximum((lever**2).sum(1, keepdims=True), 0.01)
    angle = np.linalg.norm(rotation, axis=1, keepdims=True)
    return rotation * np.minimum(1, _MAX_STEP / np.maximum(angle, 1e-9))


def _deepest_push(shapes, rotations, positions, points, margin):
    """Per frame the index (T,) of the point deepest inside a shape, and the way out (T, 3), 0 if all are clear."""
    depths, ways = [], []
    for shape in shapes:
        inverse = rotations[:, shape.bone].transpose(0, 2, 1)[:, None]
        local = transform(inverse, points - positions[:, shape.bone, None]) - shape.center
        local[..., 2] -= np.clip(local[..., 2], -shape.length, shape.length)
        half = shape.half + _RADII[:, None] + margin
        scaled = local / half
        level = np.maximum(np.linalg.norm(scaled, axis=-1), 1e-6)
        normal = scaled / half
        steep = np.maximum(np.linalg.norm(normal, axis=-1), 1e-6)
        # There is no closed form for the distance to an ellipsoid: this is the first-order one, along the gradient of
        # `level`, exact on the surface and for spheres.
        depths.append((1 - level) * level / steep)
        ways.append(transform(rotations[:, shape.bone, None], normal / steep[..., None]))
    depth = np.stack(depths, axis=1)  # (T, shapes, K)
    flat = depth.reshape(len(depth), -1)
    best = flat.argmax(1)
    amount = np.maximum(flat[np.arange(len(flat)), best], 0)
    shape_index, point_index = np.divmod(best, depth.shape[2])
    way = np.stack(ways, axis=1)[np.arange(len(flat)), shape_index, point_index]
    return point_index, way * amount[:, None]


# Groups of limbs of which no two may touch: points along the bones from a bone's pivot to the next, and a radius.
_GROUPS = {
    "trunk": (("spine_low", "spine_high", 0.10), ("spine_high", "neck", 0.10)),
    "head": (("head", "head", 0.11),),
    **{
        f"{name}_{side}": bones
        for side in ("left", "right")
        for name, bones in {
            "arm": ((f"forearm_{side}", f"hand_{side}", 0.035), (f"hand_{side}", f"hand_{side}", 0.05)),
            "knee": ((f"shin_{side}", f"shin_{side}", 0.06),),
            "leg": ((f"shin_{side}", f"foot_{side}", 0.045), (f"toes_{side}", f"toes_{side}", 0.04)),
        }.items()
    },
}
_NEIGHBORS = {("knee_left", "leg_left"), ("knee_right", "leg_right"), ("trunk", "head")}
_FRACTIONS = np.linspace(0.05, 1.0, 5)


def parts_intersect(rotations: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Whether arms, lower legs, trunk or head intersect each other in each pose (T,).

    rotations, positions: (T,B,3,3), (T,B,3) of all bones in the world. Thin capsules stand for the limbs, so that poses
    in which limbs only touch pass.
    """
    points, radii = {}, {}
    for group, bones in _GROUPS.items():
        ends = [(positions[:, BONE_INDEX[a]], positions[:, BONE_INDEX[b]], radius) for a, b, radius in bones]
        points[group] = np.concatenate(
            [a[:, None] + _FRACTIONS[:, None] * (b - a)[:, None] for a, b, _ in ends], axis=1
        )
        radii[group] = np.repeat([radius for *_, radius in ends], len(_FRACTIONS))
    # The pivot of the head lies at its base: its center is in front of and above it.
    points["head"] = points["head"] + transform(rotations[:, BONE_INDEX["head"]], np.array([0.02, 0.0, 0.09]))[:, None]
    found = np.zeros(len(positions), dtype=bool)
    for first, second in itertools.combinations(_GROUPS, 2):
        if (first, second) not in _NEIGHBORS:
            apart = np.linalg.norm(points[first][:, :, None] - points[second][:, None], axis=-1)
            found |= (apart < radii[first][:, None] + radii[second]).any(axis=(1, 2))
    return found
