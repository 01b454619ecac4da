"""The table of an evaluation: means per subject and motion, as text and as files."""

import csv
import io
import os
import warnings
from pathlib import Path

import numpy as np

from utils.files import write_atomically

ALL = "all"
GROUP_COLUMNS = ("subject", "motion", "crops")
# of the text tables: column of the score -> header
POSE_COLUMNS = {
    "mpjpe_mm": "MPJPE",
    "n_mpjpe_mm": "N-MPJPE",
    "n_mpjpe_published_mm": "N- x17/16",
    "pa_mpjpe_mm": "PA-MPJPE",
    "mean_pose_mpjpe_mm": "mean pose MPJPE",
    "mean_pose_n_mpjpe_mm": "mean pose N-",
    "mean_pose_pa_mpjpe_mm": "mean pose PA-",
}
VIEW_COLUMNS = {
    "psnr": "PSNR",
    "psnr_foreground": "PSNR person",
    "ssim": "SSIM",
    "background_psnr": "background PSNR",
    "background_psnr_foreground": "background person",
    "background_ssim": "background SSIM",
}
TEXT_TABLES = (
    ("3D pose, errors in mm (N- x17/16: N-MPJPE in the published convention, without the root)", POSE_COLUMNS),
    ("Novel views, PSNR in dB (person: pixels that differ from the background; background: copying it)", VIEW_COLUMNS),
)


def group_means(subjects: np.ndarray, motions: np.ndarray, scores: dict[str, np.ndarray]) -> list[dict]:
    """Means of every score (N,) per (subject, motion), per subject, per motion and over all; NaN is left out.

    `subjects`, `motions`: (N,) strings. Each row has `subject`, `motion`, `crops` (how many) and the means.
    """
    # subjects are numbers: in numerical order
    names = sorted(set(subjects), key=lambda name: (len(name), name))
    kinds = sorted(set(motions), key=lambda name: (len(name), name) if name.startswith("seq ") else (0, name))
    table = []
    for subject in [*names, ALL]:
        for motion in [*kinds, ALL]:
            chosen = ((subjects == subject) | (subject == ALL)) & ((motions == motion) | (motion == ALL))
            if chosen.any():
                means = {name: _mean(values[chosen]) for name, values in scores.items()}
                table.append({"subject": subject, "motion": motion, "crops": int(chosen.sum()), **means})
    return table


def table_text(table: list[dict]) -> str:
    """The table as Markdown that reads well in a terminal: poses, then novel views."""
    parts = []
    for title, columns in TEXT_TABLES:
        present = [name for name in columns if name in table[-1]]
        if present:
            header = ["subject", "motion", "crops", *(columns[name] for name in present)]
            cells = [[str(row[name]) for name in GROUP_COLUMNS] for row in table]
            for line, row in zip(cells, table, strict=True):
                line += [_format(name, row[name]) for name in present]
            parts.append(f"{title}\n\n{markdown_table(header, cells)}\n")
    return "\n".join(parts)


def write_table(folder: str | os.PathLike, table: list[dict]) -> None:
    """Write `evaluation.csv` and `evaluation.md` into `folder`, each whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(table[-1]))
    writer.writeheader()
    writer.writerows(table)
    for name, content in (("evaluation.csv", text.getvalue()), ("evaluation.md", table_text(table))):
        write_atomically(folder / name, lambda part, content=content: part.write_text(content, newline=""))


def _mean(values: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing to average: the mean is NaN, shown as "-"
        return float(np.nanmean(values))


def _format(name: str, value: float) -> str:
    if np.isnan(value):
        return "-"
    return f"{value:.3f}" if "ssim" in name else f"{value:.1f}"


def markdown_table(header: list[str], cells: list[list[str]], left: int = 2) -> str:
    """A Markdown table that reads well in a terminal too; the first `left` columns are text, the others numbers."""
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
