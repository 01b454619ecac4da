"""What became of every sequence and camera: nothing is left out silently."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from datasets.sources.human36m.metadata import CAMERA_IDS
from datasets.sources.human36m.plan import PlannedView
from utils.files import write_atomically

REPORT_FILE = "report.csv"


class ReportRow(NamedTuple):
    """One camera of one sequence: lengths of its poses and its video, crops made of it, and what was odd."""

    subject: int
    seq: int
    name: str
    cam: int
    camera_id: str
    poses: int
    frames: int
    crops: int
    note: str


def report_row(view: PlannedView, crops: int, note: str) -> ReportRow:
    """The report's line on a view of which `crops` crops were made."""
    sequence = view.sequence
    return ReportRow(
        sequence.subject,
        sequence.seq,
        sequence.name,
        view.cam,
        CAMERA_IDS[view.cam],
        view.num_poses,
        view.num_frames,
        crops,
        note,
    )


class SubjectNotes:
    """Entries of the subjects that are done, kept in a folder so that a later call knows them."""

    def __init__(self, folder: Path):
        self.folder = folder

    def has(self, subject: int) -> bool:
        """Whether the subject is done."""
        return self._file(subject).exists()

    def add(self, subject: int, entries: list[ReportRow]) -> None:
        """The subject is done, with these entries."""
        write_atomically(self._file(subject), lambda part: part.write_text(json.dumps(entries)))

    def entries(self, subjects: Iterable[int]) -> list[ReportRow]:
        """Entries of these subjects, which must be done."""
        return [ReportRow(*line) for subject in subjects for line in json.loads(self._file(subject).read_text())]

    def _file(self, subject: int) -> Path:
        return self.folder / f"S{subject}.json"


def write_csv_report(output: Path, entries: list[ReportRow]) -> None:
    """Write `report.csv` to the folder `output`."""

    def write(part: Path) -> None:
        with open(part, "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(ReportRow._fields)
            table.writerows(entries)

    write_atomically(output / REPORT_FILE, write)


def report_text(output: str | Path) -> str:
    """What `report.csv` in a prepared folder says: crops by subject, and every sequence with a note."""
    with open(Path(output) / REPORT_FILE, newline="") as file:
        rows = list(csv.DictReader(file))
    lines = []
    for subject in dict.fromkeys(row["subject"] for row in rows):
        own = [row for row in rows if row["subject"] == subject]
        used = [row for row in own if int(row["crops"])]
        crops = sum(int(row["crops"]) for row in own)
        lines.append(f"S{subject}: {crops} crops of {len(used)} videos; {len(own) - len(used)} left out")
    noted = [
        f"S{row['subject']} {row['name']}, camera {row['camera_id']}: {row['note']}" for row in rows if row["note"]
    ]
    return "\n".join([*lines, *noted])
