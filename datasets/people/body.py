"""Posable human bodies from the `anny` body model, one fixed shape per subject number.

Frames and units: meters, z up. The body frame has x forward, y to the body's left, z up, origin between the hip
joints. A pose is relative to the *neutral* stance: upright, arms and legs straight down, feet flat, palms towards the
thighs. In that stance every bone's local frame has the axes of the body frame, so that one convention serves all
bones: a negative rotation about y swings a hanging limb forward, a positive one bends the trunk forward.
"""

import functools
from typing import NamedTuple

import numpy as np

from datasets.people.anny_model import anny_model, rest_shape
from datasets.people.crowd import CROWD, drawn_shape
from datasets.people.kinematics import rotation_x
from utils.errors import UserError

# Stature in meters, and anny's shape parameters (gender: 0 male .. 1 female; age: 2/3 young adult .. 1 old).
# The numbers of subjects are Human3.6M's, but their shapes are invented.
_SHAPES = {
    1: dict(stature=1.80, gender=0.05, age=0.68, muscle=0.65, weight=0.50, proportions=0.60),
    5: dict(stature=1.62, gender=0.95, age=0.67, muscle=0.45, weight=0.25, proportions=0.70),
    6: dict(stature=1.90, gender=0.00, age=0.72, muscle=0.50, weight=0.95, proportions=0.45),
    7: dict(stature=1.70, gender=0.90, age=0.80, muscle=0.40, weight=0.85, proportions=0.45),
    8: dict(stature=1.72, gender=0.10, age=0.85, muscle=0.30, weight=1.00, proportions=0.35),
    9: dict(stature=1.84, gender=0.10, age=0.70, muscle=0.80, weight=0.65, proportions=0.60),
    11: dict(stature=1.66, gender=0.85, age=0.75, muscle=0.55, weight=0.52, proportions=0.55),
}

SUBJECTS = tuple(_SHAPES)
_SHOULDER_DROP = np.deg2rad(8)


class _Bone(NamedTuple):
    name: str
    parent: str
    sources: tuple[str, ...]  # prefixes of anny's bones that move with it; the first one's head is its pivot


# A forearm is two bones: rotating a palm twists the skin along the forearm, and not only at the wrist.
_SIDED = (
    _Bone("clavicle", "chest", ("clavicle", "shoulder01")),
    _Bone("upper_arm", "clavicle", ("upperarm01", "upperarm02")),
    _Bone("forearm", "upper_arm", ("lowerarm01",)),
    _Bone("forearm_twist", "forearm", ("lowerarm02",)),
    _Bone("hand", "forearm_twist", ("wrist", "metacarpal", "finger")),
    _Bone("thigh", "pelvis", ("upperleg01", "upperleg02")),
    _Bone("shin", "thigh", ("lowerleg01", "lowerleg02")),
    _Bone("foot", "shin", ("foot",)),
    _Bone("toes", "foot", ("toe",)),
)
_BONES = (
    _Bone("pelvis", "", ("root", "pelvis")),
    _Bone("spine_low", "pelvis", ("spine05",)),
    _Bone("spine_mid", "spine_low", ("spine04", "spine03")),
    _Bone("spine_high", "spine_mid", ("spine02",)),
    _Bone("chest", "spine_high", ("spine01",)),
    _Bone("neck", "chest", ("neck01", "neck02", "neck03")),
    _Bone("head", "neck", ("head", "eye")),
    *(
        _Bone(f"{b.name}_{side}", b.parent if b.parent in ("chest", "pelvis") else f"{b.parent}_{side}",
              tuple(f"{s}@{side[0].upper()}" for s in b.sources))
        for side in ("left", "right") for b in _SIDED
    ),
)  # fmt: skip
BONE_NAMES = tuple(bone.name for bone in _BONES)
BONE_INDEX = {name: index for index, name in enumerate(BONE_NAMES)}
BONE_PARENTS = tuple(BONE_INDEX.get(bone.parent, -1) for bone in _BONES)

# The bone that carries each of the 17 joints of utils/skeleton.py. The joint is that bone's pivot, except for the two
# of the head, which `Body._place_joints` places.
_JOINT_BONES = (
    "pelvis", "thigh_right", "shin_right", "foot_right", "thigh_left", "shin_left", "foot_left",
    "spine_high", "neck", "head", "head",
    "upper_arm_left", "forearm_left", "hand_left", "upper_arm_right", "forearm_right", "hand_right",
)  # fmt: skip


class Motion(NamedTuple):
    """Poses of one body over T frames.

    rotations: (T, B, 3, 3) float32, of each bone relative to its parent (root: to the world); identity: neutral stance.
    translation: (T, 3) float32, the point between the hip joints in the world, meters.
    """

    rotations: np.ndarray
    translation: np.ndarray


class Body:
    """The body of one subject: a mesh that `pose` moves.

    Attributes:
        faces: (F, 3) int32 triangles.
        rest_vertices: (V, 3) float32, the model's own rest pose (arms half raised), body frame axes, lowest point z=0.
        offsets: (B, 3) float32, the pivot of each of `BONE_NAMES` relative to its parent's in the neutral stance.
        vertex_weights: (V, B) float32, rows sum to 1; vertex_bone: (V,) int64, the bone with the largest weight.
        neutral_vertices (V, 3), neutral_joints (17, 3), neutral_pivots (B, 3): the neutral stance, body frame.

    Raises:
        UserError: for a subject number outside `SUBJECTS` and below `CROWD`, or when anny is missing.
    """

    def __init__(self, subject: int):
        if subject not in _SHAPES and subject < CROWD:
            raise UserError(f"no body for subject {subject!r}; expected one of {SUBJECTS}, or {CROWD} and more")
        self.subject = subject
        model = anny_model()
        vertices, heads = rest_shape(model, **(_SHAPES.get(subject) or drawn_shape(subject)))
        self.faces = model.faces.numpy().astype(np.int32)
        self.vertex_weights = _bone_weights(model)
        self.vertex_bone = self.vertex_weights.argmax(1)
        self._pivots = _bone_pivots(model.bone_labels, heads)
        self.rest_vertices = (vertices - [0, 0, vertices[:, 2].min()]).astype(np.float32)
        self._align = _neutral_alignment(self._pivots)
        self.offsets = self._neutral_offsets()
        self._joint_points = self._place_joints(vertices)
        # Linear blend skinning is linear in the bones' matrices: with weights and homogeneous rest positions multiplied
        # here, once, posing is a single matrix product (see `pose`).
        homogeneous = np.concatenate([vertices, np.ones_like(vertices[:, :1])], axis=1)
        skin = self.vertex_weights[:, :, None] * homogeneous[:, None, :]  # (V, B, 4)
        self._skin = np.ascontiguousarray(skin.reshape(len(vertices), -1).T, dtype=np.float32)
        neutral = Motion(np.tile(np.eye(3, dtype=np.float32), (1, len(BONE_NAMES), 1, 1)), np.zeros((1, 3), np.float32))
        self.neutral_vertices, self.neutral_joints = (a[0] for a in self.pose(neutral))
        self.neutral_pivots = self.forward_kinematics(neutral)[1][0]

    def pose(self, motion: Motion) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (T, V, 3) and the 17 joints (T, 17, 3) of a motion in the world; float32, meters.

        Joints are bone pivots; `hip` lies between the hip joints, `head` at the nose, `head_top` on the skull.
        """
        rotations, positions = self.forward_kinematics(motion)
        from_rest = rotations @ self._align
        shift = positions - np.einsum("tbij,bj->tbi", from_rest, self._pivots)
        matrices = np.concatenate([from_rest, shift[..., None]], axis=-1)  # (T, B, 3, 4)
        frames = len(matrices)
        matrices = matrices.transpose(0, 2, 1, 3).reshape(frames * 3, -1).astype(np.float32)
        vertices = (matrices @ self._skin).reshape(frames, 3, -1).transpose(0, 2, 1)
        carriers = [BONE_INDEX[name] for name in _JOINT_BONES]
        joints = np.einsum("tjik,jk->tji", from_rest[:, carriers], self._joint_points) + shift[:, carriers]
        return np.ascontiguousarray(vertices), joints.astype(np.float32)

    def forward_kinematics(self, motion: Motion) -> tuple[np.ndarray, np.ndarray]:
        """Rotations (T, B, 3, 3) from the neutral stance and pivots (T, B, 3) of all bones, in the world."""
        rotations = np.array(motion.rotations, dtype=np.float64)
        positions = np.empty((*rotations.shape[:2], 3))
        positions[:, 0] = motion.translation
        for bone, parent in enumerate(BONE_PARENTS[1:], start=1):
            positions[:, bone] = positions[:, parent] + rotations[:, parent] @ self.offsets[bone]
            rotations[:, bone] = rotations[:, parent] @ rotations[:, bone]
        return rotations, positions

    def _neutral_offsets(self) -> np.ndarray:
        offsets = np.zeros((len(BONE_NAMES), 3))
        for bone, parent in enumerate(BONE_PARENTS[1:], start=1):
            offsets[bone] = self._align[parent] @ (self._pivots[bone] - self._pivots[parent])
        return offsets.astype(np.float32)

    def _place_joints(self, vertices: np.ndarray) -> np.ndarray:
        """The joints (17, 3) in the model's rest pose."""
        points = self._pivots[[BONE_INDEX[name] for name in _JOINT_BONES]].copy()
        skull = vertices[self.vertex_bone == BONE_INDEX["head"]]
        pivot = points[9]
        face = skull[np.abs(skull[:, 1]) < 0.02]
        points[10] = [pivot[0] + 0.02, 0, skull[:, 2].max()]
        # The nose is the point furthest forward near the middle line; the joint lies 3 cm behind it, inside the head.
        nose = face[face[:, 0].argmax()]
        points[9] = [nose[0] - 0.03, 0, nose[2]]
        return points


@functools.lru_cache(maxsize=len(SUBJECTS) + 3)
def load_body(subject: int) -> Body:
    """The body of a subject. The last few are kept: all fixed subjects, or some of the crowd."""
    return Body(subject)


def _members(bone: _Bone, labels) -> list[str]:
    """Names of anny's bones that belong to one of ours."""
    prefixes = [(s.split("@")[0], "." + s.split("@")[1] if "@" in s else "") for s in bone.sources]
    return [x for prefix, side in prefixes for x in labels if x.startswith(prefix) and x.endswith(side)]


def _bone_weights(model) -> np.ndarray:
    """Skinning weights (V, B) float32 of our bones: the sums over their members."""
    weights = model.vertex_bone_weights.numpy()
    indices = model.vertex_bone_indices.numpy()
    owner = np.zeros(len(model.bone_labels), dtype=np.int64)
    for index, bone in enumerate(_BONES):
        owner[[model.bone_labels.index(x) for x in _members(bone, model.bone_labels)]] = index
    merged = np.zeros((len(weights), len(_BONES)), dtype=np.float32)
    np.add.at(merged, (np.arange(len(weights))[:, None], owner[indices]), weights)
    return merged / merged.sum(1, keepdims=True)


def _bone_pivots(labels, heads: dict[str, np.ndarray]) -> np.ndarray:
    """Pivots (B, 3) in the rest pose: the head of a bone's first member; for the toes, the ball of the foot."""
    pivots = np.stack([heads[_members(bone, labels)[0]] for bone in _BONES])
    for side in ("left", "right"):
        balls = [heads[x] for x in labels if x.startswith("toe") and x.endswith(f"-1.{side[0].upper()}")]
        pivots[BONE_INDEX[f"toes_{side}"]] = np.mean(balls, axis=0)
    pivots[0] = (pivots[BONE_INDEX["thigh_left"]] + pivots[BONE_INDEX["thigh_right"]]) / 2
    return pivots


def _neutral_alignment(pivots: np.ndarray) -> np.ndarray:
    """Rotations (B, 3, 3) that bring each bone from the model's rest pose to the neutral stance."""
    align = np.tile(np.eye(3), (len(BONE_NAMES), 1, 1))
    for side, outward in (("left", 1), ("right", -1)):
        # anny's rest pose has half raised arms, which come with raised shoulders.
        align[BONE_INDEX[f"clavicle_{side}"]] = rotation_x(-outward * _SHOULDER_DROP)
        at = {name: pivots[BONE_INDEX[f"{name}_{side}"]] for name in ("upper_arm", "forearm", "hand")}
        upper, lower = at["forearm"] - at["upper_arm"], at["hand"] - at["forearm"]
        # The slightly bent elbow shows its axis, which points to the body's left once the arm hangs.
        hinge = np.cross(lower, upper)
        align[BONE_INDEX[f"upper_arm_{side}"]] = _hanging(upper, hinge)
        for name in ("forearm", "forearm_twist", "hand"):
            align[BONE_INDEX[f"{name}_{side}"]] = _hanging(lower, hinge)
        for name, end in (("thigh", "shin"), ("shin", "foot")):
            direction = pivots[BONE_INDEX[f"{end}_{side}"]] - pivots[BONE_INDEX[f"{name}_{side}"]]
            align[BONE_INDEX[f"{name}_{side}"]] = _hanging(direction, np.array([0.0, 1.0, 0.0]))
    return align


def _hanging(direction: np.ndarray, hinge: np.ndarray) -> np.ndarray:
    """Rotation that brings `direction` to -z and `hinge` (made orthogonal to it) to +y."""
    up = -direction / np.linalg.norm(direction)
    left = hinge - up * (hinge @ up)
    left /= np.linalg.norm(left)
    return np.stack([np.cross(left, up), left, up])
