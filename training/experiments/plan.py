"""Planning a suite of experiments: from its dictionary and the base configs to the configs of every training."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from datasets.layout.labels import Labels
from models.geometry_aware.network import ARCHITECTURE_KEYS, POSE_DECODER_KEYS
from training.loop.run_folder import run_name
from utils.config import check_config
from utils.errors import UserError

_SUITE_KEYS = {"title", "labels", "stage1", "stage2", "rows", "reference", "views"}
_ROW_KEYS = {"stage1", "stage2", "finetune", "choices", "scale"}


class Base(NamedTuple):
    """The configs that a suite changes.

    `reference` has every known key with a value of its type; `optional`: the keys that may be None, and their types.
    """

    stage1: dict
    stage2: dict
    supervised: dict
    reference: Mapping[str, Any]
    optional: Mapping[str, type]


class Trial(NamedTuple):
    """One chain of trainings: a row with so many labels at a seed; `stages`: ("encode" or "pose", config), in order."""

    row: str
    labels: int
    seed: int
    choice: int
    stages: tuple[tuple[str, dict], ...]

    @property
    def key(self) -> str:
        """What the results are filed under: names of runs, which stand for what was trained, and how it is tested."""
        stages = [run_name({**config, "network_path": None}, stage) for stage, config in self.stages]
        return " on ".join(stages[::-1]) + (", flip_test" if self.stages[-1][1]["flip_test"] else "")

    def __str__(self) -> str:
        choice = f", choice {self.choice + 1}" if self.choice else ""
        return f"{self.row}, {self.labels} labels, seed {self.seed}{choice}"


class Cell(NamedTuple):
    """What one number of a table comes from: the trials among which validation chooses; `first`: at the first seed."""

    row: str
    labels: int
    seed: int
    trials: tuple[Trial, ...]
    first: "Cell | None"


def plan(suite: Mapping[str, Any], base: Base, num_seeds: int) -> list[Cell]:
    """Every cell of a suite, all rows of the first seed before the second one.

    Raises UserError for keys that no suite, row or config knows, and for data that cannot be read.
    """
    _check_keys("suite", suite, _SUITE_KEYS)
    missing = {"title", "labels", "rows"} - set(suite)
    if missing:
        raise UserError(f"suite without {min(missing)!r}; expected title, labels and rows")
    for name, row in suite["rows"].items():
        _check_keys(f"row {name!r}", row, _ROW_KEYS)
    if num_seeds < 1:
        raise UserError(f"number of seeds is {num_seeds}; expected at least 1")
    stage2 = {**base.stage2, **suite.get("stage2", {})}
    total = _count_labels(stage2)
    amounts = label_counts(suite["labels"], total)
    rows = {name: row for name, row in suite["rows"].items() if row.get("scale", stage2["inputDimension"])
            == stage2["inputDimension"]}  # fmt: skip
    cells: dict[tuple, Cell] = {}
    for seed in range(num_seeds):
        for name, row in rows.items():
            for count in amounts:
                given = {"seed": seed, "label_fraction": count / total}
                choices = row.get("choices", [{}])
                if isinstance(choices, Mapping):
                    choices = choices[stage2["inputDimension"]]
                trials = [
                    Trial(name, count, seed, number, _stages(suite, row, choice, base, given))
                    for number, choice in enumerate(choices)
                ]
                cells[name, count, seed] = Cell(name, count, seed, tuple(trials), cells.get((name, count, 0)))
    return list(cells.values())


def label_counts(amounts: list[int | float], total: int) -> list[int]:
    """Amounts of labels as numbers of crops, sorted, each once; larger ones than `total` are left out."""
    counts = {round(amount * total) if isinstance(amount, float) else amount for amount in amounts}
    kept = sorted(count for count in counts if 0 < count <= total)
    if not kept:
        raise UserError(f"labels {amounts}: none is possible with {total} labelled crops")
    return kept


def _stages(suite: Mapping, row: Mapping, choice: Mapping, base: Base, given: Mapping) -> tuple:
    """The configs of a row's trainings; `given`: seed and label fraction, `choice`: changes of the last stage."""
    common2 = {**suite.get("stage2", {}), **row.get("stage2", {}), **given}
    if row.get("stage1", {}) is None:
        configs = [("pose", {**base.supervised, **common2})]
    else:
        stage1 = {**base.stage1, **suite.get("stage1", {}), **row.get("stage1", {}), "seed": given["seed"]}
        architecture = {key: stage1[key] for key in ARCHITECTURE_KEYS if key not in POSE_DECODER_KEYS}
        stage2 = {**base.stage2, **architecture, **common2}
        configs = [("encode", stage1), ("pose", stage2)]
        if "finetune" in row:
            configs.append(("pose", {**stage2, "freeze_encoder": False, **row["finetune"]}))
    configs[-1] = (configs[-1][0], {**configs[-1][1], **choice})
    for _, config in configs:
        check_config(config, base.reference, base.optional)
    return tuple(configs)


def _count_labels(config: Mapping[str, Any]) -> int:
    """How many crops of the training set may be labelled."""
    subjects = Labels(config["dataset_folder_train"])["subj"]
    allowed = np.ones(len(subjects), dtype=bool)
    for key in ("actor_subset", "label_subjects"):
        if config[key] is not None:
            allowed &= np.isin(subjects, config[key])
    return int(allowed.sum())


def _check_keys(what: str, given: Mapping, known: set[str]) -> None:
    if not isinstance(given, Mapping):
        raise UserError(f"{what} is {given!r}; expected a dictionary")
    unknown = sorted(set(given) - known)
    if unknown:
        raise UserError(f"{what} has the key {unknown[0]!r}; expected some of {', '.join(sorted(known))}")
