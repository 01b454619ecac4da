"""Carrying out a plan within a budget, resumably. Results are in the run folders, and nowhere else."""

import math
import threading
import time
from _thread import interrupt_main
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training.experiments.plan import Run
from training.loop.identity import labels_fingerprint
from training.loop.provenance import read_record
from training.loop.run_folder import RunFolder
from training.stages.novel_views import train_novel_views
from training.stages.pose import train_pose
from training.trained.evaluation import evaluate, evaluation_keys
from training.trained.load import open_network, open_test_data
from training.trained.tables import GROUP_COLUMNS
from utils.errors import UserError, one_line
from utils.files import write_text
from utils.locks import BeingWritten
from utils.readers import read_csv, reading

FAILURE = "failure.txt"
# Every run that is done has this score.
SCORE = "n_mpjpe_mm"
BUDGET_SPENT = "the budget is spent; start again to go on"
WAIT = 5.0  # seconds between attempts at a folder that another process writes

Results = Mapping[Run, Mapping[str, Any]]


def run_all(chosen: Sequence[Run], runs: Sequence[Run], minutes: float = math.inf) -> dict[Run, str]:
    """Train and test those of `chosen` that are not done, in the plan `runs`; return those that failed, with reasons.

    A failed run does not stop the others, and is tried again at the next call. After `minutes` the training in
    progress is interrupted as by Ctrl-C; the next call resumes it exactly.
    """
    check_budget(minutes)
    results, failures = read_results(runs), {}
    end = time.monotonic() + 60 * minutes
    timer = threading.Timer(min(60 * minutes, threading.TIMEOUT_MAX), interrupt_main)
    timer.daemon = True
    timer.start()
    try:
        with tqdm(chosen, "experiments", unit="run") as bar:
            for run in bar:
                if is_needed(run, results) and SCORE not in results[run]:
                    bar.write(f"\n=== {run}")
                    if reason := train_and_test(run):
                        failures[run] = reason
                    results[run] = read_result(run)
    except KeyboardInterrupt:
        if time.monotonic() < end:
            raise
        print(BUDGET_SPENT)
    finally:
        timer.cancel()
    return failures


def check_budget(minutes: float) -> None:
    """Raises UserError for a budget of no time."""
    if not minutes > 0:
        raise UserError(f"budget is {minutes} minutes; expected more than 0")


def is_needed(run: Run, results: Results) -> bool:
    """False at later seeds for a row that was not the best of its group."""
    return run.seed == 0 or best_row(run.group, run.labels, results) in (run.row, None)


def best_row(group: str, labels: int, results: Results) -> str | None:
    """The row of a group with the lowest error on held-out labels at the first seed; None until all were tried."""
    rows = {r.row: result for r, result in results.items() if (r.group, r.labels, r.seed) == (group, labels, 0)}
    if len(rows) == 1:
        return next(iter(rows))
    done = {row: result["held_out_mm"] for row, result in rows.items() if SCORE in result}
    return min(done, key=done.get) if done and all(rows.values()) else None


def train_and_test(run: Run, patient: bool = False) -> str | None:
    """Do what is left of a run. Returns why it failed, and keeps the reason in the folder of the stage that did.

    patient: wait while another process trains a stage that both need.
    """
    folder = None
    try:
        for stage, config, folder in _stages(run):
            (folder.path / FAILURE).unlink(missing_ok=True)
            _train(stage, config, patient)
        outputs = ["3D", "img_crop"] if run.views else ["3D"]
        config = {**config, "network_path": str(folder.path), "output_types": outputs}
        # The weights name the test set of the suite that trained them, which may have been another one.
        trained = open_network(config, frozenset({"network_path", "dataset_folder_test"}))
        test_set = open_test_data(trained, evaluation_keys(trained.network))
        evaluate(trained.network, test_set, trained.config, trained.hardware, _table(run, folder).parent)
    except Exception as error:
        # Whatever it was, the other runs still count.
        reason = one_line(error) if isinstance(error, UserError) else f"{type(error).__name__}: {one_line(error)}"
        if folder is not None:
            folder.path.mkdir(parents=True, exist_ok=True)
            write_text(folder.path / FAILURE, reason)
        return reason
    return None


def _train(stage: str, config: dict, patient: bool) -> None:
    while True:
        try:
            if stage == "encode":
                train_novel_views(config, resume=True)
            else:
                # All keys count as given: a row that contradicts the network of stage 1 fails instead of being ignored.
                train_pose(config, True, frozenset(config))
            return
        except BeingWritten:
            if not patient:
                raise
            time.sleep(WAIT)


def first_folder(run: Run) -> Path:
    """The folder of the first training of a run, which other runs may begin with, too."""
    return next(folder.path for _, _, folder in _stages(run))


def read_results(runs: Sequence[Run]) -> dict[Run, dict[str, Any]]:
    """What each run gave, by `read_result`."""
    return {run: read_result(run) for run in runs}


def read_result(run: Run) -> dict[str, Any]:
    """What a run gave: nothing while it is not done, and `failure`, the reason, where it failed when last tried.

    Else the means of its evaluation over all test crops, `held_out_mm` (the lowest N-MPJPE on held-out labels) and,
    from the records of all stages, `minutes` of training and `commit`, which are several where a run was resumed.
    """
    folders = [folder for _, _, folder in _stages(run)]
    if not (table := _table(run, folders[-1])).exists():
        notes = [folder.path / FAILURE for folder in folders]
        return next(
            ({"failure": note.read_text(encoding="utf-8", errors="replace")} for note in notes if note.exists()), {}
        )
    rows = read_csv(table, (*GROUP_COLUMNS, SCORE))
    with reading(table, "the scores of an evaluation; remove it to evaluate again"):
        scores = {name: float(value) for name, value in rows[-1].items() if name not in GROUP_COLUMNS}
    return {**scores, **_costs(folders)}


def _costs(folders: Sequence[RunFolder]) -> dict[str, Any]:
    """`held_out_mm`, `minutes` and `commit` of `read_result`, from the records of all stages."""
    seconds, commits, best = 0.0, set(), None
    for folder in folders:
        with reading(folder.record_file, "the record of a run; remove its folder to run it again"):
            record = read_record(folder.record_file)
            best = float(record["best_score"])
            for session in record["sessions"]:
                begin, end = (datetime.fromisoformat(session[key]) for key in ("begin", "end"))
                seconds += (end - begin).total_seconds()
                commit = session["commit"] or "-"
                commits.add(commit[:7] + commit[40:])
    return {"held_out_mm": best, "minutes": seconds / 60, "commit": ", ".join(sorted(commits))}


def _stages(run: Run) -> Iterator[tuple[str, dict, RunFolder]]:
    """Stage, config and run folder of each training; the next one starts from the network in that folder."""
    path = {}
    for stage, config in run.stages:
        config = {**config, **path}
        folder = RunFolder(config, stage)
        yield stage, config, folder
        path = {"network_path": str(folder.path)}


def _table(run: Run, folder: RunFolder) -> Path:
    """The scores of a run, in a folder of their own: tests by hand, of other crops perhaps, write elsewhere."""
    # The test set is part of no run's name, because training does not see it.
    test_set = labels_fingerprint(run.stages[-1][1]["dataset_folder_test"])[:6]
    flip = run.stages[-1][1]["flip_test"]
    return folder.path / f"test_{test_set}{'_views' * run.views}{'_flip' * flip}" / "evaluation.csv"
