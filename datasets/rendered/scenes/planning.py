"""Which scenes a set has: how many people, who they are, what they do, in which room."""

from typing import NamedTuple

import numpy as np

from datasets.layout.arguments import MOST
from datasets.motion.motions import MOTIONS
from datasets.rendered.frames import MOST_PEOPLE
from datasets.rendered.scenes.cameras import NUM_CAMERAS
from datasets.rendered.wild.sessions import FIRST_PERSON, PEOPLE
from utils.errors import UserError

INSTANTS = 24  # of a scene, at most; small sets render fewer
FEWEST_INSTANTS = 8
FEWEST_SCENES = 24  # if the set is large enough
FPS, STEP = 10, 4  # motions have 10 frames a second, of which every fourth is rendered
FRAMES_PER_PERSON = 100  # in sets too large for so few people


class SceneSet(NamedTuple):
    """What defines a set of frames: the same values give the same bytes on the same kind of device.

    frames: number of pictures over all cameras. size: (height, width), pixels. people_per_scene: see `people_counts`.
    people: number of people in the set. kinds: of motion, beside walking; None for all. instants: of a scene, at most;
    None for INSTANTS.
    """

    frames: int
    size: tuple[int, int]
    seed: int
    split: str
    people_per_scene: str
    world: str = "room"
    people: int | None = None
    kinds: tuple[str, ...] | None = None
    instants: int | None = None

    def describe(self) -> dict:
        """The content of render.json."""
        return {"content": "frames"} | {name: value for name, value in self._asdict().items() if value is not None}


class Scene(NamedTuple):
    """One sequence: its number, its people, and the number of its instants."""

    seq: int
    subjects: tuple[int, ...]
    instants: int

    @property
    def key(self) -> str:
        return f"seq_{self.seq:06d}"

    @property
    def num_frames(self) -> int:
        return NUM_CAMERAS * self.instants


def people_counts(text: str) -> tuple[int, ...]:
    """The numbers of people that scenes have in turn: "2", a range "0-3", or a list "0,1,2,2" with frequent ones twice.

    Raises UserError for anything else, and for more than `MOST_PEOPLE`.
    """
    counts = []
    for part in str(text).split(","):
        ends = [int(end) if end.isdecimal() else -1 for end in part.strip().split("-")]
        if not (1 <= len(ends) <= 2 and 0 <= ends[0] <= ends[-1] <= MOST_PEOPLE):
            raise UserError(
                f"people-per-scene is {text!r}; expected numbers from 0 to {MOST_PEOPLE}, such as 2, 0-3 or 0,1,2,2"
            )
        counts += range(ends[0], ends[-1] + 1)
    return tuple(counts)


def plan_scenes(job: SceneSet) -> list[Scene]:
    """All scenes of a set. Numbers of people take turns in random order; people meet others in each scene."""
    instants = -(-job.frames // NUM_CAMERAS)
    count = max(-(-instants // (job.instants or INSTANTS)), min(FEWEST_SCENES, instants // FEWEST_INSTANTS), 1)
    rng = np.random.default_rng([job.seed, 4, ("train", "test").index(job.split)])
    counts = people_counts(job.people_per_scene)
    rounds = -(-count // len(counts))
    numbers = np.concatenate([rng.permutation(counts) for _ in range(rounds)])[:count]
    lengths = [len(part) for part in np.array_split(np.arange(instants), count)]
    queue = _people_in_turn(job.people or most_people(job), rng)
    scenes = []
    for seq, (number, length) in enumerate(zip(numbers, lengths, strict=True)):
        subjects = []
        while len(subjects) < number:
            subject = FIRST_PERSON[job.split] + int(next(queue))
            if subject not in subjects:
                subjects.append(subject)
        scenes.append(Scene(seq, tuple(subjects), length))
    return scenes


def most_people(job: SceneSet) -> int:
    """Number of people of a set: as in the wild world, and more in large sets."""
    return min(max(PEOPLE[job.split], job.frames // FRAMES_PER_PERSON), MOST["people"])


def _people_in_turn(people: int, rng: np.random.Generator):
    """Everybody once in random order, then again in another."""
    while True:
        yield from rng.permutation(people)


def scene_rng(job: SceneSet, scene: Scene) -> np.random.Generator:
    """The random numbers of a scene: a stream of its own, so that resuming and workers change no byte."""
    return np.random.default_rng([job.seed, 5, ("train", "test").index(job.split), scene.seq])


def scene_kinds(job: SceneSet) -> tuple[str, ...]:
    """Kinds of motion of those who do not walk."""
    return job.kinds or MOTIONS
