"""From a body's intent (path, trunk, hands, feet) to bone rotations: inverse kinematics and joint limits.

Arms and legs are described on their own side: x forward, y *outward*, z up, so that the same numbers mean mirrored
poses left and right. An arm's state is six numbers, in radians:
- the upper arm's rotation in the chest, as a rotation vector relative to `_ARM_REFERENCE`;
- elbow flexion, forearm pronation (palm rotated inward and down) and wrist flexion.
"""

import numpy as np

from datasets.motion.clearance import MARGIN, clear_arm, hand_points, obstacles
from datasets.motion.footsteps import SIDES, Foot
from datasets.people.body import BONE_INDEX, BONE_NAMES, Body, Motion
from datasets.people.kinematics import (
    gaussian_smooth,
    rotation_x,
    rotation_y,
    rotation_z,
    to_matrix,
    to_rotation_vector,
    transform,
    two_bone_ik,
    unit,
)

# Joint limits, about the active range of motion of adults.
MIN_ELBOW, MAX_ELBOW = 0.05, np.deg2rad(148)
PRONATION_RANGE = (-1.3, 1.5)
MAX_KNEE = np.deg2rad(152)
MAX_TOES = np.deg2rad(62)
MAX_TRUNK = np.deg2rad([35, 85, 50])  # side bend, forward bend, twist
MAX_HEAD = np.deg2rad([30, 45, 65])

# The middle of the shoulder's range. Rotation vectors from there stay far below pi, so that arm states blend linearly.
_ARM_REFERENCE = rotation_x(np.deg2rad(30)) @ rotation_y(np.deg2rad(-70))
# Factors of a rotation matrix's elements that mirror it left to right (conjugation by the reflection of y).
MIRROR = np.array([[1, -1, 1], [-1, 1, -1], [1, -1, 1]])
# How much of a bend each bone of the spine, or of the neck, takes.
SPINE_SHARES = {"spine_low": 0.2, "spine_mid": 0.3, "spine_high": 0.25, "chest": 0.25}
FOREARM_SHARE = 0.6  # of pronation; the hand takes the rest
HEAD_SHARES = {"neck": 0.45, "head": 0.55}


class Intent:
    """What a body does over T frames. `solve` turns it into a Motion. Radians and meters.

    path, heading: (T, 2), (T,) the place on the floor below the body, and where it faces; world.
    feet: per side a `Foot`, world.
    foot_offset, foot_pitch: per side (T, 3), (T,) offset in the heading's frame and raised heel, added to walking.
    foot_free: per side (T,) 1 where the foot does not carry. knee_out: per side (T,) outward rotation of the knee.
    drop: (T,) how far the hips are lowered. shift: (T, 2) hips forward and to the left of the path.
    tilt: (T, 3) rotation of the pelvis about x, y, z.
    trunk, head: (T, 3) bend to the right, bend forward, rotation to the left.
    arms: per side (T, 6) arm states. swing: per side (T,) forward swing of the arm.
    """

    def __init__(self, frames: int):
        self.path, self.heading = np.zeros((frames, 2)), np.zeros(frames)
        self.feet: dict[str, Foot] = {}
        self.foot_offset = {side: np.zeros((frames, 3)) for side in SIDES}
        self.foot_pitch, self.foot_free, self.knee_out = ({s: np.zeros(frames) for s in SIDES} for _ in range(3))
        self.drop, self.shift, self.tilt = np.zeros(frames), np.zeros((frames, 2)), np.zeros((frames, 3))
        self.trunk, self.head = np.zeros((frames, 3)), np.zeros((frames, 3))
        self.arms = {side: np.zeros((frames, 6)) for side in SIDES}
        self.swing = {side: np.zeros(frames) for side in SIDES}


class Limbs:
    """Lengths and landmarks of a body in its neutral stance, meters."""

    def __init__(self, body: Body):
        offset = {name: body.offsets[index].astype(np.float64) for name, index in BONE_INDEX.items()}
        self.offset = offset
        self.upper_arm = float(-offset["forearm_left"][2])
        self.forearm = float(-(offset["forearm_twist_left"] + offset["hand_left"])[2])
        self.thigh = float(-offset["shin_left"][2])
        self.shin = float(-offset["foot_left"][2])
        self.leg = self.thigh + self.shin
        self.hip_width = float(offset["thigh_left"][1])
        self.shoulder = offset["clavicle_left"] + offset["upper_arm_left"]  # from the chest's pivot
        self.chest_height = sum(offset[name] for name in SPINE_SHARES)  # from the hips
        foot = body.neutral_vertices[np.isin(body.vertex_bone, [BONE_INDEX["foot_left"], BONE_INDEX["toes_left"]])]
        ankle = body.neutral_joints[6]
        self.ankle = float(ankle[2] - foot[:, 2].min())
        self.ball = offset["toes_left"] * [1, 1, 0] - [0, 0, self.ankle]
        self.heel = np.array([foot[:, 0].min() + 0.02 - ankle[0], 0, -self.ankle])
        chest = body.neutral_pivots[BONE_INDEX["chest"]]
        self.landmark = {name: body.neutral_joints[j] - chest for name, j in (("nose", 9), ("hip", 4))}
        self.obstacles = obstacles(body)
        self.hand = {side: hand_points(body, side) for side in SIDES}
        self.thigh_radius = float(self.obstacles[-1].half[0])
        belly = body.neutral_vertices[body.vertex_bone == BONE_INDEX["spine_mid"]] - chest
        self.landmark["belly"] = np.array([np.percentile(belly[:, 0], 97), 0, -0.5 * self.chest_height[2]])
        self.hip_side = float(body.neutral_vertices[body.vertex_bone == BONE_INDEX["pelvis"], 1].max())


# ---------------------------------------------------------------------------------------------------- arms


def reach(limbs: Limbs, target: np.ndarray, swivel=0.0, pronation=0.0, wrist=0.0) -> np.ndarray:
    """Arm states (T, 6) that bring the wrist to targets (T, 3) or (3,), on the arm's own side of the chest's frame.

    swivel: rotation of the elbow, outward and up, about the line from shoulder to wrist.
    """
    target = np.atleast_2d(np.asarray(target, dtype=np.float64))
    shoulder = np.broadcast_to(limbs.shoulder, target.shape)
    # The shoulder moves with the arm, and the arm depends on the shoulder: four rounds of fixed point iteration.
    for _ in range(4):
        along = unit(target - shoulder)
        far = np.linalg.norm(target - shoulder, axis=1, keepdims=True) / (limbs.upper_arm + limbs.forearm)
        # The elbow points down and back; of a stretched arm that is raised, it points outward.
        raised = np.clip(along[:, 2:], 0, 1) * np.clip(far, 0, 1)
        pole = np.array([-0.35, 0.35, -1.0]) + raised * np.array([0.6, 1.6, 1.0])
        pole = transform(to_matrix(along * np.broadcast_to(swivel, len(target))[:, None]), pole)
        upper, out, elbow = two_bone_ik(shoulder, target, pole, limbs.upper_arm, limbs.forearm, 0.1)
        frame = limb_frame(upper, -out)
        shoulder = limbs.offset["clavicle_left"] + transform(clavicle_rotation(frame), limbs.offset["upper_arm_left"])
    return _state(frame, elbow, pronation, wrist)


def hang(out=0.14, forward=0.05, elbow=0.3, twist=0.0, pronation=0.3) -> np.ndarray:
    """Arm states (T, 6) of arms that hang at the side; all angles in radians, numbers (T = 1) or (T,)."""
    frame = rotation_x(out) @ rotation_y(-forward) @ rotation_z(-twist)
    frame = frame.reshape(-1, 3, 3)
    return _state(frame, np.broadcast_to(np.asarray(elbow, dtype=np.float64), len(frame)), pronation, 0.0)


def _state(frame, elbow, pronation, wrist):
    rest = [np.broadcast_to(np.asarray(x, dtype=np.float64), len(frame)) for x in (elbow, pronation, wrist)]
    return np.concatenate([to_rotation_vector(_ARM_REFERENCE.T @ frame), np.stack(rest, axis=1)], axis=1)


def limb_frame(along: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) that bring -z to `along` and x to `forward`, both of length 1 and orthogonal."""
    return np.stack([forward, np.cross(forward, along), -along], axis=-1)


def clavicle_rotation(upper_arm: np.ndarray) -> np.ndarray:
    """Rotation (..., 3, 3) of the clavicle for an upper arm: raised with a raised arm, forward with a forward one."""
    # The shoulder girdle contributes a quarter to a third of an arm's elevation after the first 35 degrees
    # (scapulohumeral rhythm).
    along = -upper_arm[..., :, 2]
    elevation = np.arccos(np.clip(-along[..., 2], -1, 1))
    lift = 0.28 * np.maximum(elevation - np.deg2rad(35), 0)
    forward = 0.22 * along[..., 0] * np.sin(elevation)
    return rotation_z(-forward) @ rotation_x(lift)


def arm_rotations(state: np.ndarray, swing: np.ndarray) -> dict[str, np.ndarray]:
    """Rotations (T, 3, 3) of a left arm's bones relative to their parents."""
    upper = rotation_y(-swing) @ _ARM_REFERENCE @ to_matrix(state[:, :3])
    clavicle = clavicle_rotation(upper)
    # An arm that swings forward bends at the elbow.
    elbow = np.clip(state[:, 3] + 0.35 * np.maximum(swing, 0), MIN_ELBOW, MAX_ELBOW)
    pronation = np.clip(state[:, 4], *PRONATION_RANGE)
    wrist = np.clip(state[:, 5], -1.0, 1.0)
    return {
        "clavicle": clavicle,
        "upper_arm": clavicle.transpose(0, 2, 1) @ upper,
        "forearm": rotation_y(-elbow),
        "forearm_twist": rotation_z(-FOREARM_SHARE * pronation),
        "hand": rotation_z(-(1 - FOREARM_SHARE) * pronation) @ rotation_x(-wrist),
    }


# ---------------------------------------------------------------------------------------------------- solving


def trunk_rotations(intent: Intent) -> dict[str, np.ndarray]:
    """Rotations (T, 3, 3) of the spine's bones, and of neck and head, relative to their parents."""
    bones = {}
    for angles, limit, shares in (
        (intent.trunk, MAX_TRUNK, SPINE_SHARES),
        (intent.head, MAX_HEAD, HEAD_SHARES),
    ):
        side, forward, yaw = soft_limit(angles, limit).T
        for name, share in shares.items():
            bones[name] = rotation_z(share * yaw) @ rotation_y(share * forward) @ rotation_x(share * side)
    return bones


def soft_limit(angles: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Angles, unchanged up to two thirds of the limit, and then smoothly approaching the limit."""
    linear = limit * 2 / 3
    over = np.maximum(np.abs(angles) - linear, 0)
    return np.sign(angles) * (np.minimum(np.abs(angles), linear) + (limit - linear) * np.tanh(over / (limit - linear)))


def solve(limbs: Limbs, intent: Intent, rate: float) -> Motion:
    """The motion of an intent, float64, at the intent's frames. rate: frames per second."""
    frames = len(intent.heading)
    rotations = np.tile(np.eye(3), (frames, len(BONE_NAMES), 1, 1))
    for name, rotation in trunk_rotations(intent).items():
        rotations[:, BONE_INDEX[name]] = rotation
    for side in SIDES:
        for name, rotation in arm_rotations(intent.arms[side], intent.swing[side]).items():
            rotations[:, BONE_INDEX[f"{name}_{side}"]] = rotation if side == "left" else rotation * MIRROR
    roll, pitch, yaw = intent.tilt.T
    pelvis = rotation_z(intent.heading + yaw) @ rotation_y(pitch) @ rotation_x(roll)
    rotations[:, 0] = pelvis
    translation, ankles, feet, toes = _place_hips(limbs, intent, pelvis, rate)
    for side in SIDES:
        legs = _leg_rotations(limbs, intent, side, pelvis, translation, ankles[side], feet[side], toes[side])
        for name, rotation in legs.items():
            rotations[:, BONE_INDEX[f"{name}_{side}"]] = rotation
    return Motion(rotations, translation)


def clear_arms(body: Body, limbs: Limbs, motion: Motion, rate: float, margin: float = MARGIN) -> Motion:
    """The motion with upper arms rotated so that forearms and hands are not inside the body."""
    rotations = motion.rotations.copy()
    world, positions = body.forward_kinematics(motion)
    for side in SIDES:
        bones = tuple(BONE_INDEX[f"{name}_{side}"] for name in ("upper_arm", "forearm", "hand"))
        clearing = clear_arm(limbs.obstacles, limbs.hand[side], world, positions, bones, rate, margin)
        clavicle = world[:, BONE_INDEX[f"clavicle_{side}"]]
        rotations[:, bones[0]] = clavicle.transpose(0, 2, 1) @ clearing @ world[:, bones[0]]
    return Motion(rotations.astype(np.float32), motion.translation.astype(np.float32))


def _place_hips(limbs: Limbs, intent: Intent, pelvis: np.ndarray, rate: float):
    """Hip center (T, 3), and per side ankle (T, 3), foot rotation (T, 3, 3) and toe bend (T,), in the world."""
    world = rotation_z(intent.heading)
    hips = np.zeros((len(intent.heading), 3))
    hips[:, :2] = intent.path + transform(world[:, :2, :2], intent.shift)
    ankles, feet, toes = {}, {}, {}
    # The hips are as high as the intent says, but low enough for both legs to reach their feet. A foot in the air, or
    # free, need not be reached: the terms with `swing` and `foot_free` lift the limit.
    height = limbs.ankle + 0.997 * limbs.leg - intent.drop
    for side in SIDES:
        hip = hips + transform(pelvis, limbs.offset[f"thigh_{side}"])
        ankles[side], feet[side], toes[side] = _place_foot(limbs, intent, side, world, hip)
        flat = np.linalg.norm((ankles[side] - hip)[:, :2], axis=1)
        longest = np.sqrt(np.maximum((0.998 * limbs.leg) ** 2 - flat**2, 0.01))
        allowed = ankles[side][:, 2] + longest - (hip - hips)[:, 2] + 3 * intent.foot_free[side]
        height = np.minimum(height, allowed + 2 * intent.feet[side].swing * intent.feet[side].lift)
    # A running minimum before smoothing, so that smoothing cannot raise the hips out of reach of a foot.
    radius = max(1, round(0.08 * rate))
    hips[:, 2] = gaussian_smooth(-running_max(-height, radius), 0.6 * radius)
    return hips, ankles, feet, toes


def _place_foot(limbs: Limbs, intent: Intent, side: str, world: np.ndarray, hip: np.ndarray):
    """Ankle (T, 3), rotation (T, 3, 3) and toe bend (T,) of a foot in the world."""
    foot = intent.feet[side]
    outward = 1 if side == "left" else -1
    # The heel rises as the body passes over a planted foot, up to 50 degrees.
    behind = ((hip[:, :2] - foot.position) * world[:, :2, 0]).sum(1) / limbs.leg
    rise = np.deg2rad(50) * _smooth_step((behind - 0.1) / 0.45) * (1 - intent.foot_free[side])
    pitch = rise + intent.foot_pitch[side] - foot.toe_up
    rotation = rotation_z(foot.yaw) @ rotation_y(pitch)
    mirror = np.array([1, outward, 1])
    # A foot with raised heel rolls over its ball, one with raised toes over its heel: that point stays on the floor.
    pivot = np.where(pitch[:, None] > 0, limbs.ball * mirror, limbs.heel * mirror)
    ankle = transform(rotation_z(foot.yaw), pivot) - transform(rotation, pivot)
    ankle[:, :2] += foot.position
    ankle[:, 2] += limbs.ankle + foot.lift
    ankle += transform(world, intent.foot_offset[side])
    # The toes stay flat while the ball of the foot carries, and bend only a little in the air.
    bend = np.clip(pitch, 0, MAX_TOES) * (1 - 0.7 * np.maximum(foot.swing, intent.foot_free[side]))
    return ankle, rotation, bend


def running_max(values: np.ndarray, radius: int) -> np.ndarray:
    """The maximum (T,) of the values in `radius` frames before and after each frame."""
    padded = np.pad(values, radius, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1).max(axis=1)


def _smooth_step(x):
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _leg_rotations(limbs, intent, side, pelvis, hips, ankle, foot, toe_bend) -> dict[str, np.ndarray]:
    """Rotations (T, 3, 3) of a leg's bones relative to their parents."""
    hip = hips + transform(pelvis, limbs.offset[f"thigh_{side}"])
    outward = 1 if side == "left" else -1
    # The knee points half way between the directions of foot and pelvis.
    forward = unit(unit(foot[:, :, 0] * [1, 1, 0]) + pelvis[:, :, 0])
    splay = rotation_z(outward * intent.knee_out[side])
    pole = transform(splay, forward)
    along, out, knee = two_bone_ik(hip, ankle, pole, limbs.thigh, limbs.shin, 0.06)
    thigh = limb_frame(along, out)
    knee = np.clip(knee, 0, MAX_KNEE)
    shin = thigh @ rotation_y(knee)
    return {
        "thigh": pelvis.transpose(0, 2, 1) @ thigh,
        "shin": rotation_y(knee),
        "foot": shin.transpose(0, 2, 1) @ foot,
        "toes": rotation_y(-toe_bend),
    }
