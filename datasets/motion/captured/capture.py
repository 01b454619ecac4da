"""From a captured skeleton to a description that fits any body: directions of limbs, orientations, feet on the floor.

A file's joints are found by name, and its axes and unit from the skeleton. Lengths are in leg lengths (hip to ankle) of
the captured person, so that they fit other bodies. The world has z up and the floor at z = 0. Rotations are relative to
the neutral stance of datasets/people/body.py: upright, arms hanging, feet flat, palms towards the thighs.
"""

import functools
import sys
from typing import NamedTuple

import numpy as np

from datasets.motion.captured.bvh import BvhClip, despike, resample
from datasets.motion.captured.joint_names import JOINTS, find_joints
from datasets.motion.footsteps import SIDES
from datasets.people.kinematics import gaussian_smooth, to_matrix, transform, unit
from utils.errors import UserError

RATE = 30  # frames per second at which motion is analyzed
# The ball of a foot is planted if it is slower and lower than this: leg lengths per second, leg lengths.
_SLOW, _LOW = 0.35, 0.07
_MAX_NECK = np.deg2rad(60)
_NEAR_REST = np.deg2rad(35)
_UPRIGHT = 0.8  # least `_uprightness` of a figure that stands
# Bones whose length gives a direction; those of the legs come first.
_LINKS = (("thigh", "shin"), ("shin", "foot"), ("upper_arm", "forearm"), ("forearm", "hand"))
_BALL = np.array([0.18, 0, -0.07])  # from the ankle, leg lengths forward, left and up: of feet that end at the ankle


class Side(NamedTuple):
    """Arm and leg of one side over T frames, in the world.

    thigh, shin, upper_arm, forearm: directions (T, 3) from joint to joint.
    knee, elbow: axes (T, 3) about which the shin bends back and the forearm bends forward.
    foot, hand: rotations (T, 3, 3).
    planted: (T,) whether the ball of the foot carries. sole: (T,) its height above the floor, leg lengths.
    """

    thigh: np.ndarray
    shin: np.ndarray
    knee: np.ndarray
    foot: np.ndarray
    upper_arm: np.ndarray
    forearm: np.ndarray
    elbow: np.ndarray
    hand: np.ndarray
    planted: np.ndarray
    sole: np.ndarray


class Capture(NamedTuple):
    """A captured motion of T frames at `RATE`, in the world.

    hips: (T, 3) the middle between the hip joints, leg lengths. pelvis, chest, head: rotations (T, 3, 3).
    """

    name: str
    hips: np.ndarray
    pelvis: np.ndarray
    chest: np.ndarray
    head: np.ndarray
    sides: dict[str, Side]

    def frames(self, start: int, stop: int) -> "Capture":
        """The frames [start, stop)."""
        parts = (value[start:stop] for value in self[1:5])
        sides = {name: Side(*(value[start:stop] for value in side)) for name, side in self.sides.items()}
        return Capture(self.name, *parts, sides)

    def copy(self) -> "Capture":
        """The same in arrays of its own, so that the clip that it was cut from can be freed."""
        # As pickles hold them: all processes then round alike.
        copied = functools.partial(np.array, order="C")
        sides = {name: Side(*map(copied, side)) for name, side in self.sides.items()}
        return Capture(self.name, *map(copied, self[1:5]), sides)

    def rotated(self, matrix: np.ndarray) -> "Capture":
        """The motion rotated by a matrix (3, 3) about z."""
        hips, pelvis, chest, head = transform(matrix, self.hips), *(matrix @ value for value in self[2:5])
        return Capture(self.name, hips, pelvis, chest, head, {k: _rotate(matrix, s) for k, s in self.sides.items()})


def analyze(clip: BvhClip, file: str) -> Capture:
    """The captured motion of a clip. Raises UserError, which names `file`, if the skeleton is not a person's."""
    joints = find_joints(clip, file)
    clip = despike(resample(_without_stance(clip, joints), RATE))
    rotations, positions = clip.forward_kinematics()
    reference = _Reference(clip, joints, rotations, positions, file)
    world = _z_up(_upward_axis(positions, joints, reference, file))
    rotations, positions = world @ rotations, positions @ world.T / reference.leg
    balls = {side: _ball(side, joints, rotations, positions, reference) for side in SIDES}
    # The floor is where the lower foot mostly is. A percentile and not the minimum, which a single bad frame sets.
    floor = [0, 0, np.percentile(np.minimum(*(ball[:, 2] for ball in balls.values())), 5)]
    positions = positions - floor
    trunk = {bone: rotations[:, joints[bone]] @ reference.neutral(joints[bone]) for bone in ("pelvis", "chest", "head")}
    trunk["head"] = trunk["chest"] @ _plausible_head(trunk["chest"].swapaxes(1, 2) @ trunk["head"])
    hips = _mid(positions, joints, "thigh")
    sides = {side: _side(side, joints, rotations, positions, balls[side] - floor, trunk, reference) for side in SIDES}
    return Capture(clip.name, hips, *trunk.values(), sides)


def _without_stance(clip: BvhClip, joints: dict[str, int]) -> BvhClip:
    """The clip without a rest pose before its first frame, if it has one."""
    # Many conversions put one there. It is near the rest pose, and the limbs jump away from it.
    if len(clip.rotations) < 4:
        return clip
    limbs = [joints[f"{bone}_{side}"] for bone in ("thigh", "shin", "upper_arm", "forearm") for side in SIDES]
    cosines = (np.trace(clip.rotations[0, limbs], axis1=1, axis2=2) - 1) / 2
    steps = np.linalg.norm(np.diff(clip.rotations[:4, limbs], axis=0), axis=(2, 3)).mean(1)
    first = 1 if cosines.min() > np.cos(_NEAR_REST) and steps[0] > 3 * steps[1:].max() else 0
    return clip._replace(rotations=clip.rotations[first:], translations=clip.translations[first:])


class _Reference:
    """A pose of known posture: the rest pose if it stands upright, else the most upright frame of the motion.

    It gives the rotations of joints their meaning, as the axes of a file's joints are arbitrary.

    Attributes:
        rotations, positions: (J, 3, 3), (J, 3) of the joints, in the file's axes. is_rest: whether it is the rest pose.
        frame: (3, 3) the person's forward, left and up as columns. leg: length from hip to ankle, the file's unit.
    """

    def __init__(self, clip: BvhClip, joints: dict[str, int], rotations, positions, file: str):
        self.joints = joints
        rest = clip.rest_positions()
        self.leg = _leg_length(positions, joints, 1e-6 * max(np.ptp(rest), 1e-3), file)
        self.positions, self.rotations = rest, np.tile(np.eye(3), (len(rest), 1, 1))
        self.is_rest = bool(_uprightness(rest[None], joints)[0] >= _UPRIGHT)
        if not self.is_rest:
            best = _uprightness(positions, joints).argmax()
            self.positions, self.rotations = positions[best], rotations[best]
        self.frame = self._body_axes()
        forward = [self.point(f"toes_{s}") - self.point(f"foot_{s}") for s in SIDES if f"toes_{s}" in joints]
        if forward and sum(forward) @ self.frame[:, 0] < -0.05 * self.leg:
            raise UserError(f"{file}: the feet point backwards; expected left and right joints on their own sides")
        if not forward and _knee_bend(positions, joints) < -0.05:
            raise UserError(f"{file}: the knees bend forward; expected left and right joints on their own sides")

    def point(self, bone: str) -> np.ndarray:
        return self.positions[self.joints[bone]]

    def neutral(self, joint: int) -> np.ndarray:
        """Matrix (3, 3): a joint's rotation times this is its rotation relative to the neutral stance."""
        return self.rotations[joint].T @ self.frame

    def _body_axes(self) -> np.ndarray:
        """The person's forward, left and up as columns (3, 3)."""
        left = unit(self.point("thigh_left") - self.point("thigh_right"))
        up = _mid(self.positions, self.joints, "upper_arm") - _mid(self.positions, self.joints, "foot")
        up, left = _snap(unit(up)), _snap(left)
        left = unit(left - up * (left @ up))
        return np.stack([np.cross(left, up), left, up], axis=1)


def _leg_length(positions: np.ndarray, joints: dict[str, int], least: float, file: str) -> float:
    """Length from hip to ankle. UserError where two joints whose distance gives a direction are nearer than `least`."""
    pairs = [(f"{a}_{side}", f"{b}_{side}") for a, b in _LINKS for side in SIDES] + [("thigh_left", "thigh_right")]
    lengths = [np.linalg.norm(positions[:, joints[b]] - positions[:, joints[a]], axis=1).mean() for a, b in pairs]
    if min(lengths) < least:
        first, second = (_joint_name(bone) for bone in pairs[int(np.argmin(lengths))])
        raise UserError(f"{file}: {first} and {second} are at one place; expected a distance between them")
    return sum(lengths[:4]) / 2


def _joint_name(bone: str) -> str:
    """Such as "left knee", where the left shin starts."""
    name, side = bone.rsplit("_", 1)
    return f"{side} {JOINTS[name][0]}"


def _mid(positions: np.ndarray, joints: dict[str, int], bone: str) -> np.ndarray:
    return (positions[..., joints[f"{bone}_left"], :] + positions[..., joints[f"{bone}_right"], :]) / 2


def _snap(direction: np.ndarray) -> np.ndarray:
    """A direction within 12 degrees of an axis becomes that axis."""
    # Rest poses are modeled along the axes, but hips or shoulders may be slightly higher on one side.
    axis = np.zeros(3)
    axis[np.abs(direction).argmax()] = np.sign(direction[np.abs(direction).argmax()])
    return axis if axis @ direction > np.cos(np.deg2rad(12)) else direction


def _uprightness(positions: np.ndarray, joints: dict[str, int]) -> np.ndarray:
    """How straight a figure stands (T,), at most 1: shins, thighs and trunk in line, and orthogonal to the hips."""
    trunk = unit(_mid(positions, joints, "upper_arm") - _mid(positions, joints, "thigh"))
    across = unit(positions[:, joints["thigh_left"]] - positions[:, joints["thigh_right"]])
    worst = 1 - np.abs((trunk * across).sum(1))
    for side in SIDES:
        hip, knee, ankle = (positions[:, joints[f"{bone}_{side}"]] for bone in ("thigh", "shin", "foot"))
        for upper, lower in ((trunk, hip - knee), (unit(hip - knee), knee - ankle)):
            worst = np.minimum(worst, (upper * unit(lower)).sum(1))
    return worst


def _knee_bend(positions: np.ndarray, joints: dict[str, int]) -> float:
    """Mean sine of the angle by which shins point back from thighs; negative if they point forward."""
    left = unit(positions[:, joints["thigh_left"]] - positions[:, joints["thigh_right"]])
    bends = []
    for side in SIDES:
        hip, knee, ankle = (positions[:, joints[f"{bone}_{side}"]] for bone in ("thigh", "shin", "foot"))
        bends.append((np.cross(unit(knee - hip), unit(ankle - knee)) * left).sum(1).mean())
    return sum(bends) / len(bends)


def _upward_axis(positions: np.ndarray, joints: dict[str, int], reference: _Reference, file: str) -> np.ndarray:
    """The axis (3,) of the file, or its opposite, that points up.

    A rest pose that stands shows it. Where the motion shows another, it is followed if people stand along it on a floor
    that is nearer to 0, and a line says so: some converters turn the axes in the motion alone.
    """
    direction = unit(_mid(positions, joints, "upper_arm") - _mid(positions, joints, "foot"))
    mean = direction.mean(0)
    second, first = np.sort(np.abs(mean))[1:]
    assumed, shown = _nearest_axis(reference.frame[:, 2]), _nearest_axis(mean)
    # Shoulders of people who tumble are above their feet along no axis.
    if first <= 1.3 * second or (shown == assumed).all():
        return assumed
    if not reference.is_rest:
        return shown
    # People who crawl, lie or hold a plank have their shoulders before their feet all the time. Crawling legs are bent,
    # and who lies in one direction has feet that are lowest in it, but not where the floor of files is.
    stands = (_uprightness(positions, joints) > _UPRIGHT) & (direction @ shown > _UPRIGHT)
    shown_floor, assumed_floor = (abs(np.percentile((positions @ axis).min(1), 5)) for axis in (shown, assumed))
    followed = shown if stands.any() and shown_floor < assumed_floor else assumed
    print(f"{file}: the rest pose stands along {_axis_name(assumed)}, shoulders are above feet along "
          f"{_axis_name(shown)}; {_axis_name(followed)} is taken for up", file=sys.stderr)  # fmt: skip
    return followed


def _nearest_axis(direction: np.ndarray) -> np.ndarray:
    axis = int(np.abs(direction).argmax())
    return np.sign(direction[axis]) * np.eye(3)[axis]


def _axis_name(axis: np.ndarray) -> str:
    return ("-" if axis.sum() < 0 else "") + "xyz"[int(np.abs(axis).argmax())]


def _z_up(up: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) from the file's axes to a world with z up."""
    forward = np.eye(3)[(int(np.abs(up).argmax()) + 1) % 3]
    return np.stack([forward, np.cross(up, forward), up])


def _ball(side: str, joints, rotations, positions, reference: _Reference) -> np.ndarray:
    """Position (T, 3) of the ball of a foot, leg lengths: of its toes, or fixed to a foot without toes."""
    if f"toes_{side}" in joints:
        return positions[:, joints[f"toes_{side}"]]
    foot = joints[f"foot_{side}"]
    return positions[:, foot] + transform(rotations[:, foot] @ reference.neutral(foot), _BALL)


def _side(side: str, joints, rotations, positions, ball: np.ndarray, trunk, reference: _Reference) -> Side:
    at = {bone: positions[:, joints[f"{bone}_{side}"]] for bone in JOINTS}
    own = {bone: rotations[:, joints[f"{bone}_{side}"]] for bone in JOINTS}
    thigh, shin = unit(at["shin"] - at["thigh"]), unit(at["foot"] - at["shin"])
    upper_arm, forearm = unit(at["forearm"] - at["upper_arm"]), unit(at["hand"] - at["forearm"])
    pelvis, chest = trunk["pelvis"], trunk["chest"]
    # The usual direction of an elbow: back, outward and down.
    elbow_back = transform(chest, [-1, 0.3 if side == "left" else -0.3, -0.6])
    planted, sole = _contact(ball)
    foot = own["foot"] @ _foot_neutral(side, own["foot"], ball - at["foot"], planted, reference)
    return Side(
        thigh, shin, _hinge(own["thigh"], thigh, shin, pelvis[:, :, 1]), foot,
        upper_arm, forearm, _hinge(own["upper_arm"], upper_arm, forearm, np.cross(elbow_back, upper_arm)),
        own["hand"] @ _hand_neutral(side, joints, reference), planted, sole,
    )  # fmt: skip


def _hinge(rotation: np.ndarray, upper: np.ndarray, lower: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """Axis (T, 3) about which the lower bone is bent against the upper one, in the world.

    A bent joint shows its axis. A straight one takes the axis that it bends about at other times, fixed to the upper
    bone, whose rotation is `rotation`. likely: (T, 3) the axis of a joint that is never bent.
    """
    # In the axes of the upper bone. The cross product is as long as the sine of the bend.
    shown = transform(rotation.swapaxes(1, 2), np.cross(upper, lower))
    likely = transform(rotation.swapaxes(1, 2), unit(likely - upper * (likely * upper).sum(1, keepdims=True)))
    usual = unit((np.linalg.norm(shown, axis=1, keepdims=True) * shown).mean(0) + 0.003 * unit(likely.mean(0)))
    bend = np.linalg.norm(shown, axis=1)
    # Full trust from a bend of 0.2 on, none below 0.05, nor if the joint seems to bend the wrong way.
    trust = np.clip((bend - 0.05) / 0.15, 0, 1) * ((shown * usual).sum(1) > 0)
    axis = (
        gaussian_smooth(unit(shown) * trust[:, None], 0.05 * RATE)
        + (1 - gaussian_smooth(trust, 0.05 * RATE))[:, None] * usual
    )
    return unit(transform(rotation, axis))


def _plausible_head(head: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) of the head in the chest, about straight ahead if their mean is impossible for a neck."""
    # The mean rotation is the one closest to the mean of the matrices (orthogonal Procrustes).
    u, _, v = np.linalg.svd(head.mean(0))
    mean = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    return mean.T @ head if (np.trace(mean) - 1) / 2 < np.cos(_MAX_NECK) else head


def _contact(ball: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the ball of a foot (T, 3) is planted (T,), and its height above where it is when planted (T,)."""
    smooth = gaussian_smooth(ball, 0.03 * RATE)
    speed = np.linalg.norm(np.gradient(smooth, axis=0), axis=1) * RATE if len(ball) > 1 else np.zeros(1)
    slow = speed < _SLOW
    low = ball[:, 2] < _LOW
    planted = slow & low
    ground = np.median(ball[planted, 2]) if planted.any() else 0.0
    return planted, ball[:, 2] - ground


def _foot_neutral(side: str, rotation: np.ndarray, along: np.ndarray, planted: np.ndarray, reference: _Reference):
    """The foot's forward, left and up in the axes of its joint, as columns (3, 3)."""
    # Rest poses often have feet that point down. A planted foot is flat, and so shows its own up.
    joint = reference.joints[f"foot_{side}"]
    neutral = reference.neutral(joint)
    up = rotation[planted, 2].mean(0) if planted.any() else neutral[:, 2]
    up = unit(up)
    forward = transform(rotation.swapaxes(1, 2), along).mean(0)
    forward = forward if np.linalg.norm(forward) > 0.02 else neutral[:, 0]
    forward = unit(forward - up * (forward @ up))
    return np.stack([forward, np.cross(up, forward), up], axis=1)


def _hand_neutral(side: str, joints: dict[str, int], reference: _Reference) -> np.ndarray:
    """The hand's neutral axes in those of its joint, as columns (3, 3)."""
    # Assumes that the reference holds the hand like an arm raised from hanging without a twist: palms down in a T-pose.
    down = -reference.frame[:, 2]
    forearm = unit(reference.point(f"hand_{side}") - reference.point(f"forearm_{side}"))
    axis = np.cross(down, forearm)
    sine, cosine = np.linalg.norm(axis), down @ forearm
    axis = axis / sine if sine > 1e-3 else reference.frame[:, 1]
    swing = to_matrix(axis * np.arctan2(sine, cosine))
    return reference.rotations[joints[f"hand_{side}"]].T @ swing @ reference.frame


def _rotate(matrix: np.ndarray, side: Side) -> Side:
    rotated = (matrix @ value if value.ndim == 3 else transform(matrix, value) for value in side[:8])
    return Side(*rotated, side.planted, side.sole)
