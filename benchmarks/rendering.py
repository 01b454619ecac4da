"""Rate of rendering, without the time to load bodies and clothes."""

import os
import time
from collections import defaultdict
from pathlib import Path

from datasets.layout.workers import map_processes
from datasets.layout.writer import LayoutWriter
from datasets.rendered.dataset import SPLIT_SUBJECTS, RenderSet, SequenceRenderer, plan_sequences
from utils.cores import available_cores

PIECE = 32  # crops of the shortest sequence

_worker = None  # (renderer, writer) of this process


def render_rate(folder: Path, size: int, pieces: int, workers: int | None) -> float:
    """Crops per second of `workers` processes (None: one per core), without the first sequence of each."""
    subjects = SPLIT_SUBJECTS["train"]
    workers = workers or available_cores()
    job = RenderSet((pieces + workers) * PIECE * len(subjects), size, 0, "train")
    # Only one subject, because the first sequence of a subject also loads its clothes.
    todo = [sequence for sequence in plan_sequences(job) if sequence.subject == subjects[0]]
    # A process starts with loading the body, and maybe with building caches. Its first sequence is not counted.
    runs = defaultdict(list)
    for process, started, ended, crops in map_processes(_render, todo, workers, _start, (job, folder)):
        runs[process].append((started, ended, crops))
    kept = [sorted(run)[1:] for run in runs.values() if len(run) > 1]
    return sum(sum(piece[2] for piece in run) / (run[-1][1] - run[0][0]) for run in kept)


def _start(job: RenderSet, folder: Path) -> None:
    global _worker
    _worker = SequenceRenderer(job), LayoutWriter(folder, job.size, threads=1)


def _render(sequence) -> tuple[int, float, float, int]:
    started = time.time()
    render, writer = _worker
    img_crop, bg_crop, _, rows = render(sequence)
    writer.add(img_crop, bg_crop, rows, sequence.key)
    return os.getpid(), started, time.time(), len(img_crop)
