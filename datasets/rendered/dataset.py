"""Renders the training layout: posed people in a lab, seen by four calibrated cameras, with exact labels."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from datasets.cameras.crop_camera import crop_camera, crop_rows
from datasets.layout.arguments import check_at_least, check_split
from datasets.layout.workers import claim_folder, map_processes
from datasets.layout.writer import LayoutWriter, check_size
from datasets.motion.captured.clips import Piece, cut_pieces, describe_clips, find_clips, play, split_clips
from datasets.motion.motions import MOTIONS, make_motion
from datasets.people.body import Motion, load_body
from datasets.people.clothes import Wardrobe
from datasets.rendered.raycast import Renderer, Room, View, default_device, warp_kernels
from datasets.rendered.room import build_room, lamp_points
from datasets.rendered.scene import AREA, NUM_CAMERAS, sequence_light, subject_cameras
from utils.errors import UserError

SUBJECTS = {"train": (1, 5, 6, 7, 8), "test": (9, 11)}
FPS = 10
MOTION_FRAMES = 48  # instants of a whole sequence; small sets take fewer of them, evenly spread
MIN_INSTANTS = 8  # per sequence, where the set is large enough for all subjects
SET_FILE = "render.json"  # what a folder was rendered with


class Sequence(NamedTuple):
    """One motion of one subject; `frames` are the instants that are rendered, at 10 Hz; `piece`: captured motion."""

    seq: int
    subject: int
    motion: str
    frames: range
    piece: Piece | None = None

    @property
    def key(self) -> str:
        return f"seq_{self.seq:06d}"


class RenderSet(NamedTuple):
    """What a rendered set is: the same values give the same bytes on the same kind of device.

    motion: the captured motion in it (see `describe_clips`), if any. kinds: the kinds of made motion; None: all.
    """

    crops: int
    size: int
    seed: int
    split: str
    every: int = 1
    motion: dict | None = None
    kinds: tuple[str, ...] | None = None

    def describe(self) -> dict:
        """What is asked for, by name."""
        named = {name: value for name, value in self._asdict().items() if name != "motion"} | (self.motion or {})
        return {name: value for name, value in named.items() if value is not None}


def render_dataset(
    output: str | Path,
    crops: int,
    size: int = 128,
    seed: int = 0,
    split: str = "train",
    every: int = 1,
    motion: str | Path | None = None,
    kinds: tuple[str, ...] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Render a layout of `crops` crops (rounded up to whole instants of four cameras) to the folder `output`.

    size: side of the crops, pixels. split: "train" or "test", whose subjects differ. every: take every n-th instant
    of the motions, which run at 10 Hz; the set then holds more, and more different, sequences. motion: a folder of BVH
    files, or one, that people move as; None: made motion, of these `kinds` (None: of all `MOTIONS`). workers:
    processes on a CPU; None: one per core. An interrupted call goes on where it stopped, and a finished set is left as
    it is.
    Returns the folder. Raises UserError for bad arguments, files or packages and a folder that holds something else.
    """
    job, output = RenderSet(crops, size, seed, split, every, kinds=kinds), Path(output)
    _check_arguments(job, workers)
    pieces = None
    if motion is not None:
        clips = find_clips(motion)
        pieces = cut_pieces(split_clips(clips, split), FPS, MOTION_FRAMES, AREA, progress)
        job = job._replace(motion=describe_clips(clips))
    warp_kernels(), load_body(SUBJECTS[split][0])  # both fill caches at their first use on a machine: before workers do
    if claim_folder(output, SET_FILE, job.describe()):
        return output
    sequences = plan_captured(job, pieces) if pieces else plan_sequences(job)
    total = NUM_CAMERAS * sum(len(sequence.frames) for sequence in sequences)
    writer = LayoutWriter(output, size, total)
    todo = [sequence for sequence in sequences if not writer.has(sequence.key)]
    done = total - NUM_CAMERAS * sum(len(sequence.frames) for sequence in todo)
    workers = workers if default_device() == "cpu" else 1
    with tqdm(total=total, initial=done, unit="crop", desc=f"render {split}", disable=not progress) as bar:
        for count in map_processes(_render_and_write, todo, workers, _start_worker, (job, output)):
            bar.update(count)
    writer.finish()
    return output


def plan_sequences(job: RenderSet) -> list[Sequence]:
    """All sequences of a set. Every subject has equally many (within one), and takes turns at all motions."""
    instants = -(-job.crops // NUM_CAMERAS)
    subjects, kinds = SUBJECTS[job.split], job.kinds or MOTIONS
    longest = MOTION_FRAMES // job.every
    length = np.clip(instants // (len(subjects) * len(kinds)), min(MIN_INSTANTS, longest), longest)
    count = min(instants, max(len(subjects), -(-instants // int(length))))
    sizes = [len(part) for part in np.array_split(np.arange(instants), count)]
    order = np.random.default_rng([job.seed, 0]).permutation(len(kinds))
    sequences = []
    for seq, size in enumerate(sizes):
        turn, which = divmod(seq, len(subjects))
        motion = kinds[order[(turn + which * len(kinds) // len(subjects)) % len(kinds)]]
        step = MOTION_FRAMES // size
        sequences.append(Sequence(seq, subjects[which], motion, range(0, size * step, step)))
    return sequences


def plan_captured(job: RenderSet, pieces: list[Piece]) -> list[Sequence]:
    """All sequences of a set of captured motion. Subjects take turns, each at all pieces, and at different ones."""
    left = -(-job.crops // NUM_CAMERAS)
    subjects = SUBJECTS[job.split]
    length = max(left // (len(subjects) * len(pieces)), MIN_INSTANTS)
    length = min(length, max(1, left // len(subjects)))
    order = np.random.default_rng([job.seed, 0]).permutation(len(pieces))
    sequences = []
    while left > 0:
        seq = len(sequences)
        piece = pieces[order[(seq + seq // len(pieces)) % len(pieces)]]  # another subject in every round
        size = min(left, length, max(1, piece.instants // job.every))
        step = piece.instants // size
        frames = range(0, size * step, step)
        sequences.append(Sequence(seq, subjects[seq % len(subjects)], piece.name, frames, piece))
        left -= size
    return sequences


class SequenceRenderer:
    """Renders the sequences of one set; keeps the room and the subjects' wardrobes."""

    def __init__(self, job: RenderSet):
        self.job = job
        self.room = Room(build_room(), lamp_points(), default_device())
        self.wardrobes: dict[int, Wardrobe] = {}

    def __call__(self, sequence: Sequence) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """`img_crop`, `bg_crop` (N,size,size,3) uint8 and the rows of labels.h5; instant by instant, all cameras."""
        rng = _sequence_rng(self.job, sequence)
        vertices, views, rows = pose_sequence(sequence, rng)
        look = self._wardrobe(sequence.subject).dress(rng)
        faces = load_body(sequence.subject).faces
        render = Renderer(self.room, sequence_light(rng), faces, look.colours, look.thickness)
        crops = [render(*instant, self.job.size) for instant in zip(vertices, views, strict=True)]
        img_crop, bg_crop = (np.concatenate(images) for images in zip(*crops, strict=True))
        return img_crop, bg_crop, rows

    def _wardrobe(self, subject: int) -> Wardrobe:
        if subject not in self.wardrobes:
            self.wardrobes[subject] = Wardrobe(load_body(subject), subject)
        return self.wardrobes[subject]


def label_sequence(job: RenderSet, sequence: Sequence) -> dict[str, np.ndarray]:
    """The rows of labels.h5 that a sequence gives, without its pictures."""
    return pose_sequence(sequence, _sequence_rng(job, sequence))[2]


def pose_sequence(sequence: Sequence, rng: np.random.Generator) -> tuple[np.ndarray, list[View], dict[str, np.ndarray]]:
    """Vertices of the moving body (T,V,3), world, metres; the views of each instant, and the rows of labels.h5."""
    body = load_body(sequence.subject)
    if sequence.piece:
        motion = play(sequence.piece, body, FPS, rng, AREA)
    else:
        motion = make_motion(sequence.motion, body, MOTION_FRAMES, FPS, rng, AREA)
    frames = list(sequence.frames)
    vertices, joints = body.pose(Motion(motion.rotations[frames], motion.translation[frames]))
    return vertices, *_label(sequence, joints.astype(np.float64))


def _sequence_rng(job: RenderSet, sequence: Sequence) -> np.random.Generator:
    return np.random.default_rng([job.seed, 1, ("train", "test").index(job.split), sequence.seq])


def _label(sequence: Sequence, joints: np.ndarray) -> tuple[list[View], dict[str, np.ndarray]]:
    """Turned cameras of each instant, and the rows of labels.h5, from world joints (T,17,3)."""
    cameras = subject_cameras(sequence.subject)
    seen = np.einsum("cij,tckj->tcki", cameras.rotations, joints[:, None] - cameras.centres[:, None])
    crop = crop_camera(seen[..., 0, :])
    flat = crop_rows(cameras.rotations, seen, crop)
    rotations, count = flat["extrinsic_rot"], len(joints) * NUM_CAMERAS
    rows = {name: value.reshape(count, *value.shape[2:]) for name, value in flat.items()}
    rows["frame"] = np.repeat(sequence.frames, NUM_CAMERAS)
    rows["cam"] = np.tile(np.arange(NUM_CAMERAS), len(joints))
    rows["seq"], rows["subj"] = np.full(count, sequence.seq), np.full(count, sequence.subject)
    rows["motion"] = np.full(count, sequence.motion)
    views = [View(cameras.centres, rotations[t], crop.intrinsic_crop[t]) for t in range(len(joints))]
    return views, rows


_worker = None  # (renderer, writer) of this process


def _start_worker(job: RenderSet, output: Path) -> None:
    global _worker
    _worker = SequenceRenderer(job), LayoutWriter(output, job.size, threads=1)


def _render_and_write(sequence: Sequence) -> int:
    render, writer = _worker
    img_crop, bg_crop, rows = render(sequence)
    writer.add(img_crop, bg_crop, rows, sequence.key)
    return len(img_crop)


def _check_arguments(job: RenderSet, workers: int | None) -> None:
    check_split(job.split, SUBJECTS)
    check_size(job.size)
    check_at_least(0, seed=job.seed)
    check_at_least(1, crops=job.crops, every=job.every, workers=workers)
    unknown = sorted(set(job.kinds or ()) - set(MOTIONS))
    if unknown:
        raise UserError(f"kind of motion {unknown[0]!r} is unknown; expected some of {', '.join(MOTIONS)}")
    if job.every > MOTION_FRAMES // 2:
        raise UserError(f"every is {job.every}; expected at most {MOTION_FRAMES // 2}, half the instants of a motion")
