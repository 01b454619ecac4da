"""Keeps the feet of a body on the floor while its legs point where captured legs point."""

from typing import NamedTuple

import numpy as np

from datasets.motion.captured.capture import RATE, Capture
from datasets.motion.footsteps import SIDES
from datasets.motion.posing import Limbs, limb_frame, running_max, soft_limit
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

_NEAR = 0.07  # a foot this low in the capture (leg lengths) is taken to be on the floor, if it is the lower one
_HIGH = 0.25  # leg lengths over which a foot leaves the floor behind
_DRIFT = 0.06  # a foot that leaves its place by more than this (meters) is not planted there
_SHORTEST = 3  # frames for which a foot must stay to be planted
_MAX_TOES = np.deg2rad(62)
_MAX_ANKLE = np.deg2rad([60, 75, 60])  # about the foot's forward, left and up
_LEAST_KNEE, _MAX_KNEE = 0.06, np.deg2rad(160)
_MAX_TURN = np.deg2rad(70)  # by which a leg may leave its captured direction


class _Leg(NamedTuple):
    """One leg over T frames as the captured one points, world: direction in which the knee is pushed, rotation of the
    thigh, bend of the knee, rotation of the foot, bend of the toes, ankle, and the sole's lowest point from there."""

    pole: np.ndarray
    thigh: np.ndarray
    knee: np.ndarray
    foot: np.ndarray
    toes: np.ndarray
    ankle: np.ndarray
    lowest: np.ndarray


def plant_feet(piece: Capture, body: Body, limbs: Limbs) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Path of the hips (T, 3), meters, and rotations (T, 3, 3) of the bones of both legs relative to their parents."""
    hips = piece.hips * limbs.leg
    legs = {side: _by_direction(piece, body, limbs, side, hips) for side in SIDES}
    planted = {side: _steady(piece.sides[side].planted, _ball(legs[side], limbs, side)) for side in SIDES}
    shift = {side: _corrections(piece, legs, planted, limbs, side) for side in SIDES}
    carried = gaussian_smooth((shift["left"] + shift["right"]) / 2, 0.15 * RATE)
    hips = hips + carried
    ankles = {}
    for side in SIDES:
        low = np.clip(1 - (piece.sides[side].sole - _NEAR) / _HIGH, 0, 1)[:, None]  # only feet near the floor are moved
        ankles[side] = legs[side].ankle + carried + low * (shift[side] - carried)
        ankles[side][:, 2] = np.maximum(ankles[side][:, 2], -legs[side].lowest)
    hips[:, 2] -= _out_of_reach(piece.pelvis, hips, ankles, limbs)
    _, above = _solve(piece.pelvis, hips, ankles, legs, limbs)
    hips[:, 2] -= gaussian_smooth(above, 0.04 * RATE)
    return hips, _solve(piece.pelvis, hips, ankles, legs, limbs)[0]


def _by_direction(piece: Capture, body: Body, limbs: Limbs, side: str, hips: np.ndarray) -> _Leg:
    captured = piece.sides[side]
    hip = hips + transform(piece.pelvis, limbs.offset[f"thigh_{side}"])
    ankle = hip + limbs.thigh * captured.thigh + limbs.shin * captured.shin
    left = unit(captured.knee - captured.thigh * (captured.knee * captured.thigh).sum(1, keepdims=True))
    pole = np.cross(left, -captured.thigh)
    thigh = limb_frame(captured.thigh, pole)
    bend = np.arctan2((np.cross(captured.thigh, captured.shin) * left).sum(1), (captured.thigh * captured.shin).sum(1))
    shin = thigh @ rotation_y(bend)
    foot = shin @ to_matrix(soft_limit(to_rotation_vector(shin.swapaxes(1, 2) @ captured.foot), _MAX_ANKLE))
    pitch = np.arcsin(np.clip(-foot[:, 2, 0], -1, 1))  # heel up
    near = 1 - 0.7 * np.clip((captured.sole - 0.02) / 0.1, 0, 1)
    toes = np.clip(pitch, 0, _MAX_TOES) * near
    return _Leg(pole, thigh, bend, foot, toes, ankle, _lowest(body, side, foot, toes))


def _lowest(body: Body, side: str, foot: np.ndarray, toes: np.ndarray) -> np.ndarray:
    """(T,) height of the lowest point of the sole above the ankle (negative when it is below)."""
    ankle, ball = (body.neutral_pivots[BONE_INDEX[f"{name}_{side}"]] for name in ("foot", "toes"))
    heel = transform(foot[:, None], _outline(body, f"foot_{side}") - ankle)[..., 2]
    turn = foot @ rotation_y(-toes)
    front = transform(turn[:, None], _outline(body, f"toes_{side}") - ball)[..., 2]
    front += transform(foot, ball - ankle)[:, None, 2]
    return np.minimum(heel.min(1), front.min(1))


def _outline(body: Body, bone: str) -> np.ndarray:
    """Points of a bone's mesh that lie furthest out in downward directions, neutral stance."""
    points = body.neutral_vertices[body.vertex_bone == BONE_INDEX[bone]]
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    outward = [np.stack([np.cos(angle), np.sin(angle), np.full(16, down)], axis=1) for down in (-3, -1, -0.3)]
    return points[np.unique((np.concatenate(outward) @ points.T).argmax(1))].astype(np.float64)


def _ball(leg: _Leg, limbs: Limbs, side: str) -> np.ndarray:
    return leg.ankle + transform(leg.foot, limbs.ball * [1, 1 if side == "left" else -1, 1])


def _steady(planted: np.ndarray, ball: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames and place (2,) of every stretch during which the ball of a foot (T, 3) stays where it is."""
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


def _corrections(piece: Capture, legs: dict[str, _Leg], planted, limbs: Limbs, side: str) -> np.ndarray:
    """(T, 3) how a foot must be moved to stay where it is planted, at the height of the floor; eased in between."""
    times = np.arange(len(piece.hips))
    moved = np.zeros((len(times), 3))
    leg, ball = legs[side], _ball(legs[side], limbs, side)
    if planted[side]:
        frames = np.concatenate([stretch for stretch, _ in planted[side]])
        wanted = np.concatenate([np.broadcast_to(place, (len(stretch), 2)) for stretch, place in planted[side]])
        for axis in range(2):
            moved[:, axis] = np.interp(times, frames, (wanted - ball[frames, :2])[:, axis])
    low = {name: piece.sides[name].sole for name in SIDES}
    other = SIDES[1 - SIDES.index(side)]
    down = (low[side] < _NEAR) & (low[side] <= low[other])
    for stretch, _ in planted[side]:
        down[stretch] = True
    gap = -(leg.ankle[:, 2] + leg.lowest)
    if down.any():
        moved[:, 2] = gaussian_smooth(np.interp(times, np.flatnonzero(down), gap[down]), 0.04 * RATE)
    return moved


def _out_of_reach(pelvis: np.ndarray, hips: np.ndarray, ankles: dict[str, np.ndarray], limbs: Limbs) -> np.ndarray:
    """(T,) how far the hips must go down for both feet to be reached; smooth."""
    lower = np.zeros(len(hips))
    for side in SIDES:
        hip = hips + transform(pelvis, limbs.offset[f"thigh_{side}"])
        flat = np.linalg.norm((ankles[side] - hip)[:, :2], axis=1)
        highest = ankles[side][:, 2] + np.sqrt(np.maximum((0.998 * limbs.leg) ** 2 - flat**2, 0))
        lower = np.maximum(lower, np.where(flat < 0.9 * limbs.leg, hip[:, 2] - highest, 0))
    radius = max(1, round(0.1 * RATE))
    return gaussian_smooth(running_max(lower, radius), 0.6 * radius)


def _solve(pelvis, hips, ankles: dict[str, np.ndarray], legs: dict[str, _Leg], limbs: Limbs):
    """Rotations of the legs' bones that bring the feet to the ankles, and (T,) how much lower the lowest foot should
    be than it then is: folded legs do not follow."""
    bones, wanted, reached = {}, [], []
    for side in SIDES:
        leg, hip = legs[side], hips + transform(pelvis, limbs.offset[f"thigh_{side}"])
        along, out, bend = two_bone_ik(hip, ankles[side], leg.pole, limbs.thigh, limbs.shin, _LEAST_KNEE)
        # a folded leg may have to turn right round to move its foot by a hand's breadth: it keeps its direction
        turn = to_rotation_vector(leg.thigh.swapaxes(1, 2) @ limb_frame(along, out))
        trust = np.clip(2 - 2 * np.linalg.norm(turn, axis=1) / _MAX_TURN, 0, 1)
        thigh = leg.thigh @ to_matrix(trust[:, None] * turn)
        knee = rotation_y(np.clip(leg.knee + trust * (bend - leg.knee), _LEAST_KNEE, _MAX_KNEE))
        shin = thigh @ knee
        bones[f"thigh_{side}"] = pelvis.swapaxes(1, 2) @ thigh
        bones[f"shin_{side}"] = knee
        bones[f"foot_{side}"] = shin.swapaxes(1, 2) @ leg.foot
        bones[f"toes_{side}"] = rotation_y(-leg.toes)
        wanted.append(ankles[side][:, 2] + leg.lowest)
        reached.append((hip - limbs.thigh * thigh[:, :, 2] - limbs.shin * shin[:, :, 2])[:, 2] + leg.lowest)
    return bones, np.minimum(*reached) - np.minimum(*wanted)
