"""Runs in tests: what their logs say, and runs that die at a given iteration."""

import csv
import os
import signal
from pathlib import Path

import pytest

from training.loop.run_folder import RunFolder
from training.stages.step import TrainingStep


class Died(Exception):
    """What ends a run at the iteration that `die_at` chose."""


def die_at(monkeypatch: pytest.MonkeyPatch, iteration: int, kill: bool = False) -> None:
    """Make all stages raise `Died` before `iteration`; with `kill`, end the process by signal 9 instead."""
    monkeypatch.setattr(TrainingStep, "__call__", _dying(TrainingStep.__call__, iteration, kill))


def interrupt_at(monkeypatch: pytest.MonkeyPatch, iteration: int) -> None:
    """Make all stages get Ctrl-C in `iteration`."""
    original = TrainingStep.__call__

    def call(self, batch, now):
        if now == iteration:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch, now)

    monkeypatch.setattr(TrainingStep, "__call__", call)


def _dying(original, last: int, kill: bool):
    def call(self, batch, iteration):
        if iteration == last:
            if kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Died
        return original(self, batch, iteration)

    return call


def read_log(path: str | Path) -> list[dict[str, str]]:
    """The rows of a CSV log or table, as text."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def losses(run: RunFolder | Path) -> dict[int, float]:
    """Iteration -> training loss, in the order of the log; `run` is a run folder or its path."""
    folder = run.path if isinstance(run, RunFolder) else run
    return {int(row["iteration"]): float(row["loss"]) for row in read_log(folder / "debug_log_training.txt")}
