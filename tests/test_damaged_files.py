"""Text that people write or edit is read, or refused with a line that names the file: a seeded fuzz."""

import json
from types import SimpleNamespace

import pytest

from datasets.cameras.calibration import read_calibration
from datasets.layout.job import read_text_report
from datasets.motion.captured.bvh import read_bvh
from datasets.motion.captured.capture import analyze
from datasets.sources.human36m.report import ReportRow, SubjectNotes, report_text, write_csv_report
from datasets.sources.own_videos.boxes import BOX_COLUMNS, read_boxes
from datasets.sources.own_videos.recordings import read_recordings
from tests.damage import assert_refused_or_read
from tests.moving_figure import write_figure
from training.experiments.run import _costs
from training.loop.curves import read_curves
from training.loop.run_folder import CsvLog

CAMERA = {"width": 640, "height": 480, "K": [900, 0, 320, 0, 900, 240, 0, 0, 1], "rvec": [0, 1, 0], "t": [0, 0, 4]}


def test_calibration(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"unit": "m", "cameras": {"a": CAMERA, "b": CAMERA}}))
    assert_refused_or_read(read_calibration, tmp_path / "c.json", 150)


def test_boxes(tmp_path):
    rows = [("ab"[i % 2], i // 2, 10, 20.5, 60, 120) for i in range(8)]
    (tmp_path / "b.csv").write_text("\n".join(",".join(map(str, row)) for row in (BOX_COLUMNS, *rows)))
    (tmp_path / "b.json").write_text(json.dumps([dict(zip(BOX_COLUMNS, row, strict=True)) for row in rows]))
    for name in ("b.csv", "b.json"):
        assert_refused_or_read(lambda file: read_boxes(file, "ab"), tmp_path / name, 120)


def test_recordings(tmp_path):
    videos = {name: f"{name}.mp4" for name in "ab"}
    recording = {"name": "x", "subject": 1, "videos": videos, "offsets": {"a": 2}, "poses": "p.npz"}
    for name in ("a.mp4", "b.mp4", "p.npz", "c.json"):
        (tmp_path / name).touch()
    (tmp_path / "r.json").write_text(json.dumps({"calibration": "c.json", "recordings": [recording]}))
    read_recordings(tmp_path / "r.json")
    assert_refused_or_read(read_recordings, tmp_path / "r.json", 120)


def test_motion(tmp_path):
    lines = write_figure(tmp_path / "m.bvh").read_text().splitlines()
    start = next(row for row, line in enumerate(lines) if line.startswith("Frames:"))
    lines[start] = "Frames: 12"
    (tmp_path / "m.bvh").write_text("\n".join(lines[: start + 14]))
    assert_refused_or_read(lambda file: analyze(read_bvh(file), file.name), tmp_path / "m.bvh", 100)


def test_record_of_a_run(tmp_path):
    session = {"begin": "2026-11-27T10:15:11+00:00", "end": "2026-11-27T10:15:12+00:00", "commit": "abc"}
    (tmp_path / "run.json").write_text(json.dumps({"best_score": 12.5, "sessions": [session, session]}))
    assert_refused_or_read(lambda file: _costs([SimpleNamespace(record_file=file)]), tmp_path / "run.json", 150)


def test_log_of_a_run(tmp_path):
    (tmp_path / "log.txt").write_text("iteration,loss,rgb\n1,0.5,0.25\n2,0.5,0.25\n3,0.5,0.25\n")
    row = {"iteration": 4, "loss": 0.5, "rgb": 0.25}
    assert_refused_or_read(lambda file: CsvLog(file, 3).append(row), tmp_path / "log.txt", 150)


ROWS = [
    ReportRow(9, seq, "Walking 1", 2, "58860488", 30, 31, crops, "" if crops else "left out")
    for seq, crops in ((0, 12), (1, 0))
]
OWN = {
    "report.csv": (lambda folder: write_csv_report(folder, ROWS), report_text),
    "S9.json": (lambda folder: SubjectNotes(folder).add(9, ROWS), lambda folder: SubjectNotes(folder).rows([9])),
    "report.txt": (
        lambda folder: (folder / "report.txt").write_text("3 of 3 instants\n  cam01: all\n"),
        read_text_report,
    ),
    "log.txt": (
        lambda folder: (folder / "log.txt").write_text("iteration,loss\n1,0.5\n2,0.4\n"),
        lambda folder: read_curves(folder / "log.txt"),
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_what_an_earlier_call_left(name, tmp_path):
    write, read = OWN[name]
    write(tmp_path)
    assert read(tmp_path)
    assert_refused_or_read(lambda file: read(file.parent), tmp_path / name, 100)
