"""Measure what a GPU does for users, as they run it: whole training loops of both stages, and rendering.

python benchmarks/gpu.py [--budget SECONDS] [--demo]
Takes at most four minutes: lines that would not fit are left out, with a note. Prints the table of docs/speed.md and
writes output/benchmarks/gpu.json: {line: {"iterations_per_second": ..., ...}}.
"""

import argparse
import contextlib
import csv
import datetime
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.interrupts import catch_signals

if __name__ == "__main__":
    # The imports that follow take seconds.
    catch_signals()

import torch

from benchmarks.measures import training_flop, training_way
from benchmarks.results import FOLDER, write_results
from benchmarks.setups import FULL, QUICK, TINY, Setup, Size, make_network, make_setups, with_random_weights
from configs.command_line import script_parser
from configs.config_train_better import RECIPE
from training.loop.hardware import pick_device
from training.stages.novel_views import train_novel_views
from training.stages.pose import train_pose
from utils.errors import UserError, run_script

# bfloat16 TFLOP/s by a part of the chip's name. Large matrix products reach 790 of the 989 of the data sheet, and
# only what can be reached is a fair scale for a whole training step.
REACHED = {"H100": 790, "H200": 790}
WINDOWS = 5  # of a loop; the first one, which compiles and captures, is not counted
OUTPUT = FOLDER / "gpu.json"
RENDERED_SIDE = 64  # of rendered crops, pixels


class Line(NamedTuple):
    """A training loop to measure. `takes`: seconds to expect, on an H100; `target`: crops or iterations per second."""

    configuration: str
    compiled: str  # the config key `compile`; in so few iterations "auto" does not compile
    iterations: int
    takes: int
    target: str = ""
    changes: Mapping[str, object] = MappingProxyType({})


# By importance. Compiling took 23 (demo) to 49 s (published); `takes` allows for twice that.
LINES = {
    "published, batch 32": Line("published", "auto", 1000, 25),
    "demo, stage 1": Line("demo", "auto", 2000, 20, "350 it/s"),
    "demo, stage 2": Line("demo", "auto", 4000, 10, "1,000 it/s"),
    "better recipe": Line("published", "auto", 600, 15, "", RECIPE),
    "published, batch 128": Line("published", "auto", 300, 15, "", {"batch_size_train": 128}),
    "published, batch 256": Line("published", "auto", 200, 20, "", {"batch_size_train": 256}),
    "published, batch 32, compiled": Line("published", "always", 1000, 110, "5,500 crops/s"),
    "better recipe, compiled": Line("published", "always", 600, 60, "4,000 crops/s", RECIPE),
    "demo, stage 1, compiled": Line("demo", "always", 2000, 40),
    "published, batch 32, eager": Line("published", "never", 200, 15),
}
RENDERING, RENDERING_TAKES, RENDERING_TARGET = "rendering, 64 px", 25, "1,000 crops/s"
WHOLE_DEMO, WHOLE_DEMO_TARGET = "whole demo", "2 minutes"


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parse(arguments)
    device, started, results, left_out = pick_device(given.device), time.perf_counter(), {}, []

    def fits(name: str, takes: int) -> bool:
        if given.quick or time.perf_counter() - started + takes <= given.budget:
            return True
        left_out.append(name)
        return False

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), given.quick, given.device)
        if not given.quick and fits(RENDERING, RENDERING_TAKES):
            results[RENDERING] = {"crops_per_second": rendering_rate(Path(folder))}
        for name, line in LINES.items():
            # On a CPU, where this is only to check that it runs, compiling would take minutes.
            if (device.type == "cuda" or line.compiled == "auto") and fits(name, line.takes):
                results[name] = bench.measure(name, line)
        if given.demo:
            results[WHOLE_DEMO] = {"minutes": demo_minutes(Path(folder) / "whole_demo")}
    print(table(results, device))
    if left_out:
        print(f"\nnot measured, to end within {given.budget} s (--budget): {'; '.join(left_out)}")
    write_results(given.output, results)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--budget", type=int, default=240, metavar="SECONDS", help="for all lines together")
    parser.add_argument("--demo", action="store_true", help="measure the whole demo too, on top of the budget")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to check that it runs")
    parser.add_argument("--quick", action="store_true", help="tiny networks and no rendering, to check that it runs")
    parser.add_argument("--output", metavar="FILE", type=Path, default=OUTPUT, help="for the figures")
    given = parser.parse_args(arguments)
    if given.budget < 1:
        raise UserError(f"--budget is {given.budget}; expected seconds, 1 or more")
    return given


class Bench:
    """Measures training loops; data and networks of a configuration are made once."""

    def __init__(self, folder: Path, quick: bool, device: str):
        self.folder, self.quick, self.device = folder, quick, device
        self.size: Size = TINY._replace(instants=12) if quick else FULL._replace(instants=80)
        self.setups: dict[str, Setup] = {}
        self.run_of: dict[str, Path] = {}

    def measure(self, name: str, line: Line) -> dict[str, float | None]:
        """Train as `line` says. Rates are those that the run itself logs. Peak memory is that of a GPU."""
        if line.configuration not in self.setups:
            setups = make_setups(line.configuration, self.folder, self.size, self.quick, self.device)
            self.setups[line.configuration] = setups["fast"]
        setup = self.setups[line.configuration]
        changes = {key: value for key, value in line.changes.items() if not (self.quick and key in QUICK)}
        iterations = 2 * WINDOWS if self.quick else line.iterations
        loop = {
            "compile": line.compiled,
            "dataset_folder_train": str(setup.train.root),
            "output_folder": str(self.folder / "runs" / name.replace(", ", "_").replace(" ", "_")),
            "num_training_iterations": iterations,
            "print_every": iterations // WINDOWS,
            "test_every": iterations,
            "plot_every": iterations,
        }
        on_gpu = setup.hardware.device.type == "cuda"
        if on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        if name.endswith("stage 2"):
            stage1 = str(self.run_of[line.configuration])
            config = {**setup.pose_config, **changes, **loop, "network_path": stage1, "label_fraction": 1.0}
            return _rates(*_logged(train_pose, config), config, on_gpu)
        config = with_random_weights({**setup.config, **changes, **loop}, self.folder)
        run, seconds = _logged(train_novel_views, config)
        self.run_of.setdefault(line.configuration, run)
        results = _rates(run, seconds, config, on_gpu)
        hardware, network = make_network(config, "plain")
        flop = training_flop(setup._replace(config=config, hardware=hardware, network=network))
        results["tflop_per_second"] = results["crops_per_second"] * flop / 1e12
        if on_gpu:
            hardware, network = make_network(config, "fast")
            results["waits_per_step"] = count_waits(setup._replace(config=config, hardware=hardware, network=network))
        return results


def _logged(train, config: dict) -> tuple[Path, float]:
    """Run folder and seconds of a training; what it prints would go between the rows of the table."""
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run = train(config)
    return run.path, time.perf_counter() - started


def _rates(run: Path, seconds: float, config: dict, on_gpu: bool) -> dict[str, float | None]:
    with open(run / "debug_log_training.txt", newline="", encoding="utf-8") as log:
        first, *later = (float(row["iterations_per_second"]) for row in csv.DictReader(log))
    rate, window = median(later), config["num_training_iterations"] // WINDOWS
    return {
        "iterations_per_second": rate,
        "crops_per_second": rate * config["batch_size_train"],
        # what compiling and capturing take: how much longer the first window is
        "start_seconds": max(0.0, window / first - window / rate),
        "seconds": seconds,
        "peak_mib": torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None,
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


def rendering_rate(folder: Path) -> float:
    """Crops per second that all cores render and write."""
    # Imported here, because rendering needs packages of the extra "render".
    from benchmarks.rendering import render_rate

    return render_rate(folder / "rendered", RENDERED_SIDE, FULL.rendered, None)


def demo_minutes(folder: Path) -> float:
    """Minutes of the whole demo."""
    from configs import demo

    started = time.perf_counter()
    demo.main(["--output", str(folder)])
    return (time.perf_counter() - started) / 60


def table(results: dict, device: torch.device) -> str:
    """The results as Markdown, with machine and date."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    reached = next((value for chip, value in REACHED.items() if chip in name), None)
    targets = {line: values.target for line, values in LINES.items()}
    targets[RENDERING] = RENDERING_TARGET
    lines = [
        f"{name}, torch {torch.__version__}, {datetime.date.today()}",
        "",
        f"| line | iterations/s | crops/s | target | TFLOP/s | of {reached or '?'} | start, s | peak MiB "
        "| waits per step |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for line, values in results.items():
        if line == WHOLE_DEMO:
            continue

        def cell(key: str, form: str, values: dict = values) -> str:
            return "" if values.get(key) is None else format(values[key], form)

        share = values.get("tflop_per_second")
        cells = [
            *(line, cell("iterations_per_second", ".1f"), cell("crops_per_second", ",.0f")),
            *(targets.get(line, ""), cell("tflop_per_second", ".3g")),
            f"{share / reached:.1%}" if share and reached else "",
            *(cell("start_seconds", ".0f"), cell("peak_mib", ",.0f"), cell("waits_per_step", ".3g")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    if WHOLE_DEMO in results:
        lines += ["", f"{WHOLE_DEMO}: {results[WHOLE_DEMO]['minutes']:.1f} minutes (target: {WHOLE_DEMO_TARGET})"]
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
