"""From a suite's dictionary to a plain list of runs.

A suite (configs/suites/*.py) is a dictionary:

    title           one line, the heading of the page
    preset          the rendered set that it takes without --data: "benchmark" (default) or "wild", as at 128 px
    labels          numbers of labeled crops (int), or fractions of all that a row may use (float)
    rows            name -> changes: `stage1` (None: supervision without it), `stage2`, and `finetune` (a third stage:
                    encoder and pose decoder on the same labels). A row with `scale` exists at that crop size only. Of
                    rows with the same `group` the best one on held-out labels at the first seed stands for the group.
    stage1, stage2  changes for all rows
    reference, method   the row that others are compared with; the row that is printed in bold
    views           whether novel views are tested too
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datasets.layout.labels import Labels
from models.methods import method_of
from training.stages.labels import count_labels
from utils.config import check_config
from utils.errors import UserError
from utils.keys import KEYS, STAGE1_KEYS

MAX_SEEDS = 1000
# What a suite and a row may have, and of which type.
_SUITE = {"title": str, "labels": list, "rows": dict, "stage1": dict, "stage2": dict}
_SUITE |= {"preset": str, "reference": str, "method": str, "views": bool}
_ROW = {"stage1": dict | None, "stage2": dict, "finetune": dict, "scale": int, "group": str}
# Keys that `plan` sets, and what they follow from.
PLANNED = {
    "seed": "--seeds sets it",
    "label_fraction": "labels of the suite set it",
    "network_path": "it is the network of the stage before",
    "name": "each run has a folder of its own",
}
_WHICH_LABELS = ("dataset_folder_train", "actor_subset", "label_subjects", "every_nth_frame", "validation_fraction")


@dataclass(frozen=True, eq=False)
class Run:
    """The trainings behind one number of a table, in order: `stages` holds ("encode" or "pose", config) for each."""

    row: str
    group: str
    labels: int
    seed: int
    stages: tuple[tuple[str, dict], ...]
    views: bool

    def __str__(self) -> str:
        return f"{self.row}, {self.labels} labels, seed {self.seed}"


def plan(suite: Mapping[str, Any], stage1: dict, stage2: dict, num_seeds: int) -> list[Run]:
    """Every run of a suite that changes these base configs, all rows of the first seed before the second one.

    Raises UserError for unknown or invalid keys of the suite, a row or a config, and for data that cannot be read.
    """
    _check_suite(suite)
    if not 1 <= num_seeds <= MAX_SEEDS:
        raise UserError(f"number of seeds is {num_seeds}; expected at least 1, at most {MAX_SEEDS}")
    stage1, stage2 = ({**base, **suite.get(key, {})} for key, base in (("stage1", stage1), ("stage2", stage2)))
    stage2 = check_config(stage2)
    total = _count_labels(stage2)
    rows = {
        # Rows may choose among different labels. Those that do not need not read them again, which may be millions.
        name: (row, _count_labels({**stage2, **changes}) if changes.keys() & set(_WHICH_LABELS) else total)
        for name, row in suite["rows"].items()
        for changes in [row.get("stage2", {})]
        if row.get("scale", stage2["inputDimension"]) == stage2["inputDimension"]
    }
    return [
        Run(name, row.get("group", name), count, seed, stages, suite.get("views", False))
        for seed in range(num_seeds)
        for name, (row, total) in rows.items()
        for count in label_counts(suite["labels"], total)
        for stages in [_stages(row, stage1, stage2, {"seed": seed, "label_fraction": count / total})]
    ]


def label_counts(amounts: list[int | float], total: int) -> list[int]:
    """Amounts of labels as numbers of crops, sorted, without duplicates; those above `total` are left out."""
    # NaN fails both comparisons; True is a number to Python only.
    if wrong := [a for a in amounts if isinstance(a, bool) or not isinstance(a, int | float) or not 0 < a < 1 << 62]:
        raise UserError(f"labels: {wrong[0]!r}; expected numbers of crops, or fractions of all")
    counts = {round(amount * total) if isinstance(amount, float) else amount for amount in amounts}
    kept = sorted(count for count in counts if 0 < count <= total)
    if not kept:
        raise UserError(f"labels {amounts}: none is possible with {total} labeled crops")
    return kept


def _count_labels(config: dict) -> int:
    """How many crops of the training set stage 2 may choose among."""
    config = check_config(config)
    return count_labels(Labels(config["dataset_folder_train"]), config)


def _stages(row: Mapping[str, Any], stage1: dict, stage2: dict, labels: dict) -> tuple[tuple[str, dict], ...]:
    """The configs of a row's trainings; `labels`: their seed, and the fraction of the labels."""
    changes = {**row.get("stage2", {}), **labels}
    if row.get("stage1", {}) is None:
        stages = [("pose", {**stage2, "network_path": None, "freeze_encoder": False, **changes})]
    else:
        stage1 = {**stage1, **row.get("stage1", {}), "seed": labels["seed"]}
        # Stage 2 inherits the encoder: a row states a change of the architecture once, under stage1.
        method = method_of(stage1)
        inherited = {*method.ARCHITECTURE_KEYS, *method.BEHAVIOR_KEYS, *method.ENCODER_START_KEYS}
        inherited -= {*method.POSE_DECODER_KEYS}
        encoder = {key: value for key, value in stage1.items() if key in inherited}
        stages = [("encode", stage1), ("pose", {**stage2, **encoder, **changes})]
        if "finetune" in row:
            stages.append(("pose", {**stages[-1][1], "freeze_encoder": False, **row["finetune"]}))
    return tuple((stage, check_config(config, STAGE1_KEYS if stage == "encode" else KEYS)) for stage, config in stages)


def _check_suite(suite: Mapping[str, Any]) -> None:
    _check("suite", suite, _SUITE)
    if missing := {"title", "labels", "rows"} - set(suite):
        raise UserError(f"suite without {min(missing)!r}; expected title, labels and rows")
    for key in ("stage1", "stage2"):
        _check_changes(f"{key} of suite", suite.get(key, {}), PLANNED)
    for name, row in suite["rows"].items():
        _check(f"row {name!r}", row, _ROW)
        _check_row(f"row {name!r}", row)
    names = {*suite["rows"], *(row.get("group") for row in suite["rows"].values())}
    for key in ("reference", "method"):
        if suite.get(key) not in {None, *names}:
            raise UserError(f"{key} of the suite is {suite[key]!r}; expected the name of a row or group")


def _check_row(what: str, row: Mapping[str, Any]) -> None:
    stage1 = row.get("stage1", {})
    if stage1 is None and "finetune" in row:
        raise UserError(f"{what} has 'finetune', but no stage1; expected either, since supervision trains the encoder")
    _check_changes(f"stage1 of {what}", stage1 or {}, PLANNED)
    # Supervision may begin with a network of its own.
    planned = {key: why for key, why in PLANNED.items() if stage1 is not None or key != "network_path"}
    _check_changes(f"stage2 of {what}", row.get("stage2", {}), planned)
    same = dict.fromkeys(_WHICH_LABELS, "its labels are those of stage2")
    _check_changes(f"finetune of {what}", row.get("finetune", {}), PLANNED | same)


def _check_changes(what: str, changes: Mapping[str, Any], planned: Mapping[str, str]) -> None:
    """UserError where a key of `changes` is one of those `planned`, key -> the reason."""
    for key in changes:
        if key in planned:
            raise UserError(f"{what} has {key!r}, but {planned[key]}; leave it out")


def _check(what: str, given: Any, types: dict[str, Any]) -> None:
    if not isinstance(given, dict):
        raise UserError(f"{what} is {given!r}; expected a dictionary")
    for key, value in given.items():
        if key not in types:
            raise UserError(f"{what} has the key {key!r}; expected some of {', '.join(sorted(types))}")
        if not isinstance(value, types[key]):
            raise UserError(f"{key} of {what} is {value!r}; expected {getattr(types[key], '__name__', types[key])}")
