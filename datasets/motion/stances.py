"""Draws parts of poses within joint limits: legs with the tilt of the pelvis, trunk and head, an arm.

Rotations are relative to the parent's, from the neutral stance of datasets/people/body.py. Limbs are left ones, whose
side is +y. Distributions are mixtures of what people do with a limb, wide around each.
"""

import numpy as np

from datasets.motion.posing import (
    HEAD_SHARES,
    MAX_HEAD,
    MAX_KNEE,
    MAX_TRUNK,
    MIRROR,
    SPINE_SHARES,
    Limbs,
    arm_rotations,
    hang,
    limb_frame,
    reach,
    soft_limit,
)
from datasets.people.body import BONE_INDEX, BONE_NAMES
from datasets.people.kinematics import rotation_x, rotation_y, rotation_z, transform, two_bone_ik, unit

# How a drawn body carries itself, with its share of all poses.
STANCES = {
    "stand": 0.31,
    "stride": 0.27,
    "squat": 0.10,
    "one_leg": 0.18,
    "air": 0.03,
    "sit": 0.04,
    "kneel": 0.035,
    "floor": 0.035,
}
_DEGREE = np.pi / 180


class Stances:
    """Draws legs and pelvis of one body."""

    def __init__(self, limbs: Limbs, rng: np.random.Generator):
        self.limbs, self.rng = limbs, rng

    def draw(self, count: int) -> np.ndarray:
        """Rotations (count,B,3,3), identity but for pelvis and legs. The body faces x; the root is tilted."""
        rotations = np.tile(np.eye(3), (count, len(BONE_NAMES), 1, 1))
        kinds = self.rng.choice(len(STANCES), size=count, p=list(STANCES.values()))
        for index, name in enumerate(STANCES):
            rows = np.flatnonzero(kinds == index)
            if len(rows):
                pelvis, left, right = getattr(self, f"_{name}")(len(rows))
                # Either side may lead.
                swap = self.rng.random(len(rows)) < 0.5
                pelvis[swap] *= MIRROR
                left, right = (np.where(swap[:, None, None, None], a, b) for a, b in ((right, left), (left, right)))
                rotations[rows, 0] = pelvis
                rotations[np.ix_(rows, _LEG_BONES["left"])] = left
                rotations[np.ix_(rows, _LEG_BONES["right"])] = right * MIRROR
        return rotations

    # Each kind returns the pelvis (N,3,3) and the legs of both sides (N,4,3,3), each as a left one.

    def _stand(self, count: int):
        pelvis = self._tilt(count, pitch=(4, 9), roll=6, yaw=8)
        height = self._between(0.82, 0.995, count)
        return pelvis, *self._planted(pelvis, height, forward=0.12, apart=0.12)

    def _stride(self, count: int):
        """Steps, lunges and wide stances."""
        pelvis = self._tilt(count, pitch=(8, 14), roll=8, yaw=15)
        height = self._between(0.6, 0.97, count)
        return pelvis, *self._planted(pelvis, height, forward=0.38, apart=0.22)

    def _squat(self, count: int):
        pelvis = self._tilt(count, pitch=(15, 16), roll=6, yaw=8)
        return pelvis, *self._planted(pelvis, self._between(0.2, 0.8, count), forward=0.14, apart=0.18)

    def _one_leg(self, count: int):
        """One leg carries, the other is anywhere: kicks, balances, raised knees."""
        pelvis = self._tilt(count, pitch=(8, 22), roll=16, yaw=14)
        carrying, _ = self._planted(pelvis, self._between(0.8, 0.995, count), forward=0.10, apart=0.05)
        return pelvis, carrying, self._free_leg(count)

    def _air(self, count: int):
        pelvis = self._tilt(count, pitch=(5, 18), roll=10, yaw=14)
        return pelvis, self._free_leg(count), self._free_leg(count)

    def _sit(self, count: int):
        """On a seat, or on the floor with legs in front."""
        pelvis = self._tilt(count, pitch=(-12, 12), roll=5, yaw=5)
        return pelvis, *(
            self._leg(count, flexion=(85, 14), out=(10, 13), twist=(0, 12), knee=(70, 38), ankle=(5, 12))
            for _ in range(2)
        )

    def _kneel(self, count: int):
        """On both knees, upright or down on the heels, or on one knee with the other foot in front."""
        pelvis = self._tilt(count, pitch=(6, 16), roll=6, yaw=8)
        down = self._between(0, 70, count)
        kneeling = dict(out=(8, 7), twist=(0, 8), ankle=(35, 12))
        first = self._leg(count, flexion=(down, 6), knee=(85 + 0.9 * down, 8), **kneeling)
        second = self._leg(count, flexion=(down, 8), knee=(85 + 0.9 * down, 8), **kneeling)
        front = self._leg(count, flexion=(85, 15), out=(10, 10), twist=(0, 8), knee=(90, 16), ankle=(0, 8))
        return pelvis, first, np.where(self.rng.random((count, 1, 1, 1)) < 0.5, front, second)

    def _floor(self, count: int):
        """Lying on back, belly or a side; on all fours."""
        kind = self.rng.integers(4, size=count)
        pitch = np.choose(kind, [-85, 88, 0, 75]) + self.rng.normal(0, 9, count)
        roll = np.where(kind == 2, 85, 0) + self.rng.normal(0, 9, count)
        pelvis = rotation_y(pitch * _DEGREE) @ rotation_x(roll * _DEGREE)
        # On all fours thighs and knees are bent by a right angle, or nearly straight as in a plank.
        bent = np.where(kind == 3, self.rng.choice([85, 20], count), self.rng.choice([0, 45], count))
        legs = [
            self._leg(count, flexion=(bent, 14), out=(7, 9), twist=(0, 10), knee=(1.0 * bent + 8, 20), ankle=(25, 15))
            for _ in range(2)
        ]
        return pelvis, *legs

    # ---- building blocks

    def _between(self, low: float, high: float, count: int) -> np.ndarray:
        return self.rng.uniform(low, high, count)

    def _tilt(self, count: int, pitch: tuple[float, float], roll: float, yaw: float) -> np.ndarray:
        """Rotations of the pelvis, degrees: pitch forward (mean, deviation); roll and yaw (deviation)."""
        x, y, z = self.rng.normal(size=(3, count)) * _DEGREE
        return rotation_z(yaw * z) @ rotation_y(pitch[0] * _DEGREE + pitch[1] * y) @ rotation_x(roll * x)

    def _free_leg(self, count: int) -> np.ndarray:
        """A leg that carries nothing: forward, backward or to the side, bent or straight."""
        flexion = np.where(self.rng.random(count) < 0.72, self._between(-5, 100, count), self._between(-35, 10, count))
        knee = np.where(self.rng.random(count) < 0.35, self._between(3, 25, count), self._between(10, 125, count))
        return self._leg(count, (flexion, 4), (8, 14), (2, 14), (knee, 4), (20, 15))

    def _leg(self, count: int, flexion, out, twist, knee, ankle) -> np.ndarray:
        """Rotations (N,4,3,3) of thigh, shin, foot, toes; degrees (mean, deviation), within the limits of joints."""
        draw = lambda of: of[0] + of[1] * self.rng.normal(size=count)  # noqa: E731
        swing = np.clip(draw(flexion), -35, 125) * _DEGREE
        aside, axial = np.clip(draw(out), -18, 60) * _DEGREE, np.clip(draw(twist), -35, 40) * _DEGREE
        bend = np.clip(draw(knee) * _DEGREE, 0.05, MAX_KNEE)
        thigh = rotation_x(aside) @ rotation_y(-swing) @ rotation_z(axial)
        foot = rotation_y(np.clip(draw(ankle), -25, 50) * _DEGREE)
        return np.stack([thigh, rotation_y(bend), foot, np.tile(np.eye(3), (count, 1, 1))], axis=1)

    def _planted(self, pelvis: np.ndarray, height: np.ndarray, forward: float, apart: float) -> list[np.ndarray]:
        """Both legs of a body whose feet stand on the floor, as left ones.

        height: (N,) of the hips above the ankles, leg lengths. forward: deviation of each foot's place, leg lengths.
        apart: the same to the side, from below the hip outward.
        """
        return [self._planted_leg(pelvis, height, forward, apart, side) for side in ("left", "right")]

    def _planted_leg(self, pelvis, height, forward: float, apart: float, side: str) -> np.ndarray:
        limbs, count = self.limbs, len(pelvis)
        if side == "right":
            pelvis = pelvis * MIRROR
        hip = transform(pelvis, limbs.offset["thigh_left"])
        x = self.rng.normal(0, forward, count) * limbs.leg
        y = limbs.hip_width + (np.abs(self.rng.normal(0, apart, count)) - 0.05) * limbs.leg
        x, y = x + hip[:, 0], np.maximum(y, 0.3 * limbs.hip_width)
        # A leg that would be too long for its place bends or stretches as far as it can.
        ankle = np.stack([x, y, -height * limbs.leg], axis=1)
        yaw = self.rng.normal(0.2, 0.22, count)
        forward_direction = unit(pelvis[:, :, 0] * [1, 1, 0]) + transform(rotation_z(yaw), np.array([1.0, 0, 0]))
        pole = transform(rotation_z(self.rng.normal(0.1, 0.2, count)), unit(forward_direction))
        along, out, knee = two_bone_ik(hip, ankle, pole, limbs.thigh, limbs.shin, 0.06)
        thigh = limb_frame(along, out)
        knee = np.clip(knee, 0, MAX_KNEE)
        shin = thigh @ rotation_y(knee)
        # The sole stays flat until the ankle is at its limit; then the heel rises.
        lean = np.arctan2(-shin[:, 2, 0], shin[:, 2, 2])
        rise = np.maximum(lean - 32 * _DEGREE, 0) + np.maximum(self.rng.normal(-0.1, 0.2, count), 0)
        foot = rotation_z(yaw) @ rotation_y(rise)
        toes = rotation_y(-np.clip(rise, 0, 1.0))
        return np.stack([pelvis.swapaxes(1, 2) @ thigh, rotation_y(knee), shin.swapaxes(1, 2) @ foot, toes], axis=1)


_LEG_BONES = {
    side: [BONE_INDEX[f"{name}_{side}"] for name in ("thigh", "shin", "foot", "toes")] for side in ("left", "right")
}


def drawn_trunk(count: int, rng: np.random.Generator) -> np.ndarray:
    """Rotations (count,6,3,3) of four bones of the spine, neck and head."""
    wide = np.where(rng.random((count, 1)) < 0.3, 2.2, 1.0)
    trunk = ([0, 12, 0] + wide * rng.normal(size=(count, 3)) * [7, 11, 10]) * _DEGREE
    head = ([0, 2, 0] + rng.normal(size=(count, 3)) * [7, 13, 22]) * _DEGREE
    bones = []
    for angles, limit, shares in ((trunk, MAX_TRUNK, SPINE_SHARES), (head, MAX_HEAD, HEAD_SHARES)):
        side, forward, yaw = soft_limit(angles, limit).T
        bones += [
            rotation_z(share * yaw) @ rotation_y(share * forward) @ rotation_x(share * side)
            for share in shares.values()
        ]
    return np.stack(bones, axis=1)


def drawn_arm(limbs: Limbs, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rotations (count,5,3,3) of a left arm: clavicle, upper arm, both halves of the forearm, hand."""
    length = limbs.upper_arm + limbs.forearm
    # Hands are in front of the body more often than behind it, and seldom high above the head.
    yaw = rng.uniform(-50, 130, count) * _DEGREE  # 0 forward, 90 outward
    up = np.arcsin(np.clip(rng.normal(-0.15, 0.55, count), -0.98, 0.98))
    direction = np.stack([np.cos(up) * np.cos(yaw), np.cos(up) * np.sin(yaw), np.sin(up)], axis=1)
    span = np.where(rng.random(count) < 0.3, rng.uniform(0.93, 1.0, count), rng.uniform(0.3, 0.97, count))
    target = limbs.shoulder + direction * (span * length)[:, None]
    # A hand behind the back stays low.
    behind = np.maximum(-target[:, 0] - 0.1, 0)
    target[:, 2] -= 0.8 * behind
    reached = reach(
        limbs, target, rng.normal(0.15, 0.5, count), rng.uniform(-0.6, 1.3, count), rng.normal(0, 0.25, count)
    )
    hanging = hang(*_hanging_arms(count, rng).T)
    state = np.where(rng.random((count, 1)) < 0.25, hanging, reached)
    return np.stack(list(arm_rotations(state, np.zeros(count)).values()), axis=1)


def _hanging_arms(count: int, rng: np.random.Generator) -> np.ndarray:
    """Arguments (count,5) of `hang`: out, forward, elbow, twist, pronation."""
    low, high = np.array([[0.08, -0.5, 0.08, -0.2, 0.0], [0.6, 0.6, 0.8, 0.5, 0.9]])
    return rng.uniform(low, high, (count, 5))
