"""The motions: each function gives an `Actor` things to do, with chance in every number."""

import numpy as np

from datasets.actor import Actor
from datasets.footsteps import SIDES
from datasets.kinematics import envelope


def other(side: str) -> str:
    return SIDES[1 - SIDES.index(side)]


def walking(actor: Actor) -> None:
    actor.be_natural(0.7)
    actor.stroll(actor.between(0.6, 1.35), actor.between(1.1, 2.0))
    if actor.chance(0.4):
        rest_arm(actor, actor.side(), 1.0)


def turning(actor: Actor) -> None:
    actor.be_natural()
    actor.circle(actor.between(0.35, 1.0), actor.between(0.5, 1.1))
    if actor.chance(0.4):
        rest_arm(actor, actor.side(), 1.0)


def rest_arm(actor: Actor, side: str, weight) -> None:
    """One of the ways in which an arm rests: on the hip, in a pocket, before the belly, behind the back."""
    limbs = actor.limbs
    hip, belly = limbs.landmark["hip"], limbs.landmark["belly"]
    width = limbs.trunk_box[1, 2]
    place, how = [
        ([hip[0] + 0.05, width + 0.05, hip[2] + 0.10], dict(swivel=0.9, pronation=-0.3, wrist=0.8)),
        ([hip[0] + 0.08, width + 0.07, hip[2] + 0.01], dict(swivel=0.3, pronation=0.4)),
        ([belly[0] + 0.10, 0.08, belly[2] + 0.02], dict(swivel=0.2, pronation=0.8)),
        ([belly[0] + 0.06, 0.02, belly[2] + 0.20], dict(swivel=0.3, pronation=1.0)),
        ([limbs.trunk_box[1, 0] - 0.09, 0.10, hip[2] + 0.08], dict(swivel=0.5, pronation=1.0)),
    ][actor.rng.integers(5)]
    actor.place_hand(side, np.array(place) + actor.rng.normal(0, 0.012, 3), weight, **how)


def sitting_down(actor: Actor) -> None:
    bouts = actor.bouts((3.5, 6.5), (2.0, 4.0))
    actor.be_natural()
    actor.stay(bouts)
    seated = actor.sit(bouts, actor.between(1.1, 1.6))
    for side in SIDES:
        hand_on_thigh(actor, side, seated, actor.between(0.45, 0.95))


def hand_on_thigh(actor: Actor, side: str, weight, along: float) -> None:
    limbs = actor.limbs
    inward = actor.between(-0.03, 0.05)
    point = [along * limbs.thigh - 0.05, limbs.hip_width + 0.03 - inward, 0.12 + 0.03 * along]
    actor.place_hand(side, point, weight, frame="hips", swivel=actor.between(0.1, 0.5), pronation=0.7)


def reaching(actor: Actor) -> None:
    bouts = actor.bouts((2.0, 3.5), (0.6, 1.8))
    actor.be_natural()
    actor.stay(bouts)
    for bout in bouts:
        weight = envelope(actor.times, [bout], actor.between(0.7, 1.1))
        side = actor.side()
        high, sideways = actor.between(-0.4, 1.0), actor.between(-0.25, 0.9)
        direction = np.array([np.cos(sideways), np.sin(sideways), 1.2 * high])
        direction /= np.linalg.norm(direction)
        lean = max(0.0, 0.5 - high) * actor.between(0.2, 0.7)
        twist = actor.between(-0.5, 0.5)
        actor.intent.trunk += weight[:, None] * [0, lean, twist]
        actor.intent.drop += weight * 0.25 * max(0.0, -high) * actor.between(0, 1)
        actor.look(0.8 * weight, (1 if side == "left" else -1) * 0.7 * sideways, -0.6 * high)
        for arm in SIDES if actor.chance(0.35) else (side,):
            length = actor.between(0.75, 1.0) * (actor.limbs.upper_arm + actor.limbs.forearm)
            actor.place_hand(arm, actor.limbs.shoulder + length * direction, weight, pronation=actor.between(0, 1.2))


def greeting(actor: Actor) -> None:
    bouts = actor.bouts((2.0, 4.5), (0.8, 2.5))
    actor.be_natural()
    actor.stay(bouts)
    for bout in bouts:
        weight = envelope(actor.times, [bout], actor.between(0.5, 0.8))
        for side in SIDES if actor.chance(0.2) else (actor.side(),):
            wave = np.sin(2 * np.pi * actor.between(0.9, 1.6) * actor.times + actor.between(0, 6))[:, None]
            centre = [actor.between(0.12, 0.4), actor.between(0.1, 0.35), actor.between(0.05, 0.45)]
            point = actor.limbs.shoulder + centre + wave * [0, actor.between(0.05, 0.16), -0.02]
            actor.place_hand(side, point, weight, swivel=actor.between(0.2, 0.9), pronation=actor.between(0.8, 1.4))
