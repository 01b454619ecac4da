"""Carrying out a plan by jobs that run side by side, on a Slurm cluster or on this machine, by submitit.

submitit pickles what it submits, and what that returns: here `run_job` and one string, and one string back. Both are in
the folder of jobs, which nobody else writes, and are read by submitit alone.
"""

import ast
import math
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training.experiments.plan import Run
from training.experiments.run import (
    BUDGET_SPENT,
    SCORE,
    check_budget,
    first_folder,
    is_needed,
    read_result,
    read_results,
    train_and_test,
)
from training.loop.identity import RECORD_FILE
from training.loop.provenance import read_record
from utils.commands import install_extra
from utils.errors import UserError, one_line
from utils.paths import ROOT

MOST_JOBS = {"slurm": 100, "local": 2}  # at the same time
MOST_STARTS = 5  # of a job that is killed, in one call
TIMEOUT = 24 * 60  # minutes of a job; one that takes longer is started again, and goes on
POLL = 1.0  # seconds between looks at the jobs
PATIENCE = 10.0  # seconds for jobs that are canceled to store their state


def run_job(text: str) -> str:
    """What a job does: train and test the run of `text`; returns why it failed, or nothing."""
    return train_and_test(run_of(text), patient=True) or ""


def text_of(run: Run) -> str:
    """A run as a Python literal."""
    return repr(astuple(run))


def run_of(text: str) -> Run:
    """The run of `text_of`."""
    return Run(*ast.literal_eval(text))


def make_executor(cluster: str, folder: Path, options: dict[str, Any]) -> Any:
    """What submits jobs, whose files are in `folder`; `options` are parameters of submitit's `AutoExecutor`.

    Raises UserError without the package, without the cluster, and for other options.
    """
    try:
        import submitit
    except ImportError as error:
        raise UserError(f"--cluster needs the package submitit; install it with: {install_extra('cluster')}") from error
    # Jobs import this module from where it is; their environment is that of this process.
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    try:
        executor = submitit.AutoExecutor(folder, cluster=cluster)
        executor.update_parameters(**{"name": "geometry-aware-pose", "timeout_min": TIMEOUT, **options})
    except (RuntimeError, NameError, ValueError, TypeError, AssertionError) as error:
        raise UserError(f"--cluster {cluster}: {one_line(error)}") from error
    return executor


def run_on_cluster(
    chosen: Sequence[Run], runs: Sequence[Run], executor: Any, most: int, minutes: float = math.inf
) -> dict[Run, str]:
    """As `run_all`, by up to `most` jobs at the same time. A job that is killed is started again, and goes on."""
    check_budget(minutes)
    end = time.monotonic() + 60 * minutes
    queue = _Queue(chosen, runs, executor, most)
    try:
        with tqdm(total=len(queue.waiting), desc="experiments", unit="run") as bar:
            left = len(queue.waiting)
            while queue.start() and time.monotonic() < end:
                time.sleep(POLL)
                queue.collect(bar.write)
                now = len(queue.waiting) + len(queue.active)
                bar.update(left - now)
                left = now
            bar.update(left - len(queue.waiting) - len(queue.active))
    finally:
        was_cut = queue.cancel()
    if was_cut:
        print(BUDGET_SPENT)
    return queue.failures


class _Queue:
    """Runs that wait, those that are `active` with their jobs, and the `failures` so far."""

    def __init__(self, chosen: Sequence[Run], runs: Sequence[Run], executor: Any, most: int):
        self.runs, self.executor, self.most = runs, executor, most
        self.results = read_results(runs)
        self.waiting = [run for run in chosen if SCORE not in self.results[run]]
        self.first = {run: first_folder(run) for run in self.waiting}
        self.active: dict[Run, Any] = {}
        self.failures: dict[Run, str] = {}
        self.starts: Counter[Run] = Counter()

    def start(self) -> bool:
        """Submit what can run now. False where nothing runs and nothing waits."""
        for run in list(self.waiting):
            if len(self.active) < self.most and self._is_decided(run) and not self._is_shared(run):
                self.waiting.remove(run)
                if is_needed(run, self.results):
                    self.starts[run] += 1
                    self.active[run] = self.executor.submit(run_job, text_of(run))
        return bool(self.active)

    def collect(self, say: Any) -> None:
        """Take up what has ended since."""
        for run, job in [(run, job) for run, job in self.active.items() if job.done()]:
            del self.active[run]
            error = job.exception()
            if error is None:
                reason = job.result()
            elif self.starts[run] < MOST_STARTS:
                say(f"{run}: job {job.job_id} was ended before it was done; it is started again")
                self.waiting.insert(0, run)
                continue
            else:
                reason = f"ended {MOST_STARTS} times before it was done; see {job.paths.stderr}"
            if reason:
                self.failures[run] = reason
            self.results[run] = read_result(run)

    def cancel(self) -> bool:
        """Stop all jobs, which store their state. False where there are none."""
        jobs = list(self.active.values())
        for job in jobs:
            job.cancel(check=False)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not all(job.done() for job in jobs):
            time.sleep(0.1)
        return bool(jobs)

    def _is_decided(self, run: Run) -> bool:
        """False at later seeds while rows of the group are being compared at the first one."""
        rivals = {r for r in self.runs if (r.group, r.labels, r.seed) == (run.group, run.labels, 0)}
        return run.seed == 0 or len(rivals) == 1 or rivals.isdisjoint({*self.waiting, *self.active})

    def _is_shared(self, run: Run) -> bool:
        """Whether a job trains the first stage of this run at the moment: others would wait for it, and use nothing."""
        if all(self.first[other] != self.first[run] for other in self.active):
            return False
        return (read_record(self.first[run] / RECORD_FILE) or {}).get("status") != "finished"
