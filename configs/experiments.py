"""Measure what labels, each part of the method and each change of the recipe are worth: suites of training runs.

python configs/experiments.py SUITE [options] [stage1.key=value ...] [stage2.key=value ...] [key=value ...]

SUITE is labels, ablation, recipe, better or wild (configs/suites/), or a Python file like those. Runs that are done are
not repeated, and interrupted or killed ones are resumed. `key=value` changes a key of the named stage, or
of both where both have it; supervision without stage 1 counts as stage 2. For example, 8 hours of a suite and its page:

    python configs/experiments.py labels --seeds 1 --budget 480 stage1.optimizer=muon
    python configs/experiments.py labels --seeds 1 --report --page docs/results stage1.optimizer=muon

On a Slurm cluster, a job for each row (docs/clusters.md), with submitit's options as job.key=value:

    python configs/experiments.py labels --cluster slurm job.gpus_per_node=1 job.slurm_partition=gpu
"""

import argparse
import math
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs import config_64px, config_64px_pose, config_train_encodeDecode, config_train_encodeDecode_pose
from configs.command_line import script_parser
from utils.commands import command_for
from utils.config import parse_override, read_config_file
from utils.errors import UserError, run_script
from utils.keys import STAGE2
from utils.locks import writing
from utils.paths import WORK

SUITES = Path(__file__).with_name("suites")
JOB = "job."  # before options of jobs, which are submitit's
BASES = {64: (config_64px, config_64px_pose), 128: (config_train_encodeDecode, config_train_encodeDecode_pose)}


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    from training.experiments.plan import plan
    from training.experiments.report import collect, write_report
    from training.experiments.run import read_results, run_all

    output = Path(arguments.output or WORK / "output" / f"experiments{arguments.scale}")
    name, suite = read_suite(arguments.suite)
    runs = plan(suite, *base_configs(arguments, output, suite), arguments.seeds)
    if arguments.report and arguments.page and not collect(read_results(runs)):
        # A page of other settings would be overwritten by an empty one.
        raise UserError(
            f"no run of {name!r} in {str(output)!r} is done; expected the key=value and --seeds of its runs"
        )
    chosen = [] if arguments.report else choose(runs, arguments.rows, arguments.labels)
    # A report alone reads what others may be training.
    with nullcontext() if arguments.report else writing(output):
        if arguments.cluster and chosen:
            failures = run_jobs(arguments, chosen, runs, output)
        else:
            failures = run_all(chosen, runs, arguments.budget)
    print(f"report: {write_report(arguments.page or output, name, suite, runs)}")
    if failures:
        sys.exit("\n".join(["failed:", *(f"{run}: {reason}" for run, reason in failures.items())]))


def run_jobs(arguments: argparse.Namespace, chosen: list, runs: list, output: Path) -> dict:
    """Carry out `chosen` by jobs of a cluster; returns failures."""
    from training.experiments.cluster import MOST_JOBS, make_executor, run_on_cluster

    executor = make_executor(arguments.cluster, output / "jobs", arguments.job)
    most = MOST_JOBS[arguments.cluster] if arguments.jobs is None else arguments.jobs
    return run_on_cluster(chosen, runs, executor, most, arguments.budget)


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("suite", metavar="SUITE", help="labels, ablation, recipe, better, wild, or a file")
    help_data = "holds train and test (default: data/benchmark64, of wild data/wild64; at --scale 128 without the 64)"
    parser.add_argument("--data", metavar="DIR", help=help_data)
    help_scale = "64 px: a small network, 128: the published"
    parser.add_argument("--scale", type=int, choices=BASES, default=64, help=help_scale)
    parser.add_argument("--seeds", type=int, metavar="N", default=3, help="repetitions")
    parser.add_argument("--budget", type=float, metavar="MINUTES", default=math.inf, help="stop after that time")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="run only rows whose names contain one of these")
    parser.add_argument("--labels", nargs="+", type=int, metavar="N", help="run only these numbers of labels")
    parser.add_argument("--output", metavar="DIR", help="folder of the runs (default: output/experiments64, or 128)")
    parser.add_argument("--report", action="store_true", help="train nothing, only write the page of what is done")
    parser.add_argument("--page", metavar="DIR", help="folder of the page and its chart (default: that of the runs)")
    help_cluster = "run rows side by side: as jobs of Slurm, or as processes of this machine"
    parser.add_argument("--cluster", choices=("slurm", "local"), help=help_cluster)
    parser.add_argument("--jobs", type=int, metavar="N", help="with --cluster: at the same time (default: 100, or 2)")
    # --rows and --labels take every word that follows: key=value is taken out before.
    is_override = re.compile(r"[A-Za-z_][\w.]*=").match
    arguments = parser.parse_args([word for word in argv if not is_override(word)])
    arguments.overrides = [word for word in argv if is_override(word) and not word.startswith(JOB)]
    arguments.job = dict(parse_override(word.removeprefix(JOB)) for word in argv if word.startswith(JOB))
    if (arguments.job or arguments.jobs is not None) and not arguments.cluster:
        raise UserError("--jobs and job.key=value need --cluster")
    if arguments.jobs is not None and arguments.jobs < 1:
        raise UserError(f"--jobs is {arguments.jobs}; expected at least 1")
    return arguments


def read_suite(name: str) -> tuple[str, dict]:
    """Name and dictionary of a suite: one of ours by its name, or a file."""
    ours = sorted(path.stem for path in SUITES.glob("*.py"))
    path = SUITES / f"{name}.py" if name in ours else Path(name)
    if not path.is_file():
        raise UserError(f"no suite {name!r}; expected {', '.join(ours)}, or a Python file that defines suite")
    return path.stem, read_config_file(path, "suite")


def choose(runs: list, rows: list[str] | None, labels: list[int] | None) -> list:
    """The part of a plan to run now; the report shows all of it."""
    known_rows, known_labels = sorted({run.row for run in runs}), sorted({run.labels for run in runs})
    for name in rows or ():
        if not any(name in row for row in known_rows):
            raise UserError(f"--rows {name!r}: no such row; expected part of one of {known_rows}")
    for number in labels or ():
        if number not in known_labels:
            raise UserError(f"--labels {number}: not in this suite; expected some of {known_labels}")
    kept = [run for run in runs if not rows or any(name in run.row for name in rows)]
    return [run for run in kept if not labels or run.labels in labels]


def base_configs(arguments: argparse.Namespace, output: Path, suite: Mapping[str, Any]) -> list[dict]:
    """Stage 1 and stage 2 as `suite` finds them: config_64px.py, else the published, with the user's changes."""
    from training.experiments.plan import PLANNED

    # Presets have their size in their names, but for the published one.
    preset = f"{suite.get('preset', 'benchmark')}{'' if arguments.scale == 128 else arguments.scale}"
    data = Path(arguments.data or WORK / "data" / preset).resolve()
    if not data.is_dir():
        raise UserError(
            f"no folder {str(data)!r}; render the benchmark with `{command_for('render_dataset')} --preset "
            f"{preset} --output {data}`, or give --data a folder that holds train and test"
        )
    folders = {f"dataset_folder_{split}": str(data / split) for split in ("train", "test")}
    common = {**folders, "training_set": data.name, "output_folder": str(output.resolve())}
    configs = {
        stage: {**base.config_dict, **common}
        for stage, base in zip(("stage1", "stage2"), BASES[arguments.scale], strict=True)
    }
    for override in arguments.overrides:
        key, value = parse_override(override)
        stage, _, plain = key.rpartition(".")
        if stage not in ("", *configs):
            raise UserError(f"argument {override!r}: no stage {stage!r}; expected stage1.key=value or stage2.key=value")
        # Stage 1 does not know them.
        both = ["stage2"] if plain in STAGE2 else list(configs)
        for changed in [stage] if stage else both:
            if plain in PLANNED and value != configs[changed].get(plain):
                raise UserError(f"argument {override!r}: {PLANNED[plain]}; leave it out")
            # The suite's own value would win, in silence.
            own = suite[changed] if isinstance(suite.get(changed), dict) else {}
            if plain in own and value != own[plain]:
                raise UserError(
                    f"argument {override!r}: the suite sets {plain} of {changed} to {own[plain]!r}; leave it out, or "
                    "change a copy of the suite"
                )
            configs[changed][plain] = value
    return list(configs.values())


if __name__ == "__main__":
    run_script(main)
