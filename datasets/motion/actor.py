"""An actor: one random person on the floor, to whom motions (datasets/motion/actions_hands.py) give things to do."""

import itertools

import numpy as np

from datasets.motion.footsteps import SIDES, walk_along
from datasets.motion.posing import Intent, Limbs, clear_arms, hang, reach, solve, trunk_rotations
from datasets.people.body import Body, Motion
from datasets.people.kinematics import (
    envelope,
    follow_keys,
    gaussian_smooth,
    rotation_x,
    rotation_y,
    rotation_z,
    smooth_noise,
    transform,
)

_RATE = 50  # motions are made at least this fine (Hz), then thinned to the frames asked for


class Actor:
    """Holds the intent of a motion in the making.

    Attributes: `rng`; `times` (T,) seconds, fine; `limbs`; `intent`; `margin`: how far from the middle it may go.
    """

    def __init__(self, body: Body, num_frames: int, fps: float, rng: np.random.Generator, area: float):
        self.body, self.rng = body, rng
        self.limbs = Limbs(body)
        self._stride = int(np.ceil(_RATE / fps))
        self._rate = fps * self._stride
        # one frame more on each side, so that the ends move like the middle
        self.times = np.arange((num_frames + 1) * self._stride) / self._rate
        self.intent = Intent(len(self.times))
        self._idle = {side: np.ones(len(self.times)) for side in SIDES}  # how far an arm is left to itself
        self.margin = max(area - 0.35, 0.05 * area)
        self._frames = slice(self._stride // 2, self._stride // 2 + num_frames * self._stride, self._stride)

    # ---- chance

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def side(self) -> str:
        return SIDES[self.rng.integers(2)]

    def noise(self, period: float, channels: int = 3) -> np.ndarray:
        return smooth_noise(self.rng, self.times, period, channels)

    def bouts(self, on: tuple[float, float], off: tuple[float, float]) -> list[tuple[float, float]]:
        """Intervals of doing, with pauses between them; a random point of the cycle comes first."""
        start = -self.between(0, on[1])
        intervals = []
        while start < self.times[-1]:
            end = start + self.between(*on)
            intervals.append((start, end))
            start = end + self.between(*off)
        return intervals

    # ---- places

    def spot(self, reach: float = 1.0) -> np.ndarray:
        return self.rng.uniform(-1, 1, 2) * self.margin * reach

    def stay(self, busy=(), wander: float = 0.5) -> None:
        """Stand about: now and then some steps or a turn, never during the `busy` intervals."""
        limit = max(self.margin - 0.2, 0.5 * self.margin)  # room to sit down backward
        keys = [(-1.0, *self.rng.uniform(-limit, limit, 2), self.between(-np.pi, np.pi))]
        for start, end in self._gaps(busy):
            length = end - start - 0.7  # the feet need a moment to follow
            if length < 0.6 or not self.chance(0.7):
                continue
            used = min(length, self.between(0.8, 2.5))
            begin = start + self.between(0, length - used)
            x, y, yaw = keys[-1][1:]
            step = self.rng.normal(0, 0.5, 2) * wander * min(1, used / 2)
            place = np.clip(np.array([x, y]) + step, -limit, limit)
            turn = np.clip(self.rng.normal(0, 0.9), -1.2, 1.2) * min(1, used / 1.5)
            keys += [(begin, x, y, yaw), (begin + used, *place, yaw + turn)]
        keys.append((self.times[-1] + 1, *keys[-1][1:]))
        track = follow_keys(self.times, [k[0] for k in keys], [k[1:] for k in keys])
        hold = envelope(self.times, busy, 0.0) > 0
        self._walk(track[:, :2], track[:, 2], hold)

    def _gaps(self, busy) -> list[tuple[float, float]]:
        if not len(busy):
            count = max(1, int(self.times[-1] / 4))
            edges = np.linspace(0, self.times[-1], count + 1)
            return list(itertools.pairwise(edges))
        starts = [0.0] + [end for _, end in busy]
        ends = [start for start, _ in busy] + [self.times[-1]]
        return [(s, e) for s, e in zip(starts, ends, strict=True) if e > s]

    def stroll(self, speed: float, nimble: float = 1.6, goals=None) -> None:
        """Walk from one random place to the next; `nimble`: turning rate in radians per second."""
        step = 1 / self._rate
        place, heading = self.spot(0.8), self.between(-np.pi, np.pi)
        goal = self.spot() if goals is None else next(goals)
        pace = self.between(0.5, 1.0) * speed
        track = np.empty((len(self.times), 3))
        for index in range(len(track)):
            track[index] = *place, heading
            if np.hypot(*(goal - place)) < 0.3:
                goal = self.spot() if goals is None else next(goals)
            bearing = np.arctan2(*(goal - place)[::-1])
            error = (bearing - heading + np.pi) % (2 * np.pi) - np.pi
            heading += np.clip(3 * error, -nimble, nimble) * step
            wanted = speed * (0.35 + 0.65 * max(0.0, np.cos(error)) ** 2)
            pace += np.clip(wanted - pace, -2 * step, 1.5 * step)
            place = place + pace * step * np.array([np.cos(heading), np.sin(heading)])
        track = gaussian_smooth(track, 0.2 * self._rate)
        most = np.abs(track[:, :2]).max()
        track[:, :2] *= min(1.0, self.margin / most)
        self._walk(track[:, :2], track[:, 2])
        self._swing_arms(self.between(0.5, 1.3))

    def circle(self, radius: float, speed: float) -> None:
        """Walk round and round, now and then the other way."""
        radius = min(radius, 0.9 * self.margin)
        center = self.rng.uniform(-1, 1, 2) * (self.margin - radius)
        keys = np.cumsum(self.rng.uniform(3, 8, int(self.times[-1] / 3) + 2))
        ways = np.where(np.arange(len(keys)) % 2, -1, 1) * (1 if self.chance(0.5) else -1)
        way = ways[np.searchsorted(keys, self.times)] if self.chance(0.4) else np.full(len(self.times), ways[0])
        way = gaussian_smooth(way.astype(float), 0.5 * self._rate)
        angle = self.between(-np.pi, np.pi) + np.cumsum(way) * speed / radius / self._rate
        wave = radius * (1 + 0.1 * self.noise(6, 1)[:, 0].clip(-1, 1))
        path = center + wave[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        # faces along the circle; turns round on the inside when the way changes
        heading = angle + np.pi / 2 * np.sign(ways[0]) + np.pi * (1 - way * ways[0]) / 2
        self._walk(path, heading)
        self._swing_arms(self.between(0.5, 1.2))

    def _walk(self, path: np.ndarray, heading: np.ndarray, hold: np.ndarray | None = None) -> None:
        intent, limbs = self.intent, self.limbs
        width = limbs.hip_width * self.between(0.9, 1.5)
        out, stagger = self.between(0.03, 0.25), self.rng.normal(0, 0.025)
        stance = {"left": np.array([stagger, width, out]), "right": np.array([-stagger, -width, out])}
        intent.path, intent.heading = path, heading
        intent.feet = walk_along(self.times, path, heading, stance, self.rng, hold)
        ahead = self._feet_ahead()
        sigma = 0.06 * self._rate
        carry = gaussian_smooth(intent.feet["right"].swing - intent.feet["left"].swing, 1.5 * sigma)
        intent.shift[:, 1] += 0.25 * limbs.hip_width * carry
        intent.tilt[:, 0] -= 0.05 * carry  # the side of the swinging leg drops
        twist = gaussian_smooth(ahead["right"] - ahead["left"], sigma)
        intent.tilt[:, 2] += 0.25 * twist
        intent.trunk[:, 2] -= 0.4 * twist

    def _feet_ahead(self) -> dict[str, np.ndarray]:
        direction = np.stack([np.cos(self.intent.heading), np.sin(self.intent.heading)], axis=1)
        return {s: ((self.intent.feet[s].position - self.intent.path) * direction).sum(1) for s in SIDES}

    def _swing_arms(self, amount: float) -> None:
        ahead = self._feet_ahead()
        for side, other in zip(SIDES, SIDES[::-1], strict=True):
            self.intent.swing[side] += amount * gaussian_smooth(ahead[other], 0.08 * self._rate)

    # ---- posture

    def be_natural(self, lively: float = 1.0) -> None:
        """Posture, shifting weight, a wandering look and arms at rest; everything else is laid over it."""
        intent, degree = self.intent, np.deg2rad(1)
        slouch = self.between(-2, 9)
        intent.trunk += ([0, slouch, 0] + lively * self.noise(3.5) * [2.5, 3, 5]) * degree
        intent.head += ([0, self.between(-8, 10), 0] + self.noise(2.5) * [4, 7, 20]) * degree
        sway = self.noise(4, 2) * lively
        intent.shift += sway * [0.008, 0.018]
        intent.tilt[:, 0] -= 0.03 * sway[:, 1]
        intent.drop += 0.003 * lively * (1 + self.noise(4, 1)[:, 0].clip(-1, 3))
        for side in SIDES:
            state = hang(
                self.between(0.1, 0.24), self.between(-0.1, 0.15), self.between(0.12, 0.45), self.between(-0.2, 0.5),
                self.between(0, 0.9),
            )  # fmt: skip
            intent.arms[side][:] = state + self.arm_noise(0.05)

    def arm_noise(self, size: float, period: float = 2.0) -> np.ndarray:
        return size * self.noise(period, 6) * [1, 1, 1, 1.5, 1.5, 1]

    def arm(self, side: str, state: np.ndarray, weight) -> None:
        """Lay an arm's state (T, 6) or (1, 6) over what it does so far, with weight (T,) in 0..1."""
        weight = np.broadcast_to(weight, len(self.times))
        self.intent.arms[side] = self.intent.arms[side] * (1 - weight[:, None]) + state * weight[:, None]
        self.intent.swing[side] = self.intent.swing[side] * (1 - weight)
        self._idle[side] = self._idle[side] * (1 - weight)

    def place_hand(self, side: str, point, weight, frame: str = "chest", **how) -> None:
        """Bring the wrist to a point (T, 3) or (3,), given on the arm's own side (y outward).

        frame: "chest", or "hips" for a point relative to the hips in the heading's frame (call after the trunk is
        set). how: swivel, pronation, wrist (see `reach`).
        """
        weight = np.broadcast_to(np.asarray(weight, dtype=np.float64), len(self.times))
        used = np.flatnonzero(weight)
        if not len(used):
            return
        point = np.broadcast_to(np.asarray(point, dtype=np.float64), (len(self.times), 3))
        if frame == "hips":
            point = self._from_hips(point, side)
        how = {name: np.broadcast_to(value, len(self.times))[used] for name, value in how.items()}
        state = np.zeros((len(self.times), 6))
        state[used] = reach(self.limbs, point[used], **how)
        self.arm(side, state, weight)

    def _from_hips(self, point: np.ndarray, side: str) -> np.ndarray:
        mirror = np.array([1, 1 if side == "left" else -1, 1])
        roll, pitch, yaw = self.intent.tilt.T
        turn = rotation_z(yaw) @ rotation_y(pitch) @ rotation_x(roll)
        origin = np.zeros((len(self.times), 3))
        spine = trunk_rotations(self.intent)
        for name in ("spine_low", "spine_mid", "spine_high", "chest"):
            origin = origin + transform(turn, self.limbs.offset[name])
            turn = turn @ spine[name]
        return transform(turn.transpose(0, 2, 1), point * mirror - origin) * mirror

    # ---- whole-body building blocks

    def crouch(self, weight: np.ndarray, hips: float, back: float, lean: float) -> None:
        """Lower the hips to a height (meters), move them back and lean the trunk forward, by weight (T,)."""
        standing = self.limbs.ankle + self.limbs.leg
        self.intent.drop += weight * max(standing - hips, 0)
        self.intent.shift[:, 0] -= weight * back
        self.intent.trunk[:, 1] += weight * lean

    def sit(self, intervals, ramp: float = 1.3) -> np.ndarray:
        """Sit down and stand up on an imagined seat behind the feet. Returns how seated it is, (T,) in 0..1."""
        seated = envelope(self.times, intervals, ramp)
        size = self.limbs.leg / 0.85
        seat = size * self.between(0.38, 0.5) + 0.09
        moving = 4 * seated * (1 - seated)
        self.crouch(seated, seat, size * self.between(0.36, 0.46), self.between(-0.02, 0.3))
        self.intent.trunk[:, 1] += self.between(0.4, 0.7) * moving
        self.intent.head[:, 1] -= 0.3 * moving
        self.intent.tilt[:, 1] -= self.between(0.0, 0.15) * seated  # the pelvis rolls back on the seat
        for side in SIDES:
            self.intent.knee_out[side] += self.between(-0.05, 0.3) * seated
        return seated

    def move_foot(self, side: str, key_times, offsets: np.ndarray, heel) -> None:
        """Lift a foot through offsets (K, 3): forward, outward, up from where it stands; heel: its pitch (K,)."""
        mirror = np.array([1, 1 if side == "left" else -1, 1])
        self.intent.foot_offset[side] += follow_keys(self.times, key_times, offsets) * mirror
        self.intent.foot_pitch[side] += follow_keys(self.times, key_times, heel)
        start, end = key_times[0], key_times[-1]
        self.intent.foot_free[side] = np.maximum(
            self.intent.foot_free[side], envelope(self.times, [(start, end)], 0.25 * (end - start))
        )
        # the weight goes over the other foot, early and until late
        over = envelope(self.times, [(start - 0.5, end + 0.5)], 0.7)
        self.intent.shift[:, 1] -= 0.8 * self.limbs.hip_width * mirror[1] * over

    def step_out(self, side: str, weight: np.ndarray, offset, heel: float = 0.0) -> None:
        """Put a foot elsewhere by weight (T,): forward, outward, up; it is lifted on the way. heel: its pitch."""
        mirror = np.array([1, 1 if side == "left" else -1, 1])
        self.intent.foot_offset[side] += weight[:, None] * offset * mirror
        self.intent.foot_offset[side][:, 2] += 0.25 * weight * (1 - weight)
        self.intent.foot_pitch[side] += weight * heel

    def look(self, weight, yaw: float, pitch: float) -> None:
        """Turn head (and a little the trunk) by weight (T,): yaw to the left, pitch down."""
        weight = np.broadcast_to(weight, len(self.times))[:, None]
        self.intent.head += weight * ([0, 0.8 * pitch, 0.7 * yaw] - 0.6 * self.intent.head)
        self.intent.trunk += weight * [0, 0.1 * pitch, 0.3 * yaw]

    def perform(self) -> Motion:
        """Solve the intent and thin it to the frames asked for."""
        forward = self.intent.tilt[:, 1] + self.intent.trunk[:, 1]
        for side in SIDES:  # an idle arm hangs down when the trunk bends
            self.intent.swing[side] += 0.8 * self._idle[side] * np.clip(forward, -0.3, None)
        motion = solve(self.limbs, self.intent, self._rate)
        thin = Motion(motion.rotations[self._frames], motion.translation[self._frames])
        return clear_arms(self.body, self.limbs, thin, self._rate / self._stride)
