"""The report of a preparation: one row for each view, so that nothing is left out silently."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from datasets.sources.human36m.metadata import CAMERA_IDS
from datasets.sources.human36m.plan import PlannedView
from utils.errors import UserError
from utils.files import write_csv, write_text
from utils.readers import read_csv, read_json, reading

CSV_REPORT_FILE = "report.csv"


class ReportRow(NamedTuple):
    """One view: the lengths of its poses and its video, the number of its crops, and a note on anything unusual."""

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
    """The row of a view of which `crops` crops were written."""
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
    """Report rows of finished subjects, stored in a folder for calls that resume."""

    def __init__(self, folder: Path):
        self.folder = folder

    def has(self, subject: int) -> bool:
        """Whether the subject is finished."""
        return self._file(subject).exists()

    def add(self, subject: int, rows: list[ReportRow]) -> None:
        """Mark the subject as finished and store its rows."""
        write_text(self._file(subject), json.dumps(rows))

    def rows(self, subjects: Iterable[int]) -> list[ReportRow]:
        """Rows of these subjects, which must be finished."""
        # JSON has no named tuples: a row is stored as a list.
        return [row for subject in subjects for row in _read_notes(self._file(subject))]

    def _file(self, subject: int) -> Path:
        return self.folder / f"S{subject}.json"


def _read_notes(file: Path) -> list[ReportRow]:
    kinds = tuple(ReportRow.__annotations__.values())
    lines = read_json(file, list)
    if any(not isinstance(line, list) or tuple(map(type, line)) != kinds for line in lines):
        raise UserError(f"{str(file)!r} holds other rows; expected {', '.join(ReportRow._fields)}: remove it to go on")
    return [ReportRow(*line) for line in lines]


def write_csv_report(output: Path, rows: list[ReportRow]) -> None:
    """Write `report.csv` to the folder of a set."""
    write_csv(output / CSV_REPORT_FILE, ReportRow._fields, rows)


def report_text(output: str | Path) -> str:
    """Summary of `report.csv` in a folder: crops by subject, and all views with a note."""
    path = Path(output) / CSV_REPORT_FILE
    rows, lines = read_csv(path, ReportRow._fields), []
    with reading(path, "a report of Human3.6M; remove its folder to make it again"):
        counts = [int(row["crops"]) for row in rows]
    for subject in dict.fromkeys(row["subject"] for row in rows):
        of_subject = [count for row, count in zip(rows, counts, strict=True) if row["subject"] == subject]
        used = sum(count > 0 for count in of_subject)
        lines.append(f"S{subject}: {sum(of_subject)} crops of {used} videos; {len(of_subject) - used} left out")
    noted = [
        f"S{row['subject']} {row['name']}, camera {row['camera_id']}: {row['note']}" for row in rows if row["note"]
    ]
    return "\n".join([*lines, *noted])
