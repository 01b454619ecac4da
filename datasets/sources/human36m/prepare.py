"""Converts Human3.6M from its official download to the training layout, on all cores."""

import os
import shutil
from collections.abc import Callable, Container, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from datasets.cameras.camera import opencv
from datasets.layout.arguments import check_at_least, choose_subjects
from datasets.layout.job import claim_folder, holds_set
from datasets.layout.labels import PARTS_FOLDER, read_statistics
from datasets.layout.workers import worker_pool
from datasets.layout.writer import LayoutWriter, check_size
from datasets.sources.human36m.archives import Source, cdf_library
from datasets.sources.human36m.metadata import CAMERA_IDS, Metadata, RecordedSequence, find_metadata, read_metadata
from datasets.sources.human36m.plan import (
    PlannedView,
    check_views,
    drop_single_view_frames,
    plan_subject,
    pose_lengths,
)
from datasets.sources.human36m.report import ReportRow, SubjectNotes, report_row, write_csv_report
from datasets.sources.human36m.views import Task, camera_backgrounds, view_key, write_planned_view
from datasets.video.crops_of_views import pieces_of, write_background
from datasets.video.frames import pyav
from utils.errors import UserError
from utils.locks import writing

SPLITS = {"train": (1, 5, 6, 7, 8), "test": (9, 11)}
BYTES_PER_PIXEL = 1.5  # of a crop's PNG, with a margin: 1.3 was measured with camera noise


class PrepareSet(NamedTuple):
    """The options that decide what a prepared set holds."""

    subjects: tuple[int, ...]
    every: int
    size: int
    skip_shifted: bool


def prepare_h36m(
    source: str | Path,
    output: str | Path,
    subjects: Iterable[int] | None = None,
    every: int = 5,
    size: int = 128,
    split: str = "train",
    metadata: str | Path | None = None,
    statistics: str | Path | None = None,
    skip_shifted: bool = False,
    skip_broken: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Prepare the Human3.6M download in `source` as a training layout in the folder `output`.

    subjects: numbers of the actors; None: those of `split`, "train" or "test". every: use every N-th frame of the
    50 Hz videos. size: side of the crops, pixels. metadata: metadata.xml, if it is not in `source`. statistics: a
    layout whose `pose_mean` and `pose_std` are copied; None: computed from the new rows. skip_shifted: leave out the
    three sequences of S9 whose poses are shifted, which labels.h5 otherwise marks by `shifted`. skip_broken: leave out
    videos that are missing or do not open, and what is behind the end or break of others, instead of an error.
    workers: number of processes; None: one per core.

    An interrupted call resumes where it stopped, and a finished set stays as it is. `report.csv` in the folder lists
    every video. Returns the folder. Raises UserError for bad arguments, missing packages and files, damaged archives
    and videos, and too little disk space.
    """
    job, output = PrepareSet(choose_subjects(subjects, split, SPLITS), every, size, skip_shifted), Path(output)
    _check_arguments(job, workers)
    # A missing package is reported now and not after an hour of unpacking.
    pyav(), opencv(), cdf_library()
    mean_std = read_statistics(statistics)
    mark = output, "prepare.json", job._asdict(), statistics
    with writing(output):
        # A finished set needs no source, and where something else is, none is read.
        if not holds_set(*mark):
            files = Source(source, scratch_folder(output), progress)
            table = read_metadata(find_metadata(Path(source), metadata))
            preparation = Preparation(job, files, output, table, skip_broken)
            preparation.check(progress)
        if not claim_folder(*mark):
            writer = LayoutWriter(output, size)
            preparation.run(workers, progress)
            rows = preparation.notes.rows(job.subjects)
            write_csv_report(output, rows)
            writer.finish(*mean_std, keys=[key for row in rows for key in _pieces(row)])
        shutil.rmtree(scratch_folder(output), ignore_errors=True)
    return output


class Preparation:
    """The conversion of one set, subject by subject."""

    def __init__(self, job: PrepareSet, source: Source, output: Path, metadata: Metadata, skip_broken: bool):
        self.job, self.source, self.output, self.metadata = job, source, output, metadata
        self.skip_broken = skip_broken
        self.notes = SubjectNotes(output / PARTS_FOLDER)
        self.lengths: dict[int, dict[RecordedSequence, int]] = {}
        self.plans: dict[int, list[PlannedView]] = {}

    def check(self, progress: bool) -> None:
        """Check all poses and all unpacked videos. Raises UserError before any long work."""
        written = self._written()
        todo = [subject for subject in self.job.subjects if not self._is_done(subject, written)]
        packed = {subject: self.source.packed_videos(subject) for subject in todo}
        self.lengths = {subject: self._lengths(subject) for subject in todo}
        self._check_space(written, todo)
        whole = [subject for subject in todo if not packed[subject]]
        for subject in tqdm(whole, "check videos", unit="subject", disable=not progress):
            self.plans[subject] = self._plan(subject)

    def run(self, workers: int | None, progress: bool) -> None:
        """Prepare the subjects that `check` found unfinished. Raises UserError at the end if any video was broken."""
        broken: list[ReportRow] = []
        total = sum(self._estimate(subject) for subject in self.lengths)
        bar = tqdm(total=total, unit="crop", desc="prepare", disable=not progress)
        with bar, worker_pool(workers) as run:
            for subject in self.lengths:
                views = self.plans.get(subject) or self._plan(subject)
                # The total was estimated from the poses; now that the videos are open, it is known.
                bar.total += sum(len(view.frames) for view in views) - self._estimate(subject)
                rows, failed = self._run_subject(views, run, bar)
                broken += failed
                if self.skip_broken or not failed:
                    self.notes.add(subject, rows)
                # The disk holds the unpacked videos of one subject at a time.
                self.source.remove_videos(subject)
        if broken and not self.skip_broken:
            raise UserError(
                f"{len(broken)} videos are broken, first {broken[0].note}; all others are done: "
                "repair these and run again, or use --skip-broken"
            )

    def _run_subject(
        self, views: list[PlannedView], run: Callable, bar: tqdm
    ) -> tuple[list[ReportRow], list[ReportRow]]:
        """Report rows of all views, and of the broken ones."""
        todo = [view for view in views if len(view.frames)]
        subject = f"S{views[0].sequence.subject}"
        bar.set_description(f"{subject} backgrounds")
        for _ in run(write_background, camera_backgrounds(self.output, todo)):
            bar.refresh()
        bar.set_description(f"{subject} crops")
        rows, failed = [report_row(view, 0, view.note) for view in views if not len(view.frames)], []
        task = Task(self.output, self.job.size, self.metadata)
        for view, crops, error in run(partial(write_planned_view, task), todo):
            # A video that is broken in the official download is a note, not a failure.
            rows.append(report_row(view, crops, error or view.note))
            failed += rows[-1:] if error and not view.known_broken else []
            bar.update(len(view.frames))
        return sorted(rows), failed

    def _written(self) -> set[str]:
        """Keys of the pieces on disk that can be read. A folder without any stays as it is."""
        if not self.notes.folder.is_dir():
            return set()
        writer = LayoutWriter(self.output, self.job.size)
        return {key for key in writer.finished_keys if writer.has(key)}

    def _is_done(self, subject: int, written: set[str]) -> bool:
        """Whether a subject is finished, and none of its pieces was lost or damaged since."""
        return self.notes.has(subject) and all(written.issuperset(_pieces(row)) for row in self.notes.rows([subject]))

    def _lengths(self, subject: int) -> dict[RecordedSequence, int]:
        with self.source.checking(subject, ".cdf"):
            return pose_lengths(self.metadata, self.source, subject)

    def _plan(self, subject: int) -> list[PlannedView]:
        with self.source.checking(subject, ".mp4"):
            views = plan_subject(self.source, self.lengths[subject], subject, self.job.every)
            if not self.skip_broken:
                check_views(views)
        left_out = "left out: its poses are shifted"
        return drop_single_view_frames(
            view._replace(num_frames=0, note=left_out) if view.shifted and self.job.skip_shifted else view
            for view in views
        )

    def _estimate(self, subject: int, written: Container[str] = ()) -> int:
        """Number of crops of a subject, but for those of the pieces `written`, if no video is too short."""
        parts = (
            pieces_of(view_key(sequence, cam), len(range(0, length, self.job.every)))
            for sequence, length in self.lengths[subject].items()
            for cam in range(len(CAMERA_IDS))
        )
        return sum(part.stop - part.start for of in parts for key, part in of.items() if key not in written)

    def _check_space(self, written: set[str], subjects: list[int]) -> None:
        """Raises UserError for a disk that is too small for what is not `written` yet."""
        # Two images per row: the crop and its background.
        rows = sum(self._estimate(subject, written) for subject in subjects)
        crops, unpacked = 2 * self.job.size**2 * BYTES_PER_PIXEL * rows, self.source.bytes_to_unpack(subjects)
        existing = next(path for path in (self.output, *self.output.absolute().parents) if path.exists())
        free = shutil.disk_usage(existing).free
        if crops + unpacked > free:
            need = f"{(crops + unpacked) / 1e9:.1f} GB ({crops / 1e9:.1f} for crops, {unpacked / 1e9:.1f} to unpack)"
            raise UserError(f"{self.output}: {free / 1e9:.1f} GB are free; expected {need}")


def scratch_folder(output: Path) -> Path:
    """The folder beside a set to which archives are unpacked."""
    # A path such as "." has no name.
    output = Path(os.path.abspath(output))
    return output.with_name(f".{output.name}.unpacked")


def _pieces(row: ReportRow) -> list[str]:
    """Keys of the pieces that hold the crops of a view."""
    return list(pieces_of(view_key(row, row.cam), row.crops))


def _check_arguments(job: PrepareSet, workers: int | None) -> None:
    if not job.subjects:
        raise UserError("no subjects; expected at least one, such as 1 5 6")
    check_size(job.size)
    check_at_least(1, every=job.every, workers=workers)
