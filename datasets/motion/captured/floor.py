"""Keeps the feet of a body on the floor while its legs point where captured legs point.

Legs of other proportions that copied directions only would slide and float. So planted feet are moved back to one place
at the height of the floor, the hips follow the mean of these moves, and knees and thighs are solved for the rest.
"""

from typing import NamedTuple

import numpy as np

from datasets.motion.captured.capture import RATE, Capture
from datasets.motion.footsteps import SIDES
from datasets.motion.posing import MAX_TOES, Limbs, limb_frame, running_max, soft_limit
from datasets.people.body import BONE_INDEX, Body
from datasets.people.kinematics import (
    gaussian_smooth,
    rotation_y,
    to_matrix,
    to_rotation_vector,
    transform,
    two_bone_ik,
    unit,
)

_NEAR = 0.07  # leg lengths: the lower foot of the capture counts as on the floor below this height
_HIGH = 0.25  # leg lengths above `_NEAR` over which corrections of a foot fade out
_DRIFT = 0.06  # meters: a foot that moves farther is not planted in one place
_SHORTEST = 3  # frames for which a foot must stay to count as planted
_MAX_ANKLE = np.deg2rad([60, 75, 60])  # about the foot's forward, left and up
# Captured knees fold further than procedural ones (posing.MAX_KNEE): people kneel and sit on their heels.
_LEAST_KNEE, _MAX_KNEE = 0.06, np.deg2rad(160)
_MAX_DEVIATION = np.deg2rad(70)  # of a thigh from its captured rotation


class _Leg(NamedTuple):
    """One leg over T frames that points as the captured one, in the world.

    pole: (T, 3) direction in which the knee points. thigh, foot: rotations (T, 3, 3). knee, toes: bends (T,).
    ankle: (T, 3) meters. lowest: (T,) height of the sole's lowest point above the ankle, meters.
    """

    pole: np.ndarray
    thigh: np.ndarray
    knee: np.ndarray
    foot: np.ndarray
    toes: np.ndarray
    ankle: np.ndarray
    lowest: np.ndarray


def plant_feet(capture: Capture, body: Body, limbs: Limbs) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Path of the hips (T, 3), meters, and rotations (T, 3, 3) of the bones of both legs relative to their parents."""
    hips = capture.hips * limbs.leg
    legs = {side: _by_direction(capture, body, limbs, side, hips) for side in SIDES}
    planted = {side: _steady(capture.sides[side].planted, _ball(legs[side], limbs, side)) for side in SIDES}
    shift = {side: _corrections(capture, legs, planted, limbs, side) for side in SIDES}
    # The hips take the mean of both feet's corrections, smoothed: the legs then change as little as possible.
    carried = gaussian_smooth((shift["left"] + shift["right"]) / 2, 0.15 * RATE)
    hips = hips + carried
    ankles = {}
    for side in SIDES:
        # Only feet near the floor are corrected; feet high in the air move with the hips.
        low = np.clip(1 - (capture.sides[side].sole - _NEAR) / _HIGH, 0, 1)[:, None]
        ankles[side] = legs[side].ankle + carried + low * (shift[side] - carried)
        ankles[side][:, 2] = np.maximum(ankles[side][:, 2], -legs[side].lowest)
    hips[:, 2] -= _out_of_reach(capture.pelvis, hips, ankles, limbs)
    # What the solution leaves above the floor, the hips make up for.
    _, above = _solve(capture.pelvis, hips, ankles, legs, limbs)
    hips[:, 2] -= gaussian_smooth(above, 0.04 * RATE)
    return hips, _solve(capture.pelvis, hips, ankles, legs, limbs)[0]


def _by_direction(capture: Capture, body: Body, limbs: Limbs, side: str, hips: np.ndarray) -> _Leg:
    """The leg whose bones point as the captured ones."""
    captured = capture.sides[side]
    hip = hips + transform(capture.pelvis, limbs.offset[f"thigh_{side}"])
    ankle = hip + limbs.thigh * captured.thigh + limbs.shin * captured.shin
    left = unit(captured.knee - captured.thigh * (captured.knee * captured.thigh).sum(1, keepdims=True))
    pole = np.cross(left, -captured.thigh)
    thigh = limb_frame(captured.thigh, pole)
    bend = np.arctan2((np.cross(captured.thigh, captured.shin) * left).sum(1), (captured.thigh * captured.shin).sum(1))
    shin = thigh @ rotation_y(bend)
    foot = shin @ to_matrix(soft_limit(to_rotation_vector(shin.swapaxes(1, 2) @ captured.foot), _MAX_ANKLE))
    # Toes are not captured. They stay flat under a raised heel, and bend only a little in the air.
    pitch = np.arcsin(np.clip(-foot[:, 2, 0], -1, 1))
    near = 1 - 0.7 * np.clip((captured.sole - 0.02) / 0.1, 0, 1)
    toes = np.clip(pitch, 0, MAX_TOES) * near
    return _Leg(pole, thigh, bend, foot, toes, ankle, _lowest(body, side, foot, toes))


def _lowest(body: Body, side: str, foot: np.ndarray, toes: np.ndarray) -> np.ndarray:
    """Height (T,) of the sole's lowest point above the ankle; negative, as it is below."""
    ankle, ball = (body.neutral_pivots[BONE_INDEX[f"{name}_{side}"]] for name in ("foot", "toes"))
    heel = transform(foot[:, None], _outline(body, f"foot_{side}") - ankle)[..., 2]
    front = transform((foot @ rotation_y(-toes))[:, None], _outline(body, f"toes_{side}") - ball)[..., 2]
    front += transform(foot, ball - ankle)[:, None, 2]
    return np.minimum(heel.min(1), front.min(1))


def _outline(body: Body, bone: str) -> np.ndarray:
    """The points of a bone's mesh, neutral stance, that can be its lowest: those furthest in downward directions."""
    points = body.neutral_vertices[body.vertex_bone == BONE_INDEX[bone]]
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    outward = [np.stack([np.cos(angle), np.sin(angle), np.full(16, down)], axis=1) for down in (-3, -1, -0.3)]
    return points[np.unique((np.concatenate(outward) @ points.T).argmax(1))].astype(np.float64)


def _ball(leg: _Leg, limbs: Limbs, side: str) -> np.ndarray:
    return leg.ankle + transform(leg.foot, limbs.ball * [1, 1 if side == "left" else -1, 1])


def _steady(planted: np.ndarray, ball: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames and mean place (2,) of every stretch of time during which the ball of a foot (T, 3) stays in place."""
    frames = np.flatnonzero(planted)
    stretches, start = [], 0
    for end in range(1, len(frames) + 1):
        so_far = ball[frames[start : end + 1], :2]
        split = end == len(frames) or frames[end] > frames[end - 1] + 1 or np.ptp(so_far, axis=0).max() > _DRIFT
        if split:
            if end - start >= _SHORTEST:
                stretches.append((frames[start:end], ball[frames[start:end], :2].mean(0)))
            start = end
    return stretches


def _corrections(capture: Capture, legs: dict[str, _Leg], planted, limbs: Limbs, side: str) -> np.ndarray:
    """Moves (T, 3) that keep a foot in place where it is planted, at the height of the floor; interpolated between."""
    times = np.arange(len(capture.hips))
    moved = np.zeros((len(times), 3))
    leg, ball = legs[side], _ball(legs[side], limbs, side)
    if planted[side]:
        frames = np.concatenate([stretch for stretch, _ in planted[side]])
        wanted = np.concatenate([np.broadcast_to(place, (len(stretch), 2)) for stretch, place in planted[side]])
        for axis in range(2):
            moved[:, axis] = np.interp(times, frames, (wanted - ball[frames, :2])[:, axis])
    low = {name: capture.sides[name].sole for name in SIDES}
    other = SIDES[1 - SIDES.index(side)]
    down = (low[side] < _NEAR) & (low[side] <= low[other])
    for stretch, _ in planted[side]:
        down[stretch] = True
    gap = -(leg.ankle[:, 2] + leg.lowest)
    if down.any():
        moved[:, 2] = gaussian_smooth(np.interp(times, np.flatnonzero(down), gap[down]), 0.04 * RATE)
    return moved


def _out_of_reach(pelvis: np.ndarray, hips: np.ndarray, ankles: dict[str, np.ndarray], limbs: Limbs) -> np.ndarray:
    """How far (T,) the hips must be lowered for both legs to reach their feet, smoothed."""
    lower = np.zeros(len(hips))
    for side in SIDES:
        hip = hips + transform(pelvis, limbs.offset[f"thigh_{side}"])
        flat = np.linalg.norm((ankles[side] - hip)[:, :2], axis=1)
        highest = ankles[side][:, 2] + np.sqrt(np.maximum((0.998 * limbs.leg) ** 2 - flat**2, 0))
        lower = np.maximum(lower, np.where(flat < 0.9 * limbs.leg, hip[:, 2] - highest, 0))
    radius = max(1, round(0.1 * RATE))
    return gaussian_smooth(running_max(lower, radius), 0.6 * radius)


def _solve(pelvis, hips, ankles: dict[str, np.ndarray], legs: dict[str, _Leg], limbs: Limbs):
    """Rotations (T, 3, 3) of the legs' bones that bring the feet to the ankles.

    Also how far (T,) the lower foot is then above where it should be, because folded legs do not follow.
    """
    bones, wanted, reached = {}, [], []
    for side in SIDES:
        leg, hip = legs[side], hips + transform(pelvis, limbs.offset[f"thigh_{side}"])
        along, out, bend = two_bone_ik(hip, ankles[side], leg.pole, limbs.thigh, limbs.shin, _LEAST_KNEE)
        # The ankle of a folded leg is close to its hip: to move it by 10 cm, the thigh may have to rotate by more than
        # 90 degrees. Such a leg keeps its captured direction instead.
        change = to_rotation_vector(leg.thigh.swapaxes(1, 2) @ limb_frame(along, out))
        trust = np.clip(2 - 2 * np.linalg.norm(change, axis=1) / _MAX_DEVIATION, 0, 1)
        thigh = leg.thigh @ to_matrix(trust[:, None] * change)
        knee = rotation_y(np.clip(leg.knee + trust * (bend - leg.knee), _LEAST_KNEE, _MAX_KNEE))
        shin = thigh @ knee
        bones[f"thigh_{side}"] = pelvis.swapaxes(1, 2) @ thigh
        bones[f"shin_{side}"] = knee
        bones[f"foot_{side}"] = shin.swapaxes(1, 2) @ leg.foot
        bones[f"toes_{side}"] = rotation_y(-leg.toes)
        wanted.append(ankles[side][:, 2] + leg.lowest)
        reached.append((hip - limbs.thigh * thigh[:, :, 2] - limbs.shin * shin[:, :, 2])[:, 2] + leg.lowest)
    return bones, np.minimum(*reached) - np.minimum(*wanted)
