"""Suites of experiments: what a suite's dictionary means, and running it within a budget, resumably.

A suite (configs/suites/*.py) is a dictionary:

    title        one line for the report
    labels       amounts of labels: numbers of crops (int), or fractions of all that may be used (float)
    stage1, stage2   changes that hold for all rows
    rows         name -> what the row changes: `stage1` (None: none is trained, plain supervision), `stage2`,
                 `finetune` (a third stage: encoder and pose decoder trained on the same labels), `scale` (only at that
                 size of crops), and `choices`: a list of changes of the last stage, among which validation at the first
                 seed chooses (or such lists by size of crops)
    reference    the row that others are compared with
    views        whether novel views are measured too
"""

import contextlib
import threading
from _thread import interrupt_main
from collections.abc import Iterator, Mapping
from typing import Any

from tqdm import tqdm

from training.experiments.plan import Cell, Trial
from training.experiments.results import Results, training_minutes, validation_score
from training.loop.loaders import open_test_set
from training.loop.run_folder import RunFolder
from training.stages.novel_views import train_novel_views
from training.stages.pose import train_pose
from training.trained.evaluation import evaluate, evaluation_keys
from training.trained.load import open_network
from utils.errors import UserError


def run_suite(cells: list[Cell], results: Results, views: bool, minutes: float | None = None) -> bool:
    """Train and test what is not done yet; True when nothing is left.

    A run that fails is recorded with its reason, and tried again at the next call. After `minutes` (None: no limit)
    the run in progress stops as at Ctrl-C, and goes on at the next call.
    """
    over = threading.Event()
    try:
        with _interrupt_after(minutes, over), tqdm(cells, "experiments", unit="row") as bar:
            for cell in bar:
                for trial in trials_of(cell, results):
                    if over.is_set():
                        return False
                    if not results.is_done(trial):
                        bar.write(f"\n=== {trial}")
                        results.add(trial, _attempt(trial, views))
    except KeyboardInterrupt:
        if not over.is_set():
            raise
        return False
    return all(results.is_done(trial) for cell in cells for trial in trials_of(cell, results))


def trials_of(cell: Cell, results: Results) -> tuple[Trial, ...]:
    """What is trained for a cell: all choices at the first seed, and what validation chose there at the others."""
    if cell.first is None or len(cell.trials) == 1:
        return cell.trials
    best = results.best(cell.first.trials)
    return cell.trials if best is None else (cell.trials[cell.first.trials.index(best)],)


def _attempt(trial: Trial, views: bool) -> dict[str, Any]:
    """The record of a trial: its scores, or why it has none."""
    try:
        runs = train(trial)
        scores = test(trial, runs[-1], views)
        return {
            "status": "done",
            "scores": scores,
            "validation_n_mpjpe_mm": validation_score(runs[-1].path),
            "minutes": sum(training_minutes(run.path) for run in runs),
            "run": runs[-1].path.name,
        }
    except Exception as error:  # whatever it was: the other rows still count
        lines = str(error).strip().splitlines() or [""]
        reason = lines[0] if isinstance(error, UserError) else f"{type(error).__name__}: {lines[0]}"
        return {"status": "failed", "reason": reason}


def train(trial: Trial) -> list[RunFolder]:
    """Train the stages of a trial that are not trained yet, each on the network of the one before."""
    runs: list[RunFolder] = []
    for stage, config in trial.stages:
        if runs:
            config = {**config, "network_path": str(runs[-1].path)}
        runs.append((train_novel_views if stage == "encode" else train_pose)(config, resume=True))
    return runs


def test(trial: Trial, run: RunFolder, views: bool) -> Mapping[str, float]:
    """Scores of a run over all crops of the test set."""
    outputs = ["3D", "img_crop"] if views else ["3D"]
    config = {**trial.stages[-1][1], "network_path": str(run.path), "output_types": outputs}
    network, config, hardware, _ = open_network(config, frozenset({"network_path"}))
    table = evaluate(network, open_test_set(config, evaluation_keys(network)), config, hardware, run.path)
    return {name: value for name, value in table[-1].items() if isinstance(value, float)}


@contextlib.contextmanager
def _interrupt_after(minutes: float | None, over: threading.Event) -> Iterator[None]:
    """Press Ctrl-C, as it were, when the time is over, and set `over` before."""
    if minutes is None:
        yield
        return
    if minutes <= 0:
        raise UserError(f"budget is {minutes} minutes; expected more than 0")

    def stop() -> None:
        over.set()
        interrupt_main()

    timer = threading.Timer(60 * minutes, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
