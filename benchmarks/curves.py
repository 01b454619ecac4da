"""Train the same weights the fast and the plain way, on the same crops, and print how much their losses differ.

python benchmarks/curves.py [--configuration NAME] [--iterations N]
Without --configuration: the published losses with a tiny network, in less than a minute.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.interrupts import catch_signals

if __name__ == "__main__":
    # The imports that follow take seconds.
    catch_signals()

import numpy as np
from tqdm import tqdm

from benchmarks.measures import training_step
from benchmarks.setups import CONFIGURATIONS, FULL, Setup, make_setups
from configs.command_line import script_parser
from training.loop.loaders import TrainingBatches, grouped_sampler
from utils.errors import UserError, run_script

WINDOW = 20  # iterations over which losses are averaged
AGREEMENT = 0.02  # largest relative difference that bfloat16 may make

# Both ways must see the same crops, and the plain way has no augmentation.
_PLAIN_DATA = {"augment_mirror": False, "augment_rotation": 0.0, "augment_color": 0.0}


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parse(arguments)
    if given.iterations < WINDOW:
        raise UserError(f"iterations is {given.iterations}; expected at least {WINDOW}")
    with tempfile.TemporaryDirectory() as folder:
        quick = given.configuration is None
        setups = make_setups(given.configuration or "published", Path(folder), FULL, quick, given.device)
        print(report({way: losses(way, setups[way], given.iterations) for way in ("fast", "plain")}))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--configuration", choices=list(CONFIGURATIONS), help="default: a tiny network")
    parser.add_argument("--iterations", type=int, default=200, metavar="N", help="of each way")
    parser.add_argument("--device", default="auto", help="auto, cuda, cpu, ... as in the config")
    return parser.parse_args(arguments)


def losses(way: str, setup: Setup, iterations: int) -> np.ndarray:
    """Loss of each iteration of stage 1 (iterations,). Crops and permutations are the same for every way."""
    # The plain way has no schedule either, and a copy of the network, since both ways train the same weights.
    config = {**setup.config, **_PLAIN_DATA, "learning_rate_schedule": "constant"}
    setup = setup._replace(config=config, network=deepcopy(setup.network))
    sampler = grouped_sampler(setup.train.labels, np.arange(len(setup.train)), setup.config, shuffle=True)
    step, values = training_step(way, setup), []
    batches = tqdm(TrainingBatches(sampler, 0, iterations), f"training, {way}", unit="iterations")
    for iteration, rows in enumerate(batches, start=1):
        loss = step(setup.train.__getitems__(rows), iteration)
        values.append(float(loss["loss"] if isinstance(loss, dict) else loss))
    return np.array(values)


def differences(fast: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Relative differences between two curves, each averaged over windows: (iterations - WINDOW + 1,)."""
    # Losses of single batches scatter by more than bfloat16 changes them.
    window = np.full(WINDOW, 1 / WINDOW)
    smooth_fast, smooth_plain = (np.convolve(curve, window, mode="valid") for curve in (fast, plain))
    return np.abs(smooth_fast - smooth_plain) / smooth_plain


def report(curves: dict[str, np.ndarray]) -> str:
    """Mean losses of both ways during training, as a Markdown table, and their largest difference."""
    apart = differences(**curves)
    lines = [f"| mean loss of {WINDOW} iterations up to | fast | plain | difference |", "| ---: | ---: | ---: | ---: |"]
    for last in np.linspace(WINDOW, len(curves["fast"]), 6).astype(int):
        fast, plain = (curves[way][last - WINDOW : last].mean() for way in ("fast", "plain"))
        lines.append(f"| {last} | {fast:.4f} | {plain:.4f} | {100 * apart[last - WINDOW]:.2f} % |")
    verdict = "within" if apart.max() <= AGREEMENT else "NOT within"
    return "\n".join([*lines, "", f"largest difference {100 * apart.max():.2f} %: {verdict} {100 * AGREEMENT:.0f} %"])


if __name__ == "__main__":
    run_script(main)
