"""Rate of rendering, without the time to load bodies and clothes."""

import time
from pathlib import Path

from datasets.layout.workers import map_processes
from datasets.layout.writer import LayoutWriter
from datasets.motion.motions import MOTIONS
from datasets.rendered.dataset import MOTION_FRAMES, SPLIT_SUBJECTS, MotionClip, RenderSet, SequenceRenderer
from datasets.rendered.scene import NUM_CAMERAS
from utils.cores import available_cores

PIECE = 32  # crops of a sequence
LEAST = 4  # sequences of a process that count

_worker = None  # (renderer, writer) of this process


def render_rate(folder: Path, size: int, pieces: int, workers: int | None) -> float:
    """Crops per second of `workers` processes (None: one per core), without the first sequence of each."""
    workers = workers or available_cores()
    plan = plan_pieces(pieces, workers)
    job = RenderSet(sum(sequence.num_crops for part in plan for sequence in part), size, 0, "train")
    return sum(map_processes(_rate, plan, workers, _start, (job, folder)))


def plan_pieces(pieces: int, workers: int) -> list[list[MotionClip]]:
    """The sequences of each process: one that does not count, and then its share of `pieces`, at least LEAST."""
    each = 1 + max(LEAST, -(-pieces // workers))
    frames = range(0, MOTION_FRAMES, MOTION_FRAMES * NUM_CAMERAS // PIECE)
    # Only one subject, because the first sequence of a subject also loads its clothes.
    subject = SPLIT_SUBJECTS["train"][0]
    sequences = [MotionClip(i, subject, MOTIONS[i % len(MOTIONS)], frames) for i in range(each * workers)]
    return [sequences[first : first + each] for first in range(0, len(sequences), each)]


def _start(job: RenderSet, folder: Path) -> None:
    global _worker
    _worker = SequenceRenderer(job), LayoutWriter(folder, job.size, threads=1)


def _rate(sequences: list[MotionClip]) -> float:
    """Crops per second of this process."""
    first, *counted = sequences
    # A process starts with loading the body, and maybe with building caches.
    _render(first)
    started = time.perf_counter()
    crops = sum(map(_render, counted))
    return crops / (time.perf_counter() - started)


def _render(sequence: MotionClip) -> int:
    render, writer = _worker
    img_crop, bg_crop, _, rows = render(sequence)
    writer.add(img_crop, bg_crop, rows, sequence.key)
    return len(img_crop)
