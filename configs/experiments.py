"""Measure what the paper claims, what its parts are worth, and what a better recipe gains: suites of trainings.

python configs/experiments.py SUITE [--data DIR] [--scale 64|128] [--seeds N] [--budget MINUTES] [--rows NAME ...]
                              [--labels N ...] [--report] [--page DIR]
                              [stage1.key=value ...] [stage2.key=value ...] [key=value ...]

SUITE is labels, ablation, recipe or better (configs/suites/), or a file of your own like those. Finished runs are
not repeated, and an interrupted or killed one goes on. Plain supervision counts as stage 2.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs import (
    config_demo,
    config_demo_pose,
    config_demo_supervised,
    config_train_encodeDecode,
    config_train_encodeDecode_pose,
)
from utils.config import parse_override, read_config_file
from utils.errors import UserError, run_script
from utils.paths import WORK

SUITES = Path(__file__).with_name("suites")
DATA = {64: "benchmark64", 128: "benchmark"}


def main() -> None:
    arguments = parse_arguments()
    from training.experiments.plan import plan
    from training.experiments.report import write_report
    from training.experiments.results import Results
    from training.experiments.run import run_suite

    output = Path(arguments.output or WORK / "output" / f"experiments{arguments.scale}")
    name, suite = read_suite(arguments.suite)
    cells = plan(suite, base_configs(arguments, output), arguments.seeds)
    results = Results(output / f"{name}.json")
    if not arguments.report:
        chosen = choose(cells, arguments.rows, arguments.labels)
        whole = run_suite(chosen, results, suite.get("views", False), arguments.budget)
        print("all is done" if whole else "not all is done: start again to go on, or read what failed in the report")
    print(f"report: {write_report(arguments.page or output, name, suite, cells, results)}")


def parse_arguments() -> argparse.Namespace:
    about, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", metavar="SUITE", help="labels, ablation, recipe, better, or a file")
    parser.add_argument("--data", metavar="DIR", help="holds train and test (default: data/benchmark64, or benchmark)")
    parser.add_argument("--scale", type=int, choices=DATA, default=64, help="64: small network; 128: the published one")
    parser.add_argument("--seeds", type=int, metavar="N", default=3, help="repetitions (default 3)")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="stop after so long; start again to go on")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only rows whose names contain one of these")
    parser.add_argument("--labels", nargs="+", type=int, metavar="N", help="only these numbers of labels")
    parser.add_argument("--output", metavar="DIR", help="runs and results (default: output/experiments64, or 128)")
    parser.add_argument("--report", action="store_true", help="train nothing, only write the page of what is done")
    parser.add_argument("--page", metavar="DIR", help="where the page and its picture go (default: to output)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change one key of the base configs")
    return parser.parse_intermixed_args()


def read_suite(name: str) -> tuple[str, dict]:
    """Name and dictionary of a suite: one of ours by its name, or a file."""
    ours = sorted(path.stem for path in SUITES.glob("*.py"))
    path = SUITES / f"{name}.py" if name in ours else Path(name)
    if not path.is_file():
        raise UserError(f"no suite {name!r}; expected {', '.join(ours)}, or a Python file that defines suite")
    return path.stem, read_config_file(path, "suite")


def choose(cells: list, rows: list[str] | None, labels: list[int] | None) -> list:
    """The part of a suite that is to run now; the report shows all of it."""
    known_rows, known_labels = {cell.row for cell in cells}, {cell.labels for cell in cells}
    for name in rows or ():
        if not any(name in row for row in known_rows):
            raise UserError(f"--rows {name!r}: no such row; expected part of one of {sorted(known_rows)}")
    for number in labels or ():
        if number not in known_labels:
            raise UserError(f"--labels {number}: not in this suite; expected some of {sorted(known_labels)}")
    return [
        cell
        for cell in cells
        if (rows is None or any(name in cell.row for name in rows)) and (labels is None or cell.labels in labels)
    ]


def base_configs(arguments: argparse.Namespace, output: Path):
    """The configs that suites change: the demo's at 64 px, the published ones at 128 px, and what the user changed."""
    from training.experiments.plan import Base

    data = Path(arguments.data or WORK / "data" / DATA[arguments.scale]).resolve()
    if not data.is_dir():
        raise UserError(
            f"no folder {str(data)!r}; render the benchmark with `python configs/render_dataset.py --preset "
            f"{DATA[arguments.scale]} --output {data}`, or give --data a folder that holds train and test"
        )
    if arguments.scale == 64:
        modules = (config_demo, config_demo_pose, config_demo_supervised)
        configs = [dict(module.config_dict) for module in modules]
    else:
        published, pose = config_train_encodeDecode.config_dict, config_train_encodeDecode_pose.config_dict
        configs = [dict(published), dict(pose), {**pose, "network_path": None, "freeze_encoder": False}]
    for config in configs:
        config.update(
            dataset_folder_train=str(data / "train"),
            dataset_folder_test=str(data / "test"),
            training_set=data.name,
            output_folder=str(output.resolve()),
        )
    for override in arguments.overrides:
        key, value = parse_override(override)
        stage, _, plain = key.rpartition(".")
        targets = {"": configs, "stage1": configs[:1], "stage2": configs[1:]}
        if stage not in targets:
            raise UserError(f"argument {override!r}: no stage {stage!r}; expected stage1.key=value or stage2.key=value")
        for config in targets[stage]:
            config[plain] = value
    return Base(
        *configs, reference=config_train_encodeDecode_pose.config_dict, optional=config_train_encodeDecode.optional_keys
    )


if __name__ == "__main__":
    run_script(main)
