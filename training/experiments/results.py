"""The results of a suite of experiments: one JSON file, written whole after every run."""

import csv
import json
from pathlib import Path
from typing import Any

from training.experiments.plan import Trial
from utils.errors import UserError
from utils.files import write_atomically


class Results:
    """Records of trials: `status` "done" with `scores`, `validation_n_mpjpe_mm`, `minutes`, `run`; or "failed" with a
    `reason`. What a record describes stands in it too: `row`, `labels`, `seed`, `choice`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.records: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            try:
                self.records = json.loads(self.path.read_text())
            except ValueError as error:
                raise UserError(f"results {str(path)!r} are not JSON ({error}); mend or remove the file") from error

    def add(self, trial: Trial, record: dict[str, Any]) -> None:
        """File the record of a trial, in the place of an older one."""
        named = {"row": trial.row, "labels": trial.labels, "seed": trial.seed, "choice": trial.choice}
        self.records[trial.key] = {**named, **record}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.records, indent=1) + "\n"
        write_atomically(self.path, lambda part: part.write_text(text))

    def get(self, trial: Trial) -> dict[str, Any] | None:
        """The record of a trial, if it has one."""
        return self.records.get(trial.key)

    def is_done(self, trial: Trial) -> bool:
        """Whether a trial has scores."""
        return self.records.get(trial.key, {}).get("status") == "done"

    def best(self, trials: tuple[Trial, ...]) -> Trial | None:
        """The trial with the lowest error on validation; None until each is done or has failed."""
        if any(self.get(trial) is None for trial in trials):
            return None
        done = [trial for trial in trials if self.is_done(trial)]
        return min(done, key=lambda trial: self.get(trial)["validation_n_mpjpe_mm"], default=None)


def validation_score(run: Path) -> float:
    """The lowest N-MPJPE on held-out labels of a run of stage 2, mm: that of the network that is tested."""
    return min(float(row["n_mpjpe"]) for row in _rows(run / "debug_log_testing.txt"))


def training_minutes(run: Path) -> float:
    """How long a run trained and validated, by its log; a run that was interrupted is counted once."""
    seconds, before = 0.0, 0
    for row in _rows(run / "debug_log_training.txt"):
        seconds += (int(row["iteration"]) - before) / max(float(row["iterations_per_second"]), 1e-3)
        before = int(row["iteration"])
    return seconds / 60


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
