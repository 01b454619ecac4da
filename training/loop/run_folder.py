"""The folder of one run: its files, the check that they are of this very run, and the rows of its logs."""

import csv
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.layout.labels import Labels
from models.parts.weights import read_file, write_file
from training.loop.identity import (
    BEST_NETWORK,
    CONFIG_FILE,
    RECORD_FILE,
    differences,
    identity_of_old_run,
    photographs_identity,
    run_identity,
    run_name,
)
from training.loop.latest import point_latest_to
from training.loop.provenance import read_record
from utils.commands import METHOD_SCRIPTS, command_for
from utils.config import method_name, table_of, write_config
from utils.errors import UserError
from utils.files import naming, remove_dead_parts, write_atomically, write_csv, write_text
from utils.readers import read_csv, read_json, reading, whole_number

# What stage 2 takes over from stage 1 by its command line; the architecture it takes from the network. With another
# split, it would choose by sequences that stage 1 has trained on.
_DATA_KEYS = (
    *("dataset_folder_train", "dataset_folder_test", "actor_subset", "every_nth_frame"),
    *("validation_fraction", "seed", "pretrained_network_path"),
)


class RunFolder:
    """Paths of a run, and its resumable state.

    `config.json`, `run.json`, `debug_log_training.txt`, `debug_log_testing.txt`, `images/`,
    `models/network_last_val.pth`, `models/network_best_val_t1.pth`, `models/training_state.pth`.
    """

    def __init__(self, config: dict, stage: str):
        self.stage, self.identity = stage, run_identity(config, stage) | photographs_identity(config)
        self.path = Path(config["output_folder"]) / run_name(config, stage)
        self.models = self.path / "models"
        self.images = self.path / "images"
        self.last_network = self.models / "network_last_val.pth"
        self.best_network = self.path / BEST_NETWORK
        self.state_file = self.models / "training_state.pth"
        self.config_file = self.path / CONFIG_FILE
        self.record_file = self.path / RECORD_FILE

    def open(self, config: dict, resume: bool, write: bool = True) -> dict | None:
        """Make the folder (with `write`); return the state to resume from, or None for a fresh start.

        Raises UserError for a folder that holds another run, or this one and there is no `resume`.
        """
        # Also where the name is made of the config: its six digits may, by chance, be those of another run.
        if changes := differences(self.identity, self._stored_identity()):
            raise UserError(
                f"{str(self.path)!r} holds another run, which differs in {', '.join(changes)}; "
                "choose another name, or remove the folder"
            )
        if self.state_file.exists() and not resume:
            raise UserError(
                f"{str(self.path)!r} holds a run of this config; give --resume to continue it, or remove it"
            )
        if write:
            for folder in (self.path, self.models, self.images):
                folder.mkdir(parents=True, exist_ok=True)
                remove_dead_parts(folder)
            write_config(self.config_file, config)
            point_latest_to(self.path)
        return self._read_state() if self.state_file.exists() else None

    def example(self, iteration: int) -> Path:
        """The picture of held-out examples after an iteration."""
        return self.images / f"example_{iteration:06d}.png"

    @property
    def threads(self) -> int | None:
        """With how many threads of a CPU the run trained last; None where that is not recorded."""
        sessions = (read_record(self.record_file) or {}).get("sessions")
        return whole_number(sessions[-1].get("threads"), least=1) if sessions else None

    def save_state(self, state: dict) -> None:
        """Write the state of a resumable run, atomically."""
        write_atomically(self.state_file, lambda part: write_file(state, part))

    def _read_state(self) -> dict:
        try:
            state = read_file(self.state_file)
        except UserError as error:
            raise UserError(f"cannot resume: {error}; remove it to start again") from error
        numbers = ("iteration", int), ("best", (int, float))
        wrong = [] if isinstance(state, dict) else ["state"]
        wrong += [key for key in ("network", "optimizer") if not wrong and not isinstance(state.get(key), dict)]
        wrong += [key for key, kind in numbers if not wrong and not isinstance(state.get(key), kind)]
        if wrong or state["iteration"] < 0:
            raise UserError(
                f"cannot resume from {str(self.state_file)!r}: no valid {(wrong or ['iteration'])[0]!r} in this state "
                "of a training; remove it to start again"
            )
        if math.isfinite(state["best"]) and not self.best_network.is_file():
            raise UserError(
                f"cannot resume: the best network is missing, {str(self.best_network)!r}; remove {str(self.path)!r} to "
                "start again"
            )
        return state

    def _stored_identity(self) -> dict:
        """The identity of the run that the folder holds; this run's own where it holds none."""
        if (record := read_record(self.record_file)) is not None:
            return record.get("identity", {})
        if self.config_file.exists():
            config = read_json(self.config_file, dict)
            with reading(self.config_file, "the config of a run; remove the folder to start again"):
                return identity_of_old_run(config, self.identity)
        return self.identity


def next_command(folder: RunFolder, config: Mapping[str, Any]) -> str:
    """The command that goes on from a trained run: stage 2 after a stage 1 without poses, else the test."""
    given, table = {"network_path": str(folder.path)}, table_of(config)
    stage2, test = METHOD_SCRIPTS[method_name(config)]
    if folder.stage == "encode" and not config.get("loss_weight_3d"):
        # Stage 2 takes the architecture from the network, but the labels are the user's choice.
        kept = [key for key in _DATA_KEYS if key in table and config[key] != table[key].default]
        given |= {key: str(config[key]) for key in kept}
        if not _has_labeled_subjects(config, table["label_subjects"].default):
            given["label_subjects"] = None
        command = command_for(stage2)
    else:
        command = command_for(test, "--evaluate")
    return " ".join([command, *(shlex.quote(f"{key}={value}") for key, value in given.items())])


def _has_labeled_subjects(config: Mapping[str, Any], subjects: Sequence[int]) -> bool:
    """Whether the people whom `config` trains on are some of `subjects`; True where the set is no longer there."""
    try:
        people = set(np.unique(Labels(config["dataset_folder_train"])["subj"]).tolist())
    except UserError:
        # Only the words of a hint depend on it, and the training has ended.
        return True
    return bool(people & set(subjects) & set(config["actor_subset"] or people))


class CsvLog:
    """A CSV file with one header; rows after `iteration` are dropped when a run resumes there."""

    def __init__(self, path: Path, iteration: int = 0):
        self.path = path
        self.fields: list[str] | None = None
        # A killed run has logged iterations after its last checkpoint, and will do them again.
        kept = rows_until(path, iteration)
        if kept:
            self.fields = list(kept[0])
            write_csv(path, self.fields, (row.values() for row in kept))
        else:
            write_text(path, "")

    def append(self, row: dict) -> None:
        """Add a row; the first one also writes the header."""
        if self.fields is not None and set(self.fields) != set(row):
            raise UserError(
                f"{str(self.path)!r} has the columns {', '.join(self.fields)}; expected {', '.join(row)}: "
                "move the log away to go on"
            )
        with naming(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.fields or list(row))
            if self.fields is None:
                self.fields = list(row)
                writer.writeheader()
            writer.writerow(row)


def rows_until(path: Path, iteration: int) -> list[dict]:
    """The rows of a log up to `iteration`. UserError for a damaged one."""
    # A log without rows is empty: its first row writes the header.
    logged = iteration and path.exists() and (not path.is_file() or path.stat().st_size)
    rows = read_csv(path, ["iteration"]) if logged else []
    if any(None in row for row in rows):
        raise UserError(f"{str(path)!r} has a row with more cells than columns; move the log away to go on")
    return [row for row in rows if _is_complete(row, iteration)]


def _is_complete(row: dict, iteration: int) -> bool:
    """False for rows after `iteration`, and for a line that a kill has truncated."""
    try:
        return int(row["iteration"]) <= iteration and None not in row.values()
    except (KeyError, TypeError, ValueError):
        return False
