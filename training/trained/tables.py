"""The results of an evaluation: a summary for the terminal, and tables per subject and motion as files."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import plain_text
from utils.files import write_csv, write_text

Row = dict[str, Any]  # subject, motion, crops, and scores by name

ALL = "all"
GROUP_COLUMNS = ("subject", "motion", "crops")
# Per table of evaluation.md: its title, what it says about its columns, and score -> header.
TEXT_TABLES = (
    (
        "3D pose",
        "Errors in mm, means over crops. N-MPJPE scales each pose to its label and averages over 17 joints. N- x17/16 "
        "is N-MPJPE in the published convention, which leaves out the root because its error is zero by definition. "
        "PA-MPJPE aligns each pose by a similarity transform. Mean pose: that of the training set, for every crop.",
        {
            "mpjpe_mm": "MPJPE (mm)",
            "n_mpjpe_mm": "N-MPJPE (mm)",
            "n_mpjpe_published_mm": "N- x17/16 (mm)",
            "pa_mpjpe_mm": "PA-MPJPE (mm)",
            "mean_pose_mpjpe_mm": "mean pose MPJPE (mm)",
            "mean_pose_n_mpjpe_mm": "mean pose N-MPJPE (mm)",
            "mean_pose_pa_mpjpe_mm": "mean pose PA-MPJPE (mm)",
        },
    ),
    (
        "Cameras fused",
        "Errors in mm of all cameras' poses of an instant fused, weighted by trust, agreement and depth, as above.",
        {
            "fused_mpjpe_mm": "MPJPE (mm)",
            "fused_n_mpjpe_mm": "N-MPJPE (mm)",
            "fused_n_mpjpe_published_mm": "N- x17/16 (mm)",
            "fused_pa_mpjpe_mm": "PA-MPJPE (mm)",
        },
    ),
    (
        "Trust",
        "Trust: expected fraction of joints within 150 mm of the truth. Flagged: share of crops that look unlike "
        "nearly all held-out crops of the training. Expected: N-MPJPE that the network expects, mm. Quarters of "
        "all crops by trust, from that trusted most: their N-MPJPE, mm.",
        {
            "trust": "trust",
            "flagged": "flagged",
            "expected_error_mm": "expected",
            **{f"n_mpjpe_mm_quarter_{number}": f"quarter {number}" for number in range(1, 5)},
        },
    ),
    (
        "Novel views",
        "Means over crops. Person: over the pixels that differ from the background. Background: the background image "
        "alone, without the person.",
        {
            "psnr": "PSNR (dB)",
            "psnr_foreground": "PSNR person (dB)",
            "ssim": "SSIM",
            "background_psnr": "background PSNR (dB)",
            "background_psnr_foreground": "background PSNR person (dB)",
            "background_ssim": "background SSIM",
        },
    ),
)
QUARTER_SCORES = ("trust", "expected_error_mm", "n_mpjpe_mm")  # of each quarter of the crops, by trust
# Of the summary: score -> header.
POSE_SUMMARY = {"n_mpjpe_mm": "N-MPJPE", "mpjpe_mm": "MPJPE", "pa_mpjpe_mm": "PA-MPJPE"}
VIEW_SUMMARY = {"psnr": "PSNR (dB)", "psnr_foreground": "of the person", "ssim": "SSIM"}


def group_means(subjects: np.ndarray, motions: np.ndarray, scores: Mapping[str, np.ndarray]) -> list[Row]:
    """Means of every score (N,) per (subject, motion), per subject, per motion and over all; NaN is left out.

    `subjects`, `motions`: (N,) strings. Each row has `subject`, `motion`, `crops` (how many) and the means. A recording
    that is named "all" is "'all'", since "all" stands for the means over all.
    """
    subjects, motions = (np.where(values == ALL, repr(ALL), values) for values in (subjects, motions))
    # Subjects are numbers: sorted by value, not as text.
    names = sorted(set(subjects), key=lambda name: (len(name), name))
    kinds = sorted(set(motions), key=lambda name: (len(name), name) if name.startswith("seq ") else (0, name))
    table = []
    for subject in [*names, ALL]:
        for motion in [*kinds, ALL]:
            chosen = ((subjects == subject) | (subject == ALL)) & ((motions == motion) | (motion == ALL))
            if chosen.any():
                means = {name: mean_without_nan(values[chosen]) for name, values in scores.items()}
                table.append({"subject": subject, "motion": motion, "crops": int(chosen.sum()), **means})
    return table


def summary_text(overall: Row) -> str:
    """The scores over all crops as a few lines of at most 80 columns: method, what it is compared with, and their
    ratio or difference. Only what was measured has lines."""
    parts = []
    if "n_mpjpe_mm" in overall:
        ours, mean_pose = (_values(overall, POSE_SUMMARY, prefix) for prefix in ("", "mean_pose_"))
        rows = {
            "this network": [f"{value:.1f}" for value in ours],
            "mean pose of the training set": [f"{value:.1f}" for value in mean_pose],
            "ratio": [f"{value / other:.2f}" for value, other in zip(ours, mean_pose, strict=True)],
        }
        if "fused_n_mpjpe_mm" in overall:
            fused = _values(overall, POSE_SUMMARY, "fused_")
            rows["cameras of an instant fused"] = [f"{value:.1f}" for value in fused]
        parts.append(aligned("3D pose, error in mm", list(POSE_SUMMARY.values()), rows))
    if "trust" in overall:
        rows = {f"quarter {number}": _quarter(overall, f"_quarter_{number}") for number in range(1, 5)}
        rows["all"] = _quarter(overall, "")
        title = f"trust ({100 * overall['flagged']:.1f} % flagged)"
        parts.append(aligned(title, ["trust", "expected mm", "N-MPJPE"], rows))
    # NaN: every camera was alone, so that no view had another one to be rendered from.
    if np.isfinite(overall.get("psnr", np.nan)):
        columns = {name: header for name, header in VIEW_SUMMARY.items() if name in overall}
        ours = _values(overall, columns)
        rows = {"this network": [_format(name, value) for name, value in zip(columns, ours, strict=True)]}
        if "background_psnr" in overall:
            background = _values(overall, columns, "background_")
            gain = ours - background
            rows["background only"] = [_format(name, value) for name, value in zip(columns, background, strict=True)]
            rows["gain"] = [_format(name, value, "+") for name, value in zip(columns, gain, strict=True)]
        parts.append(aligned("novel views", list(columns.values()), rows))
    return "\n\n".join(parts)


def table_text(table: list[Row]) -> str:
    """The table as Markdown: poses, then novel views. The total is the first row, and no row repeats another one."""
    rows = [table[-1], *_without_repeats(table)]
    parts = []
    for title, about, headers in TEXT_TABLES:
        present = {name: header for name, header in headers.items() if name in table[-1]}
        if present:
            cells = [
                [*(str(row[name]) for name in GROUP_COLUMNS), *(_format(name, row[name]) for name in present)]
                for row in rows
            ]
            parts.append(f"## {title}\n\n{about}\n\n{markdown_table([*GROUP_COLUMNS, *present.values()], cells)}\n")
    return "\n".join(parts)


def write_table(folder: str | os.PathLike, table: list[Row], note: str = "") -> None:
    """Write `evaluation.csv` (every row, the total last) and `evaluation.md`, `note` first, into `folder`."""
    write_evaluation(folder, table, "\n\n".join(filter(None, [note, table_text(table)])))


def write_evaluation(folder: str | os.PathLike, table: list[Row], markdown: str) -> None:
    """Write the rows of `table` to `evaluation.csv` and `markdown` to `evaluation.md` in `folder`, atomically."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(table[-1])
    write_csv(folder / "evaluation.csv", columns, ([row.get(name, "") for name in columns] for row in table))
    write_text(folder / "evaluation.md", markdown)


def markdown_table(header: list[str], cells: list[list[str]], left: int = 2) -> str:
    """A Markdown table with aligned columns; the first `left` columns are text, the others numbers."""
    # Names of recordings may have what parts columns or lines.
    header, *cells = ([plain_text(cell).replace("|", r"\|") for cell in line] for line in (header, *cells))
    widths = [max(len(line[column]) for line in [header, *cells]) for column in range(len(header))]
    rule = ["-" * width if column < left else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines = []
    for line in [header, rule, *cells]:
        padded = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("| " + " | ".join(padded) + " |")
    return "\n".join(lines)


def _without_repeats(table: list[Row]) -> list[Row]:
    """The rows below the total but for sums of a single row: of a subject with one motion, of one subject's motion."""
    pairs = {(row["subject"], row["motion"]) for row in table}
    subjects = {motion: sum(pair[1] == motion for pair in pairs) - 1 for _, motion in pairs}
    motions = {subject: sum(pair[0] == subject for pair in pairs) - 1 for subject, _ in pairs}

    def is_new(row: Row) -> bool:
        subject, motion = row["subject"], row["motion"]
        if subject == ALL:
            return motion != ALL and subjects[motion] > 1 and motions[ALL] > 1
        return motion != ALL or (motions[subject] > 1 and subjects[ALL] > 1)

    return [row for row in table if is_new(row)]


def aligned(title: str, headers: list[str], rows: dict[str, list[str]]) -> str:
    """A table for the terminal: a title and headers, then named rows; at most 77 columns for three headers."""
    lines = [[title, *headers], *([name, *cells] for name, cells in rows.items())]
    return "\n".join(f"{line[0]:<32}" + "".join(f"{cell:>15}" for cell in line[1:]) for line in lines)


def _values(row: Row, columns: Mapping[str, str], prefix: str = "") -> np.ndarray:
    return np.array([row[prefix + name] for name in columns])


def _quarter(overall: Row, suffix: str) -> list[str]:
    return [_format(name, overall[name + suffix]) for name in QUARTER_SCORES]


def mean_without_nan(values: np.ndarray) -> float:
    """The mean of what is not NaN; NaN where nothing is left."""
    with warnings.catch_warnings():
        # A group without any value has the mean NaN, which is shown as "-".
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmean(values))


def _format(name: str, value: float, sign: str = "") -> str:
    if np.isnan(value):
        return "-"
    if name in ("trust", "flagged"):
        return f"{value:.2f}"
    return f"{value:{sign}.3f}" if "ssim" in name else f"{value:{sign}.1f}"
