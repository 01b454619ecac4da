"""The actor of procedural motion: a body with an intent, to which actions_legs.py and actions_hands.py add actions."""

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

# Hz. Motions are planned at this rate or a little more, and then thinned: footsteps and smoothing need short steps.
_RATE = 50


class Actor:
    """Builds up the intent of one procedural motion.

    Attributes:
        rng: source of all random numbers. limbs: lengths of the body. intent: what the body does.
        times: (T,) seconds, at least 50 per second. margin: meters that the path may go from the middle.
    """

    def __init__(self, body: Body, num_frames: int, fps: float, rng: np.random.Generator, area: float):
        self.body, self.rng = body, rng
        self.limbs = Limbs(body)
        self._stride = int(np.ceil(_RATE / fps))
        self._rate = fps * self._stride
        # About one frame more than asked for, of which half lies before the first: the ends then move like the middle.
        self.times = np.arange((num_frames + 1) * self._stride) / self._rate
        self.intent = Intent(len(self.times))
        self._idle = {side: np.ones(len(self.times)) for side in SIDES}  # 1 where an arm has nothing to do
        # 0.35 m for the hips, which sway, sit and crouch beside the path.
        self.margin = max(area - 0.35, 0.05 * area)
        self._frames = slice(self._stride // 2, self._stride // 2 + num_frames * self._stride, self._stride)

    # ---- random numbers

    def between(self, low: float, high: float) -> float:
        """A uniform random number."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)

    def side(self) -> str:
        """Left or right at random."""
        return SIDES[self.rng.integers(2)]

    def noise(self, period: float, channels: int = 3) -> np.ndarray:
        """Smooth noise (T, channels), see `smooth_noise`."""
        return smooth_noise(self.rng, self.times, period, channels)

    def bouts(self, on: tuple[float, float], off: tuple[float, float]) -> list[tuple[float, float]]:
        """Intervals (start, end) of activity, separated by pauses. Durations are uniform in `on` and `off`, seconds."""
        # The first starts before time 0, so that a motion may begin in the middle of an activity.
        start = -self.between(0, on[1])
        intervals = []
        while start < self.times[-1]:
            end = start + self.between(*on)
            intervals.append((start, end))
            start = end + self.between(*off)
        return intervals

    # ---- places

    def spot(self, reach: float = 1.0) -> np.ndarray:
        """A random point (2,) of the floor."""
        return self.rng.uniform(-1, 1, 2) * self.margin * reach

    def stay(self, busy=(), wander: float = 0.5) -> None:
        """Stand, now and then with some steps or a change of heading, never during the `busy` intervals."""
        limit = max(self.margin - 0.2, 0.5 * self.margin)  # leaves space to sit down backwards
        keys = [(-1.0, *self.rng.uniform(-limit, limit, 2), self.between(-np.pi, np.pi))]
        for start, end in self._gaps(busy):
            length = end - start - 0.7  # the feet arrive after the body
            if length < 0.6 or not self.chance(0.7):
                continue
            used = min(length, self.between(0.8, 2.5))
            begin = start + self.between(0, length - used)
            x, y, yaw = keys[-1][1:]
            step = self.rng.normal(0, 0.5, 2) * wander * min(1, used / 2)
            place = np.clip(np.array([x, y]) + step, -limit, limit)
            change = np.clip(self.rng.normal(0, 0.9), -1.2, 1.2) * min(1, used / 1.5)
            keys += [(begin, x, y, yaw), (begin + used, *place, yaw + change)]
        keys.append((self.times[-1] + 1, *keys[-1][1:]))
        track = follow_keys(self.times, [k[0] for k in keys], [k[1:] for k in keys])
        hold = envelope(self.times, busy, 0.0) > 0
        self._walk(track[:, :2], track[:, 2], hold)

    def _gaps(self, busy) -> list[tuple[float, float]]:
        """The intervals between the busy ones, or intervals of about four seconds if there are none."""
        if not len(busy):
            count = max(1, int(self.times[-1] / 4))
            edges = np.linspace(0, self.times[-1], count + 1)
            return list(itertools.pairwise(edges))
        starts = [0.0] + [end for _, end in busy]
        ends = [start for start, _ in busy] + [self.times[-1]]
        return [(s, e) for s, e in zip(starts, ends, strict=True) if e > s]

    def stroll(self, speed: float, nimble: float = 1.6) -> None:
        """Walk from one random place to the next. speed: meters per second. nimble: most yaw, radians per second."""
        step = 1 / self._rate
        place, heading = self.spot(0.8), self.between(-np.pi, np.pi)
        goal = self.spot()
        pace = self.between(0.5, 1.0) * speed
        # Steered step by step: the heading follows the bearing of the goal, and the pace drops in curves.
        track = np.empty((len(self.times), 3))
        for index in range(len(track)):
            track[index] = *place, heading
            if np.hypot(*(goal - place)) < 0.3:
                goal = self.spot()
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
        """Walk along a circle (radius in meters, speed in meters per second), sometimes reversing."""
        radius = min(radius, 0.9 * self.margin)
        center = self.rng.uniform(-1, 1, 2) * (self.margin - radius)
        keys = np.cumsum(self.rng.uniform(3, 8, int(self.times[-1] / 3) + 2))
        ways = np.where(np.arange(len(keys)) % 2, -1, 1) * (1 if self.chance(0.5) else -1)
        way = ways[np.searchsorted(keys, self.times)] if self.chance(0.4) else np.full(len(self.times), ways[0])
        way = gaussian_smooth(way.astype(float), 0.5 * self._rate)
        angle = self.between(-np.pi, np.pi) + np.cumsum(way) * speed / radius / self._rate
        wave = radius * (1 + 0.1 * self.noise(6, 1)[:, 0].clip(-1, 1))
        path = center + wave[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        # The body faces along the circle. When the direction reverses, it faces inwards on the way.
        heading = angle + np.pi / 2 * np.sign(ways[0]) + np.pi * (1 - way * ways[0]) / 2
        self._walk(path, heading)
        self._swing_arms(self.between(0.5, 1.2))

    def _walk(self, path: np.ndarray, heading: np.ndarray, hold: np.ndarray | None = None) -> None:
        """Set path (T, 2) and heading (T,), and add footsteps and gait. hold: (T,) true where no foot may step."""
        intent, limbs = self.intent, self.limbs
        width = limbs.hip_width * self.between(0.9, 1.5)
        out, stagger = self.between(0.03, 0.25), self.rng.normal(0, 0.025)
        stance = {"left": np.array([stagger, width, out]), "right": np.array([-stagger, -width, out])}
        intent.path, intent.heading = path, heading
        intent.feet = walk_along(self.times, path, heading, stance, self.rng, hold)
        ahead = self._feet_ahead()
        sigma = 0.06 * self._rate
        # Gait: the hips move over the foot that carries, and drop on the side of the swinging leg. The pelvis rotates
        # with the foot that is ahead, and the trunk rotates back.
        carry = gaussian_smooth(intent.feet["right"].swing - intent.feet["left"].swing, 1.5 * sigma)
        intent.shift[:, 1] += 0.25 * limbs.hip_width * carry
        intent.tilt[:, 0] -= 0.05 * carry
        twist = gaussian_smooth(ahead["right"] - ahead["left"], sigma)
        intent.tilt[:, 2] += 0.25 * twist
        intent.trunk[:, 2] -= 0.4 * twist

    def _feet_ahead(self) -> dict[str, np.ndarray]:
        """Per side, meters (T,) by which the foot is ahead of the body."""
        direction = np.stack([np.cos(self.intent.heading), np.sin(self.intent.heading)], axis=1)
        return {s: ((self.intent.feet[s].position - self.intent.path) * direction).sum(1) for s in SIDES}

    def _swing_arms(self, amount: float) -> None:
        """Swing each arm with the opposite foot."""
        ahead = self._feet_ahead()
        for side, other in zip(SIDES, SIDES[::-1], strict=True):
            self.intent.swing[side] += amount * gaussian_smooth(ahead[other], 0.08 * self._rate)

    # ---- posture

    def be_natural(self, lively: float = 1.0) -> None:
        """Posture, shifting weight, a wandering gaze and arms at rest. Everything else is added to it."""
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
        """Smooth noise of an arm's state (T, 6), radians."""
        return size * self.noise(period, 6) * [1, 1, 1, 1.5, 1.5, 1]

    def arm(self, side: str, state: np.ndarray, weight) -> None:
        """Blend an arm's state (T, 6) or (1, 6) into what it does so far, with weight (T,) in 0..1."""
        weight = np.broadcast_to(weight, len(self.times))
        self.intent.arms[side] = self.intent.arms[side] * (1 - weight[:, None]) + state * weight[:, None]
        self.intent.swing[side] = self.intent.swing[side] * (1 - weight)
        self._idle[side] = self._idle[side] * (1 - weight)

    def place_hand(self, side: str, point, weight, frame: str = "chest", **how) -> None:
        """Bring the wrist to a point (T, 3) or (3,), meters, given on the arm's own side (y outward).

        frame: "chest", or "hips" for a point relative to the hips in the heading's frame; call that after the trunk is
        set. how: swivel, pronation, wrist (see `reach`).
        """
        weight = np.broadcast_to(np.asarray(weight, dtype=np.float64), len(self.times))
        # Inverse kinematics is only solved where it has weight.
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
        """Points (T, 3) relative to the hips, in the frame of the chest."""
        mirror = np.array([1, 1 if side == "left" else -1, 1])
        roll, pitch, yaw = self.intent.tilt.T
        rotation = rotation_z(yaw) @ rotation_y(pitch) @ rotation_x(roll)
        origin = np.zeros((len(self.times), 3))
        spine = trunk_rotations(self.intent)
        for name in ("spine_low", "spine_mid", "spine_high", "chest"):
            origin = origin + transform(rotation, self.limbs.offset[name])
            rotation = rotation @ spine[name]
        return transform(rotation.transpose(0, 2, 1), point * mirror - origin) * mirror

    # ---- whole-body building blocks

    def crouch(self, weight: np.ndarray, hips: float, back: float, lean: float) -> None:
        """Lower the hips to a height and move them back (meters), and lean the trunk forward, with weight (T,)."""
        standing = self.limbs.ankle + self.limbs.leg
        self.intent.drop += weight * max(standing - hips, 0)
        self.intent.shift[:, 0] -= weight * back
        self.intent.trunk[:, 1] += weight * lean

    def sit(self, intervals, ramp: float = 1.3) -> np.ndarray:
        """Sit on an imagined seat behind the feet during the intervals. Returns (T,), 0 standing .. 1 seated."""
        seated = envelope(self.times, intervals, ramp)
        # 0.85 m is the length of the legs for which the other numbers were chosen.
        size = self.limbs.leg / 0.85
        seat = size * self.between(0.38, 0.5) + 0.09
        moving = 4 * seated * (1 - seated)
        self.crouch(seated, seat, size * self.between(0.36, 0.46), self.between(-0.02, 0.3))
        # Between standing and sitting the trunk leans forward, which keeps the weight over the feet.
        self.intent.trunk[:, 1] += self.between(0.4, 0.7) * moving
        self.intent.head[:, 1] -= 0.3 * moving
        self.intent.tilt[:, 1] -= self.between(0.0, 0.15) * seated  # a pelvis tilts back on a seat
        for side in SIDES:
            self.intent.knee_out[side] += self.between(-0.05, 0.3) * seated
        return seated

    def move_foot(self, side: str, key_times, offsets: np.ndarray, heel) -> None:
        """Move a foot through offsets (K, 3) at K key times: meters forward, outward, up. heel: its pitch (K,)."""
        mirror = np.array([1, 1 if side == "left" else -1, 1])
        self.intent.foot_offset[side] += follow_keys(self.times, key_times, offsets) * mirror
        self.intent.foot_pitch[side] += follow_keys(self.times, key_times, heel)
        start, end = key_times[0], key_times[-1]
        self.intent.foot_free[side] = np.maximum(
            self.intent.foot_free[side], envelope(self.times, [(start, end)], 0.25 * (end - start))
        )
        # The weight moves over the other foot half a second early, as a person does before lifting a foot.
        over = envelope(self.times, [(start - 0.5, end + 0.5)], 0.7)
        self.intent.shift[:, 1] -= 0.8 * self.limbs.hip_width * mirror[1] * over

    def step_out(self, side: str, weight: np.ndarray, offset, heel: float = 0.0) -> None:
        """Set a foot down at an offset (3,): meters forward, outward, up, with weight (T,). heel: its pitch."""
        mirror = np.array([1, 1 if side == "left" else -1, 1])
        self.intent.foot_offset[side] += weight[:, None] * offset * mirror
        # Lifted on the way, by up to 6 cm.
        self.intent.foot_offset[side][:, 2] += 0.25 * weight * (1 - weight)
        self.intent.foot_pitch[side] += weight * heel

    def look(self, weight, yaw: float, pitch: float) -> None:
        """Rotate the head, and the trunk a little, with weight (T,): yaw to the left, pitch down, radians."""
        weight = np.broadcast_to(weight, len(self.times))[:, None]
        self.intent.head += weight * ([0, 0.8 * pitch, 0.7 * yaw] - 0.6 * self.intent.head)
        self.intent.trunk += weight * [0, 0.1 * pitch, 0.3 * yaw]

    def perform(self) -> Motion:
        """The motion of the intent, at the frames asked for."""
        forward = self.intent.tilt[:, 1] + self.intent.trunk[:, 1]
        # An idle arm keeps hanging down when the trunk bends forward.
        for side in SIDES:
            self.intent.swing[side] += 0.8 * self._idle[side] * np.clip(forward, -0.3, None)
        motion = solve(self.limbs, self.intent, self._rate)
        thin = Motion(motion.rotations[self._frames], motion.translation[self._frames])
        return clear_arms(self.body, self.limbs, thin, self._rate / self._stride)
