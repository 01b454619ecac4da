"""Renders the training layout: posed people in rooms, seen by calibrated cameras, with exact labels and masks.

There are two worlds. In "room", a *sequence* is one motion of one subject at 10 Hz, and a *frame* of it is seen by four
cameras: four crops. In "wild" people, interiors, cameras and boxes differ (datasets/rendered/wild/).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from datasets.cameras.crop_camera import crop_camera, crop_rows
from datasets.layout.arguments import check_at_least, check_split
from datasets.layout.shards import Shard, claim_shard, finish_shard, is_made
from datasets.layout.workers import map_processes
from datasets.layout.writer import LayoutWriter, check_size
from datasets.motion.captured.clips import (
    ClipSegment,
    describe_clips,
    find_clips,
    retarget_segment,
    segment_clips,
    split_clips,
)
from datasets.motion.motions import MOTIONS, procedural_motion
from datasets.people.body import Motion, load_body
from datasets.people.clothes import Wardrobe
from datasets.rendered.raycast import DEVICE, Renderer, RenderView, Room, Triangles, load_kernels
from datasets.rendered.room import build_room, lamp_points
from datasets.rendered.scene import AREA, NUM_CAMERAS, sequence_light, subject_cameras
from datasets.rendered.wild import sessions as wild
from datasets.rendered.wild.recorded import RecordedCameras, read_recorded_cameras
from utils.errors import UserError
from utils.locks import writing

WORLDS = ("room", "wild")
SPLIT_SUBJECTS = {"train": (1, 5, 6, 7, 8), "test": (9, 11)}
FPS = 10
MOTION_FRAMES = 48  # length of a motion; small sets render fewer of its frames, evenly spaced
MIN_FRAMES = 8  # per sequence, if the set is large enough for all subjects
SET_FILE = "render.json"  # what a folder was rendered with


class MotionClip(NamedTuple):
    """One motion of one subject: a sequence to render.

    seq: number of the sequence. motion: its label. frames: the frames of the motion that are rendered.
    segment: the captured motion that it plays; None for procedural motion.
    """

    seq: int
    subject: int
    motion: str
    frames: range
    segment: ClipSegment | None = None

    @property
    def key(self) -> str:
        return f"seq_{self.seq:06d}"

    @property
    def num_crops(self) -> int:
        return NUM_CAMERAS * len(self.frames)


class RenderSet(NamedTuple):
    """What defines a rendered set: the same values give the same bytes on the same kind of device.

    motion: its captured motion, as `describe_clips` gives it; None for procedural motion.
    kinds: its kinds of procedural motion; None for all. cameras: of a recording; None: the world's own. The other
    fields are arguments of `render_dataset`.
    """

    crops: int
    size: int
    seed: int
    split: str
    every: int = 1
    motion: dict | None = None
    kinds: tuple[str, ...] | None = None
    world: str = "room"
    people: int | None = None
    masks: bool = False
    cameras: RecordedCameras | None = None

    def describe(self) -> dict:
        """The content of render.json. Defaults of later fields are left out: a new field keeps old sets valid."""
        named = {name: value for name, value in self._asdict().items() if name != "motion"} | (self.motion or {})
        if self.cameras:
            named["cameras"] = self.cameras.describe()
        later = {name: value for name, value in self._field_defaults.items() if name != "every"}
        return {name: value for name, value in named.items() if name not in later or value != later[name]}


def render_dataset(
    output: str | Path,
    crops: int,
    size: int = 128,
    seed: int = 0,
    split: str = "train",
    every: int = 1,
    motion: str | Path | None = None,
    kinds: tuple[str, ...] | None = None,
    world: str = "room",
    people: int | None = None,
    masks: bool = False,
    cameras: str | Path | None = None,
    upright: bool = False,
    workers: int | None = None,
    device: str = DEVICE,
    progress: bool = True,
    shard: Shard | None = None,
) -> Path:
    """Render a layout of `crops` crops, rounded up to whole frames of all cameras, into the folder `output`.

    An interrupted call is resumed by the same call, and a finished set is left unchanged.

    Args:
        size: side of the crops, pixels.
        split: "train" or "test", which have different subjects.
        every: use every N-th frame of the 10 Hz motions. The set then holds more, and more varied, sequences.
        motion: folder of BVH files, or one file, with captured motion. None: procedural motion.
        kinds: kinds of procedural motion; None: all `MOTIONS`.
        world: "room": one room, few people, four upright cameras. "wild": all of them differ; people also take poses
            composed from parts, and masks are always written.
        people: number of people of the wild world; None: `wild.PEOPLE`, or more for a large set.
        masks: write masks of the person too.
        cameras: calibration file of a recording, whose cameras see the people of the wild world; None: its own ones.
        upright: roll the crops of these cameras so that the world's upward direction is up.
        workers: processes; None: one per core.
        device: of Warp: "cpu", or a GPU such as "cuda:0" that all processes share. It changes pixels by rounding.
        shard: the part of the set to render, into a folder beside `output`; `merge_shards` makes the set of all.
    Returns:
        The folder that was written, or that of the finished set.
    Raises:
        UserError: bad arguments, files or packages, or a folder that holds something else.
    """
    job = RenderSet(crops, size, seed, split, every, kinds=kinds, world=world, people=people, masks=masks)
    job, output = _checked(job, workers), Path(output)
    if cameras is not None:
        job = job._replace(cameras=_recorded(cameras, upright, world))
    elif upright:
        raise UserError("upright given without cameras; expected both, or neither")
    clips = None if motion is None else find_clips(motion)
    if clips:
        job = job._replace(motion=describe_clips(clips))
    # Before all that takes long.
    if is_made(output, SET_FILE, job.describe(), shard):
        return output
    place = shard.folder(output) if shard else output
    segments = segment_clips(split_clips(clips, split), *_clip_limits(job), progress) if clips else None
    # On first use both fill a cache on disk. That happens here once, and not in several workers at a time.
    load_kernels(device), load_body(SPLIT_SUBJECTS[split][0])
    with writing(place):
        if claim_shard(output, SET_FILE, job.describe(), shard):
            return place
        groups = _plan(job, segments)
        groups = shard.take(groups) if shard else groups
        total = _count(groups)
        writer = LayoutWriter(place, size, total)
        todo = [[sequence for sequence in group if not writer.has(sequence.key)] for group in groups]
        todo = [group for group in todo if group]
        done = total - _count(todo)
        with tqdm(total=total, initial=done, unit="crop", desc=f"render {split}", disable=not progress) as bar:
            for count in map_processes(_render_and_write, todo, workers, _start_worker, (job, place, device)):
                bar.update(count)
        finish_shard(writer, shard)
    return place


def _clip_limits(job: RenderSet) -> tuple[float, int, float]:
    """Rate, most frames and area of segments of captured motion."""
    if job.world == "wild":
        return wild.FPS, wild.FRAMES, min(wild.CLIP_AREA, job.cameras.area if job.cameras else wild.CLIP_AREA)
    return FPS, MOTION_FRAMES, AREA


def _plan(job: RenderSet, segments: list[ClipSegment] | None) -> list[list]:
    """The sequences of a set, in groups that one process renders one after the other."""
    if job.world == "wild":
        kinds = job.kinds or MOTIONS
        cameras = (len(job.cameras.centers),) if job.cameras else wild.NUM_CAMERAS
        return wild.plan_sessions(job.crops, job.seed, job.split, job.people, kinds, segments, cameras)
    return [[sequence] for sequence in (plan_captured(job, segments) if segments else plan_sequences(job))]


def _count(groups: list[list]) -> int:
    return sum(sequence.num_crops for group in groups for sequence in group)


def plan_sequences(job: RenderSet) -> list[MotionClip]:
    """All sequences of a set of procedural motion. Subjects have equally many (within one) of all kinds in turn."""
    frames = -(-job.crops // NUM_CAMERAS)
    subjects, kinds = SPLIT_SUBJECTS[job.split], job.kinds or MOTIONS
    # Sequences are as short as it takes for every subject to perform every kind of motion, but not below MIN_FRAMES.
    longest = MOTION_FRAMES // job.every
    length = np.clip(frames // (len(subjects) * len(kinds)), min(MIN_FRAMES, longest), longest)
    count = min(frames, max(len(subjects), -(-frames // int(length))))
    sizes = [len(part) for part in np.array_split(np.arange(frames), count)]
    order = np.random.default_rng([job.seed, 0]).permutation(len(kinds))
    sequences = []
    for seq, size in enumerate(sizes):
        cycle, which = divmod(seq, len(subjects))
        # Subjects start at different kinds of motion, so that even a small set has many of them.
        motion = kinds[order[(cycle + which * len(kinds) // len(subjects)) % len(kinds)]]
        step = MOTION_FRAMES // size
        sequences.append(MotionClip(seq, subjects[which], motion, range(0, size * step, step)))
    return sequences


def plan_captured(job: RenderSet, segments: list[ClipSegment]) -> list[MotionClip]:
    """All sequences of a set of captured motion. Subjects alternate, and each plays every segment in a large set."""
    left = -(-job.crops // NUM_CAMERAS)
    subjects = SPLIT_SUBJECTS[job.split]
    length = max(left // (len(subjects) * len(segments)), MIN_FRAMES)
    length = min(length, max(1, left // len(subjects)))
    order = np.random.default_rng([job.seed, 0]).permutation(len(segments))
    sequences = []
    while left > 0:
        seq = len(sequences)
        # The order shifts by one in every round: otherwise a subject would always get the same segments whenever the
        # number of segments is a multiple of the number of subjects.
        segment = segments[order[(seq + seq // len(segments)) % len(segments)]]
        size = min(left, length, max(1, segment.num_frames // job.every))
        step = segment.num_frames // size
        frames = range(0, size * step, step)
        sequences.append(MotionClip(seq, subjects[seq % len(subjects)], segment.name, frames, segment))
        left -= size
    return sequences


class SequenceRenderer:
    """Renders the sequences of one set. The room and what belongs to a subject are built once and kept."""

    def __init__(self, job: RenderSet, device: str = DEVICE):
        self.job = job
        self.room = Room(build_room(), lamp_points(), device)
        self.subjects: dict[int, tuple[Wardrobe, Triangles]] = {}

    def __call__(self, sequence: MotionClip) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Crops and masks as `Rendering` has them, (N,size,size,...), and the rows of labels.h5.

        Frame by frame, all cameras.
        """
        rng = sequence_rng(self.job, sequence)
        vertices, views, rows = pose_sequence(sequence, rng)
        wardrobe, triangles = self._subject(sequence.subject)
        outfit = wardrobe.dress(rng)
        render = Renderer(self.room, sequence_light(rng), triangles, outfit.colors, outfit.thickness)
        crops = [render.with_mask(*frame, self.job.size) for frame in zip(vertices, views, strict=True)]
        return *(np.concatenate(images) for images in zip(*crops, strict=True)), rows

    def _subject(self, subject: int) -> tuple[Wardrobe, Triangles]:
        if subject not in self.subjects:
            body = load_body(subject)
            triangles = Triangles(self.room, body.faces, len(body.rest_vertices))
            self.subjects[subject] = Wardrobe(body, subject), triangles
        return self.subjects[subject]


def pose_sequence(
    sequence: MotionClip, rng: np.random.Generator
) -> tuple[np.ndarray, list[RenderView], dict[str, np.ndarray]]:
    """Vertices of the moving body (T,V,3), world, meters; the cameras of each frame; and the rows of labels.h5."""
    body = load_body(sequence.subject)
    if sequence.segment:
        motion = retarget_segment(sequence.segment, body, FPS, rng, AREA)
    else:
        motion = procedural_motion(sequence.motion, body, MOTION_FRAMES, FPS, rng, AREA)
    frames = list(sequence.frames)
    vertices, joints = body.pose(Motion(motion.rotations[frames], motion.translation[frames]))
    return vertices, *_label(sequence, joints.astype(np.float64))


def sequence_rng(job: RenderSet, sequence: MotionClip) -> np.random.Generator:
    """The random numbers of a sequence: a stream of its own, so that resuming and workers change no byte."""
    return np.random.default_rng([job.seed, 1, ("train", "test").index(job.split), sequence.seq])


def _label(sequence: MotionClip, joints: np.ndarray) -> tuple[list[RenderView], dict[str, np.ndarray]]:
    """Crop cameras of each frame, and the rows of labels.h5, from world joints (T,17,3)."""
    cameras = subject_cameras(sequence.subject)
    seen = np.einsum("cij,tckj->tcki", cameras.rotations, joints[:, None] - cameras.centers[:, None])
    crop = crop_camera(seen[..., 0, :])
    flat = crop_rows(cameras.rotations, seen, crop)
    rotations, count = flat["extrinsic_rot"], len(joints) * NUM_CAMERAS
    rows = {name: value.reshape(count, *value.shape[2:]) for name, value in flat.items()}
    rows["frame"] = np.repeat(sequence.frames, NUM_CAMERAS)
    rows["cam"] = np.tile(np.arange(NUM_CAMERAS), len(joints))
    rows["seq"], rows["subj"] = np.full(count, sequence.seq), np.full(count, sequence.subject)
    rows["motion"] = np.full(count, sequence.motion)
    views = [RenderView(cameras.centers, rotations[t], crop.intrinsic_crop[t]) for t in range(len(joints))]
    return views, rows


_worker = None  # (renderer, writer, whether masks are written) of this process


def _start_worker(job: RenderSet, output: Path, device: str) -> None:
    global _worker
    if job.world == "wild":
        renderer = wild.SessionRenderer(job.seed, job.split, job.size, device, job.cameras)
    else:
        renderer = SequenceRenderer(job, device)
    _worker = renderer, LayoutWriter(output, job.size, threads=1), job.masks


def _render_and_write(group: list) -> int:
    render, writer, masks = _worker
    for sequence in group:
        img_crop, bg_crop, mask_crop, rows = render(sequence)
        writer.add(img_crop, bg_crop, rows, sequence.key, mask_crop if masks else None)
    return _count([group])


def _recorded(calibration: str | Path, upright: bool, world: str) -> RecordedCameras:
    if world != "wild":
        raise UserError(f"cameras given with world {world!r}, which has its own; expected world wild")
    return read_recorded_cameras(calibration, upright)


def check_world(world: str, kinds: tuple[str, ...] | None) -> None:
    """Raises UserError for a world, or for kinds of procedural motion, that do not exist."""
    if world not in WORLDS:
        raise UserError(f"world {world!r}; expected one of {', '.join(WORLDS)}")
    unknown = sorted(set(kinds or ()) - set(MOTIONS))
    if unknown:
        raise UserError(f"kind of motion {unknown[0]!r} is unknown; expected some of {', '.join(MOTIONS)}")


def _checked(job: RenderSet, workers: int | None) -> RenderSet:
    """The job with what its world decides. Raises UserError for arguments out of range."""
    check_split(job.split, SPLIT_SUBJECTS)
    check_size(job.size)
    check_at_least(0, seed=job.seed)
    check_at_least(1, crops=job.crops, every=job.every, people=job.people, workers=workers)
    check_world(job.world, job.kinds)
    if job.every > MOTION_FRAMES // 2:
        raise UserError(f"every is {job.every}; expected at most {MOTION_FRAMES // 2}, half the frames of a motion")
    if job.world == "wild":
        if job.every != 1:
            raise UserError(f"every is {job.every}; the wild world chooses its instants, expected 1")
        people = job.people or max(wild.PEOPLE[job.split], job.crops // wild.CROPS_PER_PERSON)
        return job._replace(people=people, masks=True)
    if job.people is not None:
        raise UserError(f"people is {job.people}; the room has its own, expected none, or world wild")
    return job
