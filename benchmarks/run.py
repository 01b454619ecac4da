"""Measure how fast everything is, compared with a plain implementation, and print a table.

python benchmarks/run.py [--only MEASURE[,MEASURE]] [--configuration NAME] [--fast | --plain]     (`make bench`)
Writes output/benchmarks/latest.json: {configuration: {measure: {"fast": x, "plain": y, "busy": z, "unit": ...}}}.
"busy" is the fast way beside another process that keeps one core busy, on a CPU.
"""

import argparse
import datetime
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.interrupts import catch_signals

if __name__ == "__main__":
    # The imports that follow take seconds.
    catch_signals()

import torch

from benchmarks import measures
from benchmarks.results import FOLDER, write_results
from benchmarks.setups import CONFIGURATIONS, FULL, TINY, make_setups
from benchmarks.timing import busy_process
from configs.command_line import script_parser
from training.loop.provenance import device_name
from utils.errors import UserError, run_script

# measure -> its function and unit
MEASURES = {
    "load": (measures.load, "crops/s"),
    "train": (measures.train, "crops/s"),
    "cache": (measures.cache, "crops/s"),
    "pose_train": (measures.pose_train, "crops/s"),
    "evaluate": (measures.test, "crops/s"),
    "pose_only": (measures.pose_only, "crops/s"),
    "index_seconds": (measures.index_seconds, "s"),
    "train_peak_mib": (measures.train_peak_mib, "MiB"),
    "render": (measures.render, "crops/s"),
    "view": (measures.view, "pictures/s"),
}
FLOP = {"train": measures.training_flop, "pose_only": measures.pose_flop}  # measures with a count of operations
OUTPUT = FOLDER / "latest.json"


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parse(arguments)
    names = given.only.split(",") if given.only else list(MEASURES)
    for name in names:
        if name not in MEASURES:
            raise UserError(f"measure {name!r} is unknown; expected some of {', '.join(MEASURES)}")
    started, results = time.perf_counter(), {}
    with tempfile.TemporaryDirectory() as folder:
        for configuration in [given.configuration] if given.configuration else list(CONFIGURATIONS):
            size = TINY if given.quick else FULL
            setups = make_setups(configuration, Path(folder), size, given.quick, given.device)
            # Operations are counted on the plain way, also when only the fast one is measured: work that a faster
            # implementation avoids must not lower its rate.
            counted = setups["plain"]
            setups = {way: setups[way] for way in ("fast", "plain") if given.way in (None, way)}
            results[configuration] = {}
            for name in names:
                print(f"{configuration}: {name} ...", file=sys.stderr, flush=True)
                results[configuration][name] = _measure(name, setups, counted, size, Path(folder))
    print(table(results, time.perf_counter() - started))
    write_results(given.output, results)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--only", metavar="MEASURES", help=f"some of {','.join(MEASURES)}")
    parser.add_argument("--configuration", choices=list(CONFIGURATIONS), help="default: all, one after the other")
    ways = parser.add_mutually_exclusive_group()
    for way, text in (("fast", "as the project does it"), ("plain", "the plain implementation")):
        ways.add_argument(f"--{way}", dest="way", action="store_const", const=way, help=f"only {text}; default: both")
    parser.add_argument("--device", default="auto", help="auto, cuda, cpu, ... as in the config")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to check that it runs")
    parser.add_argument("--output", metavar="FILE", type=Path, default=OUTPUT, help="for the figures")
    return parser.parse_args(arguments)


def _measure(name: str, setups: dict, counted, size, folder: Path) -> dict:
    measure, unit = MEASURES[name]
    result = {**measure(setups, size, folder), "unit": unit}
    # What a busy core does to a GPU's rates says little, and to memory nothing.
    if "fast" in setups and setups["fast"].hardware.device.type == "cpu" and unit != "MiB":
        with busy_process():
            result["busy"] = measure({"fast": setups["fast"]}, size, folder)["fast"]
    if name in FLOP:
        result["gflop_per_crop"] = FLOP[name](counted) / 1e9
    return result


def table(results: dict, seconds: float) -> str:
    """The results as Markdown, with machine and date."""
    lines = [
        f"{device_name(torch.device('cpu'))}, {torch.get_num_threads()} threads, {_device()}, "
        f"torch {torch.__version__}, {datetime.date.today()}; measured in {seconds / 60:.1f} minutes",
        "",
        "| configuration | measure | unit | fast | plain | gain | fast, beside a busy process | of idle "
        "| GFLOP/s fast | plain |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for configuration, measured in results.items():
        for name, values in measured.items():
            fast, plain, busy = (values.get(way) for way in ("fast", "plain", "busy"))
            is_rate = values["unit"].endswith("/s")
            gain = f"{fast / plain if is_rate else plain / fast:.1f}x" if fast and plain else ""
            kept = f"{busy / fast if is_rate else fast / busy:.2f}" if fast and busy else ""
            flop = [
                "" if rate is None or name not in FLOP else f"{rate * values['gflop_per_crop']:.0f}"
                for rate in (fast, plain)
            ]
            ratios = [_number(fast), _number(plain), gain, _number(busy), kept]
            cells = [configuration, name, values["unit"], *ratios, *flop]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


if __name__ == "__main__":
    run_script(main)
