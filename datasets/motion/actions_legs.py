"""Procedural motions of legs and trunk: each public function adds one kind of motion to an `Actor`'s intent.

Amounts are random within ranges, as in actions_hands.py.
"""

import numpy as np

from datasets.motion.actions_hands import gesture, hand_on_thigh, rest_arm
from datasets.motion.actor import Actor
from datasets.motion.footsteps import SIDES
from datasets.people.kinematics import envelope, follow_keys


def walking(actor: Actor) -> None:
    """Walk from place to place."""
    actor.be_natural(0.7)
    actor.stroll(actor.between(0.6, 1.35), actor.between(1.1, 2.0))
    if actor.chance(0.4):
        rest_arm(actor, actor.side(), 1.0)


def turning(actor: Actor) -> None:
    """Walk in circles."""
    actor.be_natural()
    actor.circle(actor.between(0.35, 1.0), actor.between(0.5, 1.1))
    if actor.chance(0.4):
        rest_arm(actor, actor.side(), 1.0)


def sitting_down(actor: Actor) -> None:
    """Sit down and stand up, sometimes talking while seated."""
    bouts = actor.bouts((3.5, 6.5), (2.0, 4.0))
    actor.be_natural()
    actor.stay(bouts)
    seated = actor.sit(bouts, actor.between(1.1, 1.6))
    for side in SIDES:
        hand_on_thigh(actor, side, seated, actor.between(0.45, 0.95))
        if actor.chance(0.3):
            gesture(actor, side, [(start + 1.2, end - 1.2) for start, end in bouts])


def crouching(actor: Actor) -> None:
    """Squat or kneel, with busy hands."""
    bouts = actor.bouts((3.0, 5.5), (0.6, 1.9))
    actor.be_natural()
    actor.stay(bouts)
    for bout in bouts:
        weight = envelope(actor.times, [bout], actor.between(0.9, 1.4))
        kneel(actor, weight) if actor.chance(0.35) else squat(actor, weight)
        for side in SIDES:
            busy_hand(actor, side, weight)


def squat(actor: Actor, weight: np.ndarray) -> None:
    """Squat with weight (T,). Deep squats raise the heels."""
    depth = actor.between(0.3, 0.75)
    actor.crouch(weight, actor.limbs.leg * depth, 0.1 + 0.1 * depth, actor.between(0.2, 0.7))
    actor.intent.tilt[:, 1] += weight * actor.between(0, 0.3)
    for side in SIDES:
        actor.intent.foot_pitch[side] += weight * max(0.0, 0.75 - depth) * 1.2
        actor.intent.knee_out[side] += weight * actor.between(0.1, 0.5)


def kneel(actor: Actor, weight: np.ndarray) -> None:
    """Kneel on one knee, or nearly, with weight (T,)."""
    side, leg = actor.side(), actor.limbs.leg
    actor.step_out(side, weight, [-0.4 * leg, 0.0, 0.0], heel=1.0)
    actor.crouch(weight, leg * actor.between(0.6, 0.72), 0.1 * leg, actor.between(0, 0.35))


def busy_hand(actor: Actor, side: str, weight: np.ndarray) -> None:
    """What a hand does while the body is lowered: it is held out in front, on the knee, or near the floor."""
    limbs = actor.limbs
    hips = limbs.ankle + limbs.leg - actor.intent.drop
    forward, apart = actor.between(0.35, 0.55), actor.between(0.1, 0.3)
    kind = actor.rng.integers(3)
    if kind == 0:
        ahead = limbs.shoulder + np.array([actor.between(0.25, 0.45), 0.0, actor.between(-0.25, 0.05)])
        actor.place_hand(side, ahead, weight, swivel=0.3, pronation=0.8)
        return
    height = np.full(len(hips), 0.6 * limbs.shin + 0.16) if kind == 1 else np.full(len(hips), actor.between(0.22, 0.42))
    point = np.stack([np.full(len(hips), forward), np.full(len(hips), apart), height - hips], axis=1)
    actor.place_hand(side, point, weight, frame="hips", swivel=0.3, pronation=0.8)


def bending(actor: Actor) -> None:
    """Bend down to the floor or part of the way, with straight or bent knees."""
    bouts = actor.bouts((2.2, 4.5), (0.4, 1.6))
    actor.be_natural()
    actor.stay(bouts)
    limbs = actor.limbs
    for bout in bouts:
        weight = envelope(actor.times, [bout], actor.between(0.8, 1.3))
        depth, knees = actor.between(0.3, 1.0), actor.between(0.0, 0.3)
        actor.intent.tilt[:, 1] += weight * depth * actor.between(0.5, 0.9)
        actor.crouch(weight, limbs.leg * (1.05 - knees * depth), (0.14 + 0.3 * knees) * depth, depth * 0.9)
        actor.intent.trunk[:, 2] += weight * actor.between(-0.4, 0.4)
        actor.intent.head[:, 1] -= 0.3 * weight * depth
        hips = limbs.ankle + limbs.leg - actor.intent.drop
        height = 0.21 + (1 - depth) * 0.6 * limbs.leg
        for side in SIDES if actor.chance(0.6) else (actor.side(),):
            place = [actor.between(0.3, 0.45), actor.between(0.05, 0.25)]
            point = np.concatenate([np.tile(place, (len(hips), 1)), (height - hips)[:, None]], axis=1)
            actor.place_hand(side, point, weight, frame="hips", swivel=0.1, pronation=actor.between(0, 1))


def kicking(actor: Actor) -> None:
    """Kick a ball, low or high."""
    bouts = actor.bouts((1.7, 2.4), (0.4, 1.6))
    actor.be_natural()
    actor.stay(bouts)
    for start, end in bouts:
        side, leg = actor.side(), actor.limbs.leg
        high, ahead = actor.between(0.1, 0.75), actor.between(0.45, 0.75)
        aside = actor.rng.normal(0, 0.08)
        # Stand, swing back, strike, follow through, stand.
        keys = np.array([0, 0.35, 0.6, 0.72, 1.0]) * (end - start) + start
        path = [[0, 0, 0], [-0.25, 0, 0.3], [ahead, aside, high], [0.9 * ahead, aside, 0.9 * high], [0, 0, 0]]
        actor.move_foot(side, keys, np.array(path) * leg, [0, 0.9, 0.2, 0.1, 0])
        strike = follow_keys(actor.times, keys, [0, -0.5, 1, 0.9, 0])
        actor.intent.trunk[:, 1] -= 0.25 * high * strike
        actor.intent.tilt[:, 1] -= 0.3 * high * strike
        amount = actor.between(0.2, 0.8)
        for arm in SIDES:
            actor.intent.swing[arm] += amount * strike * (-0.6 if arm == side else 1)


def exercise(actor: Actor) -> None:
    """Knee raises, lunges and sideways leg raises, with arms that swing, rest or are held out."""
    bouts = actor.bouts((1.5, 2.8), (0.3, 1.0))
    actor.be_natural()
    actor.stay(bouts, wander=0.3)
    for side in SIDES:
        if actor.chance(0.4):
            rest_arm(actor, side, 1.0)
    for start, end in bouts:
        side, leg = actor.side(), actor.limbs.leg
        kind = actor.rng.integers(3)
        keys = [start, (start + end) / 2 - 0.15, (start + end) / 2 + 0.15, end]
        weight = follow_keys(actor.times, keys, [0, 1, 1, 0])
        if kind == 0:
            point = np.array([actor.between(0.15, 0.3), 0, actor.between(0.3, 0.55)]) * leg
            actor.move_foot(side, keys, np.array([0 * point, point, point, 0 * point]), [0, 0.5, 0.5, 0])
        elif kind == 1:
            actor.step_out(side, weight, [actor.between(0.5, 0.75) * leg, 0, 0])
            actor.intent.shift[:, 0] += weight * 0.3 * leg
            actor.crouch(weight, leg * actor.between(0.68, 0.92), 0, actor.between(-0.05, 0.3))
        else:
            point = np.array([actor.between(-0.1, 0.1), actor.between(0.3, 0.55), 0.2]) * leg
            actor.move_foot(side, keys, np.array([0 * point, point, point, 0 * point]), [0, 0.3, 0.3, 0])
        amount = actor.between(-0.2, 0.8)
        for arm in SIDES:
            actor.intent.swing[arm] += amount * weight * (-1 if arm == side else 1)
        if actor.chance(0.3):
            out = actor.limbs.shoulder + np.array([0.15, actor.between(0.3, 0.55), actor.between(-0.1, 0.3)])
            for arm in SIDES:
                actor.place_hand(arm, out, weight, pronation=0.6)
