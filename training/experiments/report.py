"""The page of a suite: one table of means over seeds, how they were measured, a chart, and what is missing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from training.experiments.plan import Run
from training.experiments.run import SCORE, Results, best_row, is_needed, read_results
from training.trained.tables import POSE_SUMMARY, VIEW_SUMMARY, markdown_table
from utils.files import write_text
from utils.plotting import save_figure

MEAN_POSE = "mean pose of the training set"
# Row of the table -> prefix of its scores in an evaluation.
BASELINES = {MEAN_POSE: "mean_pose_", "background only": "background_"}
COLUMNS = {**POSE_SUMMARY, **VIEW_SUMMARY, "minutes": "minutes"}

Entries = Mapping[tuple[str, int], Sequence[Mapping[str, Any]]]


def write_report(folder: str | Path, name: str, suite: Mapping[str, Any], runs: Sequence[Run]) -> Path:
    """Write `name`.md and `name`.png into `folder`; return the page. What is missing or failed has no number."""
    folder, title = Path(folder), suite["title"]
    folder.mkdir(parents=True, exist_ok=True)
    results = read_results(runs)
    parts, entries = [f"# {title}"], collect(results)
    if entries:
        # Titles and names of rows are the user's, in which "$" is no mathematics; axes read the setting when drawn.
        with rc_context({"text.parse_math": False}):
            save_figure(draw_chart(title, entries), folder / f"{name}.png", dpi=110)
        table = score_table(entries, suite.get("reference"), suite.get("method"))
        parts += [table, _protocol(runs), f"![{title}]({name}.png)"]
    unfinished = {run: result for run, result in results.items() if is_needed(run, results) and SCORE not in result}
    failed = [f"- {run}: {result['failure']}" for run, result in unfinished.items() if result]
    parts += ["## Failed\n\n" + "\n".join(failed)] if failed else []
    if waiting := len(unfinished) - len(failed):
        parts.append(f"{waiting} of the planned runs are not done yet.")
    page = folder / f"{name}.md"
    write_text(page, "\n\n".join(parts) + "\n")
    return page


def collect(results: Results) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
    """(group, labels) -> results of the seeds that are done, of the row that stands for its group."""
    entries: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for run, result in results.items():
        if SCORE in result and run.row == best_row(run.group, run.labels, results):
            entries.setdefault((run.group, run.labels), []).append(result)
    return entries


def score_table(entries: Entries, reference: str | None = None, method: str | None = None) -> str:
    """Markdown: a line for each row and number of labels, then the baselines; the row `method` is bold.

    N-MPJPE is also compared with that of the row `reference` with as many labels.
    """
    richest = max((result for seeds in entries.values() for result in seeds), key=len)
    columns = [name for name in COLUMNS if name in richest]
    lines = []
    for row in _rows(entries):
        for count in sorted(count for name, count in entries if name == row):
            seeds, others = entries[row, count], entries.get((reference, count), ())
            change = f"{100 * (np.mean(_values(seeds)) / np.mean(_values(others)) - 1):+.0f} %" if others else "-"
            line = [row, f"{count:,}", *(_cell(seeds, name) for name in columns)]
            line += ["-" if row == reference else change, str(len(seeds))]
            line.append(", ".join(sorted({result["commit"] for result in seeds})))
            lines.append([f"**{cell}**" for cell in line] if row == method else line)
    for baseline, prefix in BASELINES.items():
        if any(prefix + name in richest for name in columns):
            lines.append([baseline, "-", *(_cell([richest], name, prefix) for name in columns), "-", "-", "-"])
    header = ["change (errors in mm)", "labels", *map(COLUMNS.get, columns), "vs. reference", "seeds", "commit"]
    return markdown_table(header, lines, left=1)


def draw_chart(title: str, entries: Entries) -> Figure:
    """N-MPJPE against the number of labels or, where that is one, a bar per row; error bars show the seeds."""
    rows, labels = _rows(entries), sorted({count for _, count in entries})
    figure = Figure(figsize=(7.5, 4.8 if len(labels) > 1 else 1.6 + 0.36 * len(rows)), layout="constrained")
    figure.suptitle(title, fontsize=10)
    axes = figure.add_subplot()
    means = {key: np.mean(_values(seeds)) for key, seeds in entries.items()}
    deviations = {key: np.std(_values(seeds), ddof=1) if len(seeds) > 1 else 0.0 for key, seeds in entries.items()}
    mean_pose = np.mean([result[f"mean_pose_{SCORE}"] for seeds in entries.values() for result in seeds])
    if len(labels) > 1:
        for row in rows:
            keys = [(row, count) for count in labels if (row, count) in entries]
            errors = [[values[key] for key in keys] for values in (means, deviations)]
            axes.errorbar([count for _, count in keys], *errors, marker="o", capsize=3, label=row)
        axes.axhline(mean_pose, color="0.5", linestyle="--", label=MEAN_POSE)
        axes.set(xscale="log", xlabel="labeled crops", ylabel="N-MPJPE on unseen subjects (mm)")
        axes.set_xticks(labels, [f"{count:,}" for count in labels], rotation=45, ha="right", rotation_mode="anchor")
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    else:
        errors = list(deviations.values()) if any(deviations.values()) else None
        bars = axes.barh(rows, list(means.values()), xerr=errors, capsize=3, color="tab:blue", alpha=0.8)
        # The white box keeps a number readable where it lies on the line of the mean pose.
        axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8, bbox={"color": "white", "pad": 0.5}, zorder=3)
        axes.axvline(mean_pose, color="0.5", linestyle="--", label=MEAN_POSE)
        axes.set(xlabel="N-MPJPE on unseen subjects (mm)", xmargin=0.1)
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        figure.legend(fontsize=8, loc="outside lower right")
    return figure


def _rows(entries: Entries) -> list[str]:
    return list(dict.fromkeys(row for row, _ in entries))


def _values(seeds: Sequence[Mapping[str, Any]], name: str = SCORE) -> list[float]:
    return [result[name] for result in seeds if name in result]


def _cell(seeds: Sequence[Mapping[str, Any]], name: str, prefix: str = "") -> str:
    """ "101.3 ± 0.8": mean and standard deviation over seeds (n - 1 in the denominator); of one seed, its value."""
    values, digits = _values(seeds, prefix + name), 3 if name == "ssim" else 1
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}" if values else "-"


def _protocol(runs: Sequence[Run]) -> str:
    config = runs[0].stages[-1][1]
    lengths = {config["num_training_iterations"] for run in runs for stage, config in run.stages if stage == "encode"}
    return (
        f"Trained on the training set of `{config['training_set']}` ({config['inputDimension']} px), and tested on all "
        "crops of its test set, whose subjects are never trained on. "
        f"Stage 1: {' or '.join(f'{n:,}' for n in sorted(lengths)) or 'no'} iterations. "
        f"`flip_test` (the mean of the poses of a crop and of its mirror image): {config['flip_test']}. "
        "Mean ± standard deviation of the seeds that are done. Labels that choose the best network count as labels. "
        "N-MPJPE averages over all 17 joints; the published convention, without the root, is 17/16 of it."
    )
