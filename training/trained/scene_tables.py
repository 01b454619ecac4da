"""The results of an evaluation on full frames, by the number of people and by how much of them others hide."""

from collections.abc import Mapping

import numpy as np

from training.scene_metrics import HIDDEN
from training.trained.tables import ALL, POSE_SUMMARY, Row, aligned, markdown_table, mean_without_nan

Columns = Mapping[str, np.ndarray]  # `people` (N,), `occlusion` (N,), and scores by name (N,)

_HALF = 0.5
# How much of a person others hide -> from which share, below which.
OCCLUSIONS = {
    f"hidden below {HIDDEN:.0%}": (0, HIDDEN),
    f"hidden {HIDDEN:.0%} to {_HALF:.0%}": (HIDDEN, _HALF),
    f"hidden above {_HALF:.0%}": (_HALF, np.inf),
}
COUNTS = ("frames", "people", "pairs")
# Per table of evaluation.md: its title, what it says about its columns, counts, and score -> header.
SCENE_TABLES = (
    (
        "People",
        "Predicted people are matched one to one with those in a frame. Recall: share of them whose box has an IoU of "
        "at least 0.5 with its match; IoU of boxes and of instance masks: means over people, 0 for the missed; "
        "boxes of a network without masks are compared with the crops around people; "
        "a mask is where the person is decoded and the frame is not its background, nor a shadow on it, a decoded one "
        "where the person is decoded. Missed, "
        "false: people a frame without a match, and matches without a person (box IoU below 0.1). Depth order: share "
        "of pairs of found people with the right one in front, where one hides more than 5 % of the other.",
        ("frames", "people", "pairs"),
        {
            "recall": "recall",
            "box_iou": "box IoU",
            "mask_iou": "mask IoU",
            "decoded_mask_iou": "decoded mask IoU",
            "missed": "missed",
            "false": "false",
            "depth_order": "depth order",
        },
    ),
    (
        "3D pose",
        "Errors in mm, means over the people who were found. N-MPJPE scales each pose to its label and averages over "
        "17 joints. PA-MPJPE aligns each pose by a similarity transform. Mean pose: that of the training set.",
        ("people",),
        {
            "mpjpe_mm": "MPJPE (mm)",
            "n_mpjpe_mm": "N-MPJPE (mm)",
            "pa_mpjpe_mm": "PA-MPJPE (mm)",
            "mean_pose_mpjpe_mm": "mean pose MPJPE (mm)",
            "mean_pose_n_mpjpe_mm": "mean pose N-MPJPE (mm)",
            "mean_pose_pa_mpjpe_mm": "mean pose PA-MPJPE (mm)",
        },
    ),
    (
        "Composed frames",
        "Means over frames that show more than their background, over all of their pixels. They are composed from "
        "another camera's. Background: the background alone.",
        ("frames",),
        {"psnr": "PSNR (dB)", "background_psnr": "background PSNR (dB)"},
    ),
)


def scene_table(frames: Columns, people: Columns, pairs: Columns) -> list[Row]:
    """Means of the scores of frames, people and pairs of people: by number of people, by occlusion, and over all.

    Each has, besides scores, `people`, how many are in the frame, and `occlusion`: of the person, of the one behind, or
    the largest in the frame. A row has `group`, how many `frames`, `people` and `pairs` it is of, and the means, in
    which NaN is left out; the last row is over all.
    """
    parts = dict(zip(COUNTS, (frames, people, pairs), strict=True))
    groups = {
        f"{count} {'person' if count == 1 else 'people'}": ("people", count, count + 1)
        for count in np.unique(frames["people"]).tolist()
    }
    groups |= {name: ("occlusion", *limits) for name, limits in OCCLUSIONS.items()}
    groups[ALL] = ("people", 0, np.inf)
    table = []
    for group, (column, low, high) in groups.items():
        chosen = {name: (part[column] >= low) & (part[column] < high) for name, part in parts.items()}
        if any(rows.any() for rows in chosen.values()):
            means = {
                score: mean_without_nan(values[chosen[name]])
                for name, part in parts.items()
                for score, values in part.items()
                if score not in ("people", "occlusion")
            }
            table.append({"group": group, **{name: int(rows.sum()) for name, rows in chosen.items()}, **means})
    return table


def scene_summary(table: list[Row]) -> str:
    """The scores as a few tables of at most 80 columns, with a line for each group. Only what was measured has one."""
    overall, parts = table[-1], []
    for title, headers in {
        "people": {"recall": "recall", "box_iou": "box IoU", "depth_order": "depth order"},
        "masks": {"mask_iou": "mask IoU", "decoded_mask_iou": "decoded alone"},
        "people a frame": {"missed": "missed", "false": "false"},
    }.items():
        if shown := _measured(overall, headers):
            rows = {row["group"]: [_format(name, row[name]) for name in shown] for row in [overall, *table[:-1]]}
            parts.append(aligned(title, list(shown.values()), rows))
    if _measured(overall, POSE_SUMMARY):
        ours, mean_pose = ([overall[prefix + name] for name in POSE_SUMMARY] for prefix in ("", "mean_pose_"))
        rows = {
            "this network": [f"{value:.1f}" for value in ours],
            "mean pose of the training set": [f"{value:.1f}" for value in mean_pose],
            "ratio": [f"{value / other:.2f}" for value, other in zip(ours, mean_pose, strict=True)],
        }
        parts.append(aligned("3D pose, error in mm", list(POSE_SUMMARY.values()), rows))
    if _measured(overall, {"psnr": "PSNR"}):
        rows = {row["group"]: _view_cells(row) for row in [overall, *table[:-1]]}
        parts.append(aligned("composed frames, PSNR in dB", ["this network", "background", "gain"], rows))
    return "\n\n".join(parts)


def scene_text(table: list[Row]) -> str:
    """The table as Markdown: people, poses, composed frames. The total is the first row."""
    parts = []
    for title, about, counts, headers in SCENE_TABLES:
        if shown := _measured(table[-1], headers):
            cells = [
                [row["group"], *(str(row[name]) for name in counts), *(_format(name, row[name]) for name in shown)]
                for row in [table[-1], *table[:-1]]
            ]
            parts.append(f"## {title}\n\n{about}\n\n{markdown_table(['', *counts, *shown.values()], cells, left=1)}\n")
    return "\n".join(parts)


def _view_cells(row: Row) -> list[str]:
    views = [row["psnr"], row["background_psnr"], row["psnr"] - row["background_psnr"]]
    return ["-" if np.isnan(value) else f"{value:{sign}.2f}" for value, sign in zip(views, ("", "", "+"), strict=True)]


def _measured(overall: Row, headers: Mapping[str, str]) -> dict[str, str]:
    """The scores among `headers` that have a value."""
    return {name: header for name, header in headers.items() if np.isfinite(overall.get(name, np.nan))}


def _format(name: str, value: float) -> str:
    if np.isnan(value):
        return "-"
    digits = 1 if name.endswith("_mm") else 2 if "psnr" in name else 3
    return f"{value:.{digits}f}"
