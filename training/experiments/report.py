"""The page of a suite of experiments: tables of mean and spread over seeds, and a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from training.experiments.plan import Cell
from training.experiments.results import Results
from training.experiments.run import trials_of
from training.trained.tables import markdown_table
from utils.files import write_atomically

MEAN_POSE = "mean pose of the training set"
POSE_SCORES = {"n_mpjpe_mm": "N-MPJPE (mm)", "mpjpe_mm": "MPJPE (mm)", "pa_mpjpe_mm": "PA-MPJPE (mm)"}
VIEW_SCORES = {"psnr": "PSNR (dB)", "psnr_foreground": "PSNR person (dB)", "ssim": "SSIM"}
PUBLISHED_NOTE = "N-MPJPE over all 17 joints; the published convention, without the root, is 17/16 of it."


class Entry(NamedTuple):
    """What the seeds of one row with so many labels gave: scores by name, (seeds,) each; `minutes` (seeds,)."""

    scores: dict[str, np.ndarray]
    minutes: np.ndarray


def write_report(folder: str | Path, name: str, suite: Mapping[str, Any], cells: list[Cell], results: Results) -> Path:
    """Write `name`.md and `name`.png into `folder`; return the page. What is missing or failed is said, never a number.

    Args: the suite's dictionary and its cells, as planned; results: what was measured of them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    entries = _entries(cells, results)
    parts = [f"# {suite['title']}", _protocol(cells)]
    if entries:
        picture = _draw(suite, entries)
        write_atomically(folder / f"{name}.png", lambda part: picture.savefig(part, format="png", dpi=110))
        parts += [f"![{suite['title']}]({name}.png)", *_tables(suite, entries)]
    parts += _missing(cells, results)
    page = folder / f"{name}.md"
    write_atomically(page, lambda part: part.write_text("\n\n".join(parts) + "\n"))
    return page


def spread(values: np.ndarray, digits: int = 1) -> str:
    """ "101.3 ± 0.8": mean and standard deviation of the seeds (n - 1 in the denominator); of one seed, its value."""
    if not len(values):
        return "-"
    text = f"{values.mean():.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {values.std(ddof=1):.{digits}f}"


def _entries(cells: list[Cell], results: Results) -> dict[tuple[str, int], Entry]:
    """(row, labels) -> what its seeds gave; pairs of which nothing is done are left out."""
    records: dict[tuple[str, int], list[dict]] = {}
    for cell in cells:
        trials = trials_of(cell, results)
        best = trials[0] if len(trials) == 1 else results.best(trials)
        if best is not None and results.is_done(best):
            records.setdefault((cell.row, cell.labels), []).append(results.get(best))
    return {key: _entry(of_seeds) for key, of_seeds in records.items()}


def _entry(records: list[dict]) -> Entry:
    names = set.intersection(*(set(record["scores"]) for record in records))
    scores = {name: np.array([record["scores"][name] for record in records]) for name in names}
    return Entry(scores, np.array([record["minutes"] for record in records]))


def _protocol(cells: list[Cell]) -> str:
    config = cells[0].trials[0].stages[-1][1]
    seeds = 1 + max(cell.seed for cell in cells)
    iterations = {changed["num_training_iterations"] for cell in cells for trial in cell.trials
                  for stage, changed in trial.stages if stage == "encode"}  # fmt: skip
    views = f"stage 1 of {' or '.join(f'{n:,}' for n in sorted(iterations))} iterations, " if iterations else ""
    several = "s" if seeds > 1 else ""
    mirror = " and of its mirror image, poses being the mean of both (`flip_test`)" if config["flip_test"] else ""
    return (
        f"Trained on the training set of `{config['training_set']}` (crops of {config['inputDimension']} px), tested "
        f"on every crop of its test set{mirror}, whose subjects no training sees; {views}{seeds} seed{several}, "
        "mean ± standard deviation of those that are done. Labels that choose the best network are counted among the "
        f"labels. {PUBLISHED_NOTE}"
    )


def _tables(suite: Mapping[str, Any], entries: dict[tuple[str, int], Entry]) -> list[str]:
    labels = sorted({count for _, count in entries})
    if len(labels) > 1:
        tables = [f"## {title}\n\n{_against_labels(entries, labels, name)}" for name, title in POSE_SCORES.items()]
        ratios = _ratios(suite, entries, labels)
        return [*tables, *([f"## N-MPJPE over that of: {suite['reference']}\n\n{ratios}"] if ratios else [])]
    return [f"With {labels[0]:,} labels:\n\n{_all_scores(suite, entries, labels[0])}"]


def _rows(entries: dict[tuple[str, int], Entry]) -> list[str]:
    return list(dict.fromkeys(row for row, _ in entries))


def _against_labels(entries: dict[tuple[str, int], Entry], labels: list[int], score: str) -> str:
    """One row per method, one column per number of labels."""
    lines = []
    for row in _rows(entries):
        found = [entries.get((row, count)) for count in labels]
        lines.append([row, *("-" if entry is None else spread(entry.scores[score]) for entry in found)])
    everyone = [entry.scores[f"mean_pose_{score}"].mean() for entry in entries.values()]
    lines.append([MEAN_POSE, *([f"{np.mean(everyone):.1f}"] * len(labels))])
    return markdown_table(["labels", *(f"{count:,}" for count in labels)], lines, left=1)


def _ratios(suite: Mapping[str, Any], entries: dict[tuple[str, int], Entry], labels: list[int]) -> str:
    reference, lines = suite.get("reference"), []
    for row in _rows(entries):
        pairs = [(entries.get((row, count)), entries.get((reference, count))) for count in labels]
        if row != reference and any(None not in pair for pair in pairs):
            lines.append([row, *("-" if None in pair else f"{_ratio(*pair):.2f}" for pair in pairs)])
    return markdown_table(["labels", *(f"{count:,}" for count in labels)], lines, left=1) if lines else ""


def _ratio(entry: Entry, reference: Entry) -> float:
    return entry.scores["n_mpjpe_mm"].mean() / reference.scores["n_mpjpe_mm"].mean()


def _all_scores(suite: Mapping[str, Any], entries: dict[tuple[str, int], Entry], count: int) -> str:
    """One row per method, one column per score, the difference in N-MPJPE to the reference, and minutes of training."""
    views = {name: title for name, title in VIEW_SCORES.items() if any(name in e.scores for e in entries.values())}
    reference, lines = entries.get((suite.get("reference"), count)), []
    for row in _rows(entries):
        entry = entries[row, count]
        compared = reference is not None and row != suite["reference"]
        change = f"{100 * (_ratio(entry, reference) - 1):+.0f} %" if compared else "-"
        poses = [spread(entry.scores[name]) for name in POSE_SCORES]
        seen = [
            spread(entry.scores[name], 3 if name == "ssim" else 1) if name in entry.scores else "-" for name in views
        ]
        lines.append([row, *poses, change, *seen, f"{entry.minutes.mean():.1f}"])
    some = next(iter(entries.values())).scores
    baseline = [f"{some[f'mean_pose_{name}'].mean():.1f}" for name in POSE_SCORES]
    lines.append([MEAN_POSE, *baseline, "-", *("-" for _ in views), "-"])
    seen = [e.scores for e in entries.values() if "background_psnr" in e.scores]
    if seen:
        copied = [f"{seen[0][f'background_{name}'].mean():.{3 if name == 'ssim' else 1}f}" for name in views]
        lines.append(["copy of the background", "-", "-", "-", "-", *copied, "-"])
    header = ["", *POSE_SCORES.values(), "N-MPJPE against reference", *views.values(), "training (min)"]
    return markdown_table(header, lines, left=1)


def _missing(cells: list[Cell], results: Results) -> list[str]:
    """What failed, with its reason, and how much was not run."""
    failed, waiting = [], 0
    for cell in cells:
        for trial in trials_of(cell, results):
            record = results.get(trial)
            if record is None:
                waiting += 1
            elif record["status"] == "failed":
                failed.append(f"- {trial}: {record['reason']}")
    parts = ["## Failed\n\n" + "\n".join(failed)] if failed else []
    return parts + ([f"{waiting} of the planned trainings are not done yet."] if waiting else [])


def _draw(suite: Mapping[str, Any], entries: dict[tuple[str, int], Entry]) -> Figure:
    """N-MPJPE against the number of labels, or, where that is one, a bar per row."""
    rows, labels = _rows(entries), sorted({count for _, count in entries})
    baseline = np.mean([entry.scores["mean_pose_n_mpjpe_mm"].mean() for entry in entries.values()])
    curves = len(labels) > 1
    figure = Figure(figsize=(7.5, 4.8 if curves else 1.6 + 0.36 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    (_draw_curves if curves else _draw_bars)(axes, entries, rows, labels)
    (axes.axhline if curves else axes.axvline)(baseline, color="0.5", linestyle="--", label=MEAN_POSE)
    (axes.set_ylabel if curves else axes.set_xlabel)("N-MPJPE on unseen subjects (mm)")
    axes.legend(fontsize=8) if curves else figure.legend(fontsize=8, loc="outside lower right")
    figure.suptitle(suite["title"], fontsize=10)
    return figure


def _draw_curves(axes, entries: dict[tuple[str, int], Entry], rows: list[str], labels: list[int]) -> None:
    for row in rows:
        counts = [count for count in labels if (row, count) in entries]
        axes.errorbar(counts, *_errors(entries, [(row, count) for count in counts]), marker="o", capsize=3, label=row)
    axes.set_xscale("log")
    axes.set_xticks(labels, [f"{count:,}" for count in labels], rotation=45, ha="right", rotation_mode="anchor")
    axes.minorticks_off()
    axes.set_xlabel("labelled crops")
    axes.grid(alpha=0.3)


def _draw_bars(axes, entries: dict[tuple[str, int], Entry], rows: list[str], labels: list[int]) -> None:
    means, errors = _errors(entries, [(row, labels[0]) for row in rows])
    bars = axes.barh(rows, means, xerr=errors if any(errors) else None, capsize=3, color="tab:blue", alpha=0.8)
    # white behind the number: it may lie on the line of the mean pose
    axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8, bbox={"color": "white", "pad": 0.5}, zorder=3)
    axes.margins(x=0.1)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)


def _errors(entries: dict[tuple[str, int], Entry], keys: list[tuple[str, int]]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation over seeds of the N-MPJPE."""
    values = [entries[key].scores["n_mpjpe_mm"] for key in keys]
    return [v.mean() for v in values], [v.std(ddof=1) if len(v) > 1 else 0.0 for v in values]
