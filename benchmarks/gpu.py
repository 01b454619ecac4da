"""Measure stage 1 on one GPU as users run it: whole training loops, with and without compilation to CUDA graphs.

python benchmarks/gpu.py [--configuration NAME] [--iterations N]
Prints a table with iterations/s, crops/s, TFLOP/s, peak memory and how often a step waits for the GPU;
writes output/benchmarks/gpu.json: {configuration: {"compiled": {...}, "eager": {...}}}.
"""

import argparse
import contextlib
import csv
import datetime
import io
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.measures import training_flop, training_way
from benchmarks.results import FOLDER, write_results
from benchmarks.setups import CONFIGURATIONS, FULL, TINY, Setup, make_setups
from configs.command_line import script_parser
from training.loop.hardware import pick_device
from training.stages.novel_views import train_novel_views
from utils.errors import UserError, run_script

# bfloat16 TFLOP/s by a part of the chip's name. Large matrix products reach 790 of the 989 of the data sheet, and
# only what can be reached is a fair scale for a whole training step.
REACHED = {"H100": 790, "H200": 790}
WINDOWS = 5  # of a loop; the first one, which compiles, is not counted
PUBLISHED_ITERATIONS = 400_000
OUTPUT = FOLDER / "gpu.json"


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parse(arguments)
    if given.iterations < 2 * WINDOWS:
        raise UserError(f"iterations is {given.iterations}; expected at least {2 * WINDOWS}")
    device = pick_device(given.device)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in [given.configuration] if given.configuration else list(CONFIGURATIONS):
            size = TINY._replace(instants=12) if given.quick else FULL
            setups = make_setups(name, Path(folder), size, given.quick, given.device)
            flop = training_flop(setups["plain"])
            results[name] = {
                way: measure(setups["fast"], flop, wanted, given.iterations, Path(folder) / "runs" / name / way)
                for way, wanted in (("compiled", "auto"), ("eager", "never"))
            }
    print(table(results, device))
    write_results(given.output, results)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--configuration", choices=list(CONFIGURATIONS), help="default: all, one after the other")
    parser.add_argument("--iterations", type=int, default=2000, metavar="N", help="of each loop")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to check that it runs")
    parser.add_argument("--quick", action="store_true", help="a tiny network, to check that it runs")
    parser.add_argument("--output", metavar="FILE", type=Path, default=OUTPUT, help="for the figures")
    return parser.parse_args(arguments)


def measure(setup: Setup, flop: float, wanted: str, iterations: int, folder: Path) -> dict[str, float | None]:
    """Train with the config key `compile` set to `wanted`. `flop`: operations per crop.

    Rates are those that the run itself logs. Peak memory and waits are None without a CUDA device.
    """
    on_gpu = setup.hardware.device.type == "cuda"
    config = {
        **setup.config,
        "compile": wanted,
        "dataset_folder_train": str(setup.train.root),
        "output_folder": str(folder),
        "num_training_iterations": iterations,
        "print_every": iterations // WINDOWS,
        "test_every": iterations,
        "plot_every": iterations,
    }
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    # What the run prints would go between the rows of the table.
    with contextlib.redirect_stdout(io.StringIO()):
        run = train_novel_views(config)
    with open(run.path / "debug_log_training.txt", newline="") as log:
        rate = median(float(row["iterations_per_second"]) for row in list(csv.DictReader(log))[1:])
    crops = rate * config["batch_size_train"]
    return {
        "iterations_per_second": rate,
        "crops_per_second": crops,
        "tflop_per_second": crops * flop / 1e12,
        "peak_mib": torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None,
        "waits_per_step": count_waits(setup._replace(config=config)) if on_gpu else None,
    }


def count_waits(setup: Setup, steps: int = 20) -> float:
    """How often a step of stage 1 waits for the GPU after warming up, as counted by CUDA."""
    way = training_way("fast", setup)
    for _ in range(way.warm_up):
        way.call()
    # In this mode CUDA warns at each call that makes the program wait for the GPU.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            for _ in range(steps):
                way.call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught) / steps


def table(results: dict, device: torch.device) -> str:
    """The results as Markdown, with machine and date."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    reached = next((value for chip, value in REACHED.items() if chip in name), None)
    lines = [
        f"{name}, torch {torch.__version__}, {datetime.date.today()}",
        "",
        f"| configuration | way | iterations/s | crops/s | TFLOP/s | of {reached or '?'} | peak MiB | waits per step "
        f"| hours for {PUBLISHED_ITERATIONS:,} |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for configuration, ways in results.items():
        for way, values in ways.items():
            rate, flop = values["iterations_per_second"], values["tflop_per_second"]
            cells = [
                *(configuration, way, f"{rate:.1f}", f"{values['crops_per_second']:.0f}", f"{flop:.3g}"),
                f"{flop / reached:.1%}" if reached else "",
                *("" if values[key] is None else f"{values[key]:.4g}" for key in ("peak_mib", "waits_per_step")),
                f"{PUBLISHED_ITERATIONS / rate / 3600:.2f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
