"""The summary of an evaluation, and its tables per subject and motion."""

import re

import numpy as np
import pytest

from tests.runs import read_log
from training.trained.tables import group_means, summary_text, table_text, write_table

POSES = {"mpjpe_mm": 80.0, "n_mpjpe_mm": 75.0, "n_mpjpe_published_mm": 79.7, "pa_mpjpe_mm": 60.0}
MEAN_POSE = {f"mean_pose_{name}": 2 * value for name, value in POSES.items()}
VIEWS = {"psnr": 25.0, "ssim": 0.9, "psnr_foreground": 18.0}
BACKGROUND = {"background_psnr": 21.0, "background_ssim": 0.85, "background_psnr_foreground": 13.5}
EVERYTHING = {**POSES, **MEAN_POSE, **VIEWS, **BACKGROUND}


def lines_of(scores):
    """Name of each line of the summary -> its cells."""
    lines = summary_text(scores).splitlines()
    assert all(len(line) < 80 for line in lines)
    return {line[:32].strip(): line[32:].split() for line in lines}


def test_the_summary_compares_poses_and_views():
    poses = lines_of({**EVERYTHING, "psnr": np.nan})
    assert poses["3D pose, error in mm"] == ["N-MPJPE", "MPJPE", "PA-MPJPE"]
    assert poses["this network"] == ["75.0", "80.0", "60.0"]
    assert poses["mean pose of the training set"] == ["150.0", "160.0", "120.0"]
    assert poses["ratio"] == ["0.50", "0.50", "0.50"]
    views = lines_of({**VIEWS, **BACKGROUND})
    assert views["this network"] == ["25.0", "18.0", "0.900"]
    assert views["background only"] == ["21.0", "13.5", "0.850"]
    assert views["gain"] == ["+4.0", "+4.5", "+0.050"]
    assert summary_text(EVERYTHING).count("this network") == 2


@pytest.mark.parametrize(
    ("scores", "absent"),
    [
        ({**POSES, **MEAN_POSE}, ["novel views", "gain"]),
        ({**VIEWS, **BACKGROUND}, ["3D pose", "ratio"]),
        ({"psnr": 25.0, "ssim": 0.9}, ["background", "gain", "person"]),
    ],
    ids=["poses", "views", "views without backgrounds"],
)
def test_only_what_was_measured_is_in_the_summary(scores, absent):
    text = summary_text(scores)
    assert text and not any(word in text for word in absent)


def rows_of(text):
    """(subject, motion) of the rows of a Markdown table."""
    cells = [[cell.strip() for cell in line.split("|")[1:3]] for line in text.splitlines() if line.startswith("|")]
    return [tuple(row) for row in cells[2:]]


@pytest.mark.parametrize(
    ("pairs", "shown"),
    [
        ([("9", "walk"), ("9", "sit"), ("11", "walk")], "all all, 9 sit, 9 walk, 9 all, 11 walk, all walk"),
        ([("9", "walk"), ("9", "sit")], "all all, 9 sit, 9 walk"),
        ([("9", "walk"), ("11", "walk")], "all all, 9 walk, 11 walk"),
        ([("9", "walk")], "all all, 9 walk"),
    ],
    ids=["both", "one subject", "one motion", "one row"],
)
def test_the_text_has_the_total_first_and_no_row_twice(pairs, shown):
    subjects, motions = (np.array(column) for column in zip(*pairs, strict=True))
    table = group_means(subjects, motions, {"psnr": np.arange(len(pairs), dtype=float)})
    assert ", ".join(map(" ".join, rows_of(table_text(table)))) == shown


def test_the_files_hold_every_row_and_say_their_units(tmp_path):
    scores = {name: np.full(2, value) for name, value in EVERYTHING.items()}
    table = group_means(np.array(["9", "11"]), np.array(["walk", "sit"]), scores)
    write_table(tmp_path, table)
    rows = read_log(tmp_path / "evaluation.csv")
    assert rows == [{name: str(value) for name, value in row.items()} for row in table] and len(rows) == 7
    text = (tmp_path / "evaluation.md").read_text()
    assert "N-MPJPE (mm)" in text and "PSNR (dB)" in text and "leaves out the root" in text


def test_group_means_sort_by_number_and_leave_out_nan():
    subjects, motions = np.array(["11", "9", "9"]), np.array(["seq 10", "seq 2", "seq 2"])
    table = group_means(subjects, motions, {"psnr": np.array([30.0, 10.0, np.nan])})
    assert [row["motion"] for row in table if row["subject"] == "all"] == ["seq 2", "seq 10", "all"]
    assert [row["psnr"] for row in table if row["motion"] == "all"] == [10, 30, 20]


def test_names_of_recordings_neither_replace_totals_nor_part_columns():
    motions = np.array(["all", "walk|run", "two\nlines"])
    table = group_means(np.array(["1"] * 3), motions, {"psnr": np.array([10.0, 20.0, 30.0])})
    assert {row["motion"]: row["psnr"] for row in table if row["subject"] == "all"} == {
        "'all'": 10,
        "walk|run": 20,
        "two\nlines": 30,
        "all": 20,
    }
    lines = [line for line in table_text(table).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 4 and all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in lines)
    assert [line.split(" |")[1].strip() for line in lines[2:]] == ["all", "'all'", "two\\nlines", "walk\\|run"]
