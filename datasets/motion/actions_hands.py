"""Procedural motions of the hands: each public function adds one kind of motion to an `Actor`'s intent.

All amounts are random within ranges: meters, radians, seconds. They were chosen by eye, for variety and no collisions.
"""

import numpy as np

from datasets.motion.actor import Actor
from datasets.motion.footsteps import SIDES
from datasets.people.kinematics import envelope


def other(side: str) -> str:
    """The opposite side."""
    return SIDES[1 - SIDES.index(side)]


def stand_or_sit(actor: Actor, busy=(), sitting: float = 0.3) -> bool:
    """The rest of the body during a motion of the hands: standing, or seated all the time. Returns whether seated."""
    actor.be_natural(actor.between(0.7, 1.3))
    seated_all_along = actor.chance(sitting)
    if seated_all_along:
        actor.stay([(-9.0, actor.times[-1] + 9)])
        seated = actor.sit([(-9.0, actor.times[-1] + 9)])
        for side in SIDES:
            hand_on_thigh(actor, side, seated, actor.between(0.45, 0.95))
    else:
        actor.stay(busy)
    return seated_all_along


def rest_arm(actor: Actor, side: str, weight) -> None:
    """Rest an arm, with weight (T,): on the hip, in a pocket, in front of the belly (low or high), or at the chin."""
    limbs = actor.limbs
    hip, belly = limbs.landmark["hip"], limbs.landmark["belly"]
    place, how = [
        ([hip[0] + 0.05, limbs.hip_side + 0.05, hip[2] + 0.10], dict(swivel=0.9, pronation=-0.3, wrist=0.8)),
        ([hip[0] + 0.08, limbs.hip_side + 0.07, hip[2] + 0.01], dict(swivel=0.3, pronation=0.4)),
        ([belly[0] + 0.10, 0.08, belly[2] + 0.02], dict(swivel=0.2, pronation=0.8)),
        ([belly[0] + 0.06, 0.02, belly[2] + 0.20], dict(swivel=0.3, pronation=1.0)),
        (limbs.landmark["nose"] + [0.0, 0.04, -0.17], dict(swivel=0.1, pronation=-0.4)),
    ][actor.rng.integers(5)]
    actor.place_hand(side, np.array(place) + actor.rng.normal(0, 0.012, 3), weight, **how)


def hand_on_thigh(actor: Actor, side: str, weight, along: float) -> None:
    """Put a hand on the thigh of a seated body. along: place on the thigh, 0 hip .. 1 knee."""
    limbs = actor.limbs
    point = [
        along * limbs.thigh - 0.05,
        limbs.hip_width + actor.between(-0.02, 0.06),
        limbs.thigh_radius + 0.05,
    ]
    actor.place_hand(side, point, weight, frame="hips", swivel=actor.between(0.1, 0.5), pronation=0.7)


def reaching(actor: Actor) -> None:
    """Reach for things between the floor and overhead, with one hand or both."""
    bouts = actor.bouts((2.0, 3.5), (0.3, 1.4))
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
        # `sideways` is outward, as for the arm, and `look` takes a yaw to the left: on the right the sign changes.
        actor.look(0.8 * weight, (1 if side == "left" else -1) * 0.7 * sideways, -0.6 * high)
        for arm in SIDES if actor.chance(0.35) else (side,):
            length = actor.between(0.75, 1.0) * (actor.limbs.upper_arm + actor.limbs.forearm)
            actor.place_hand(arm, actor.limbs.shoulder + length * direction, weight, pronation=actor.between(0, 1.2))


def greeting(actor: Actor) -> None:
    """Wave with one hand, sometimes with both."""
    bouts = actor.bouts((2.0, 4.5), (0.4, 1.8))
    actor.be_natural()
    actor.stay(bouts)
    for bout in bouts:
        weight = envelope(actor.times, [bout], actor.between(0.5, 0.8))
        for side in SIDES if actor.chance(0.2) else (actor.side(),):
            wave = np.sin(2 * np.pi * actor.between(0.9, 1.6) * actor.times + actor.between(0, 6))[:, None]
            center = [actor.between(0.12, 0.4), actor.between(0.1, 0.35), actor.between(0.05, 0.45)]
            point = actor.limbs.shoulder + center + wave * [0, actor.between(0.05, 0.16), -0.02]
            actor.place_hand(side, point, weight, swivel=actor.between(0.2, 0.9), pronation=actor.between(0.8, 1.4))


def phoning(actor: Actor) -> None:
    """Hold a phone to the ear, walking, standing or seated."""
    seated = False
    if actor.chance(0.4):
        actor.be_natural()
        actor.stroll(actor.between(0.35, 0.8), 1.2)
    else:
        seated = stand_or_sit(actor)
    side = actor.side()
    calling = envelope(actor.times, actor.bouts((6, 15), (0.5, 2)), 0.9)
    steady = calling[:, None]
    # The head leans to the phone and moves less than usual, or the hand would have to follow it.
    tilt = actor.between(0.05, 0.25) * (-1 if side == "left" else 1)
    actor.intent.head += steady * ([tilt, 0.05, 0] - 0.7 * actor.intent.head)
    # The ear is 9 cm behind the nose; the wrist of a hand that holds a phone to it is below and in front of the ear.
    ear = actor.limbs.landmark["nose"] + [-0.09, 0.075, 0.03]
    point = ear + [0.08, 0.05, -0.13] + actor.rng.normal(0, 0.01, 3) + 0.006 * actor.noise(2)
    actor.place_hand(side, point, calling, swivel=actor.between(0.0, 0.7), pronation=-0.4, wrist=0.2)
    kind = actor.rng.integers(3)
    if kind == 0 and not seated:
        rest_arm(actor, other(side), 1.0)
    elif kind == 1:
        gesture(actor, other(side), actor.bouts((1.5, 4), (1, 4)))


def gesture(actor: Actor, side: str, bouts) -> None:
    """Move a hand as in speech, in front of the body, during the bouts."""
    weight = envelope(actor.times, bouts, 0.7)
    center = [actor.between(0.2, 0.34), actor.between(-0.08, 0.12), actor.between(-0.34, -0.12)]
    spread = [actor.between(0.02, 0.07), actor.between(0.04, 0.10), actor.between(0.04, 0.12)]
    point = actor.limbs.shoulder + center + spread * actor.noise(actor.between(0.8, 1.6)).clip(-2, 2)
    pronation = actor.between(-0.6, 0.8) + 0.3 * actor.noise(1.2, 1)[:, 0]
    actor.place_hand(side, point, weight, swivel=actor.between(0, 0.5), pronation=pronation)


def discussion(actor: Actor) -> None:
    """Talk with both hands, walking, standing or seated."""
    if actor.chance(0.25):
        actor.be_natural(1.4)
        actor.stroll(actor.between(0.3, 0.7), 1.2)
    else:
        stand_or_sit(actor)
    together = actor.bouts((2, 5), (0.7, 2.5))
    for side in SIDES:
        gesture(actor, side, together if actor.chance(0.6) else actor.bouts((1.5, 4), (0.7, 3)))
    actor.intent.head[:, 1] += 0.08 * actor.noise(0.9, 1)[:, 0]


def directions(actor: Actor) -> None:
    """Point the way with an outstretched arm."""
    bouts = actor.bouts((1.8, 3.5), (0.3, 1.4))
    stand_or_sit(actor, bouts, 0.15)
    for bout in bouts:
        weight = envelope(actor.times, [bout], actor.between(0.6, 0.9))
        side = actor.side()
        sideways, high = actor.between(-0.5, 1.7), actor.between(-0.4, 0.5)
        direction = [np.cos(sideways) * np.cos(high), np.sin(sideways) * np.cos(high), np.sin(high)]
        length = actor.between(0.85, 1.0) * (actor.limbs.upper_arm + actor.limbs.forearm)
        point = actor.limbs.shoulder + length * np.array(direction) + 0.015 * actor.noise(1.5)
        actor.look(weight, (1 if side == "left" else -1) * sideways * actor.between(0.3, 0.9), -0.5 * high)
        actor.place_hand(side, point, weight, swivel=actor.between(0, 0.4), pronation=actor.between(0, 1.2))


def photo(actor: Actor) -> None:
    """Take photographs: hands in front of the face, sometimes crouching."""
    bouts = actor.bouts((3, 6), (0.4, 1.8))
    seated = stand_or_sit(actor, bouts, 0.1)
    for bout in bouts:
        weight = envelope(actor.times, [bout], actor.between(0.7, 1.0))
        away, height = actor.between(0.12, 0.36), actor.between(-0.12, 0.02)
        sides = SIDES if actor.chance(0.75) else (actor.side(),)
        if not seated and actor.chance(0.4):
            actor.crouch(weight, actor.limbs.leg * actor.between(0.75, 0.97), 0.08, actor.between(0, 0.35))
        actor.intent.trunk[:, 2] += weight * actor.between(-0.4, 0.4)
        actor.look(weight, 0.0, actor.between(-0.2, 0.25))
        for side in sides:
            point = actor.limbs.landmark["nose"] + [away, actor.between(0.05, 0.1), height - 0.05]
            actor.place_hand(side, point + 0.006 * actor.noise(1), weight, swivel=actor.between(0, 0.6), pronation=0.2)


def eating(actor: Actor) -> None:
    """Move a hand between a plate and the mouth."""
    stand_or_sit(actor, sitting=0.55)
    side = actor.side()
    bites = envelope(actor.times, actor.bouts((1.8, 3.2), (0.8, 2.5)), actor.between(0.6, 0.9))
    limbs = actor.limbs
    plate = limbs.landmark["belly"] + [actor.between(0.16, 0.28), 0.06, actor.between(0.0, 0.12)]
    # The hand rests above the plate all the time, and each bite is blended over that.
    away = plate + [0.02, 0.04, 0.08] + 0.02 * actor.noise(1.2)
    actor.place_hand(side, away, 1.0, swivel=actor.between(0.1, 0.6), pronation=0.4)
    mouth = limbs.landmark["nose"] + [0.08, 0.06, -0.12] + 0.006 * actor.noise(1.2)
    actor.intent.head += bites[:, None] * ([0, actor.between(-0.1, 0.2), 0] - 0.7 * actor.intent.head)
    actor.place_hand(side, mouth, bites, swivel=actor.between(0.1, 0.9), pronation=-0.5)
    kind = actor.rng.integers(3)
    if kind == 0:
        actor.place_hand(other(side), plate + 0.01 * actor.noise(2), 1.0, swivel=0.2, pronation=-0.9)
    elif kind == 1:
        rest_arm(actor, other(side), 1.0)


def waiting(actor: Actor) -> None:
    """Stand with shifting weight, arms crossed or resting."""
    actor.be_natural(actor.between(0.8, 1.8))
    actor.stay(wander=0.8)
    actor.intent.shift[:, 1] += 0.5 * actor.limbs.hip_width * np.tanh(1.5 * actor.noise(5, 1)[:, 0])
    for bout in actor.bouts((2.5, 6), (0.3, 1.5)):
        weight = envelope(actor.times, [bout], actor.between(0.8, 1.2))
        if actor.chance(0.25):
            cross_arms(actor, weight)
        else:
            for side in SIDES if actor.chance(0.5) else (actor.side(),):
                rest_arm(actor, side, weight)


def cross_arms(actor: Actor, weight) -> None:
    """Cross the arms, with weight (T,)."""
    belly, upper = actor.limbs.landmark["belly"], actor.side()
    for side in SIDES:
        raised = 0.04 if side == upper else 0.0
        point = belly + np.array([0.07 + raised, -0.06, 0.16 + raised])
        actor.place_hand(side, point, weight, swivel=0.35, pronation=0.9)


def carrying(actor: Actor) -> None:
    """Walk while holding something with one hand or both."""
    actor.be_natural(0.7)
    actor.stroll(actor.between(0.5, 1.1))
    limbs = actor.limbs
    away, apart, height = actor.between(0.14, 0.3), actor.between(0.06, 0.2), actor.between(-0.05, 0.25)
    point = limbs.landmark["belly"] + [away, apart, height] + 0.012 * actor.noise(1)
    for side in SIDES if actor.chance(0.65) else (actor.side(),):
        actor.place_hand(side, point, 1.0, swivel=actor.between(0, 0.4), pronation=actor.between(-1, 0.6))


def stretching(actor: Actor) -> None:
    """Stretch arms and trunk."""
    bouts = actor.bouts((2.5, 4.5), (0.3, 1.2))
    actor.be_natural()
    actor.stay(bouts)
    for bout in bouts:
        weight = envelope(actor.times, [bout], actor.between(0.8, 1.2))
        bend = weight[:, None] * [actor.between(-0.5, 0.5), actor.between(-0.15, 0.2), actor.between(-0.5, 0.5)]
        actor.intent.trunk += bend * (actor.rng.random(3) < 0.6)
        point, how = _stretch(actor)
        for side in SIDES if actor.chance(0.8) else (actor.side(),):
            actor.place_hand(side, point + 0.015 * actor.noise(1.5), weight, **how)


def _stretch(actor: Actor):
    """A wrist target and arguments of `reach`: overhead, wide, to the back, behind the head, across the chest."""
    limbs = actor.limbs
    length = (limbs.upper_arm + limbs.forearm) * actor.between(0.85, 1.0)
    wide = actor.between(0.2, 1.0)
    return [
        (limbs.shoulder + length * np.array([actor.between(-0.05, 0.25), 0.15, 0.97]), dict(swivel=0.2)),
        (limbs.shoulder + length * np.array([0.1, np.cos(wide), np.sin(wide)]), dict(pronation=0.5)),
        (limbs.shoulder + length * np.array([-0.1, 0.95, actor.between(-0.3, 0.1)]), dict(pronation=0.2)),
        (limbs.landmark["nose"] + [-0.16, 0.14, 0.05], dict(swivel=0.9, pronation=0.5)),
        (limbs.shoulder + np.array([actor.between(0.2, 0.35), -0.12, -0.05]), dict(swivel=1.2, pronation=1.0)),
    ][actor.rng.integers(5)]
