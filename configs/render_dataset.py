"""Render people into a training set: exact 3D labels, no data license. Interrupt and start again to go on.

A set of your own:    --output DIR --crops N [--split test] [...]
A standard benchmark: --output DIR --preset benchmark    (DIR/train and DIR/test; benchmark64: at 64 px)
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.rendered.dataset import render_dataset
from datasets.rendered.presets import PRESETS, render_preset
from utils.errors import UserError, run_script


def main() -> None:
    about, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about,
        epilog=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # render_dataset has the defaults
    )
    parser.add_argument("--output", required=True, help="folder to write; new, or one that was interrupted")
    parser.add_argument("--preset", help=f"a standard benchmark, which fixes all else: {' or '.join(PRESETS)}")
    parser.add_argument("--crops", type=int, help="number of crops, over all four cameras")
    parser.add_argument("--size", type=int, help="side of a crop in pixels (default 128)")
    parser.add_argument("--seed", type=int, help="another seed gives other motions and clothes (default 0)")
    parser.add_argument("--split", help="train: subjects 1,5,6,7,8 (default); test: subjects 9,11")
    parser.add_argument("--every", type=int, help="take every n-th instant of the 10 Hz motions (default 1)")
    parser.add_argument("--motion", help="folder of BVH files (or one) that people move as (default: made motion)")
    parser.add_argument("--workers", type=int, help="processes (default: one per core; a GPU is used by one)")
    arguments = vars(parser.parse_args())
    if "preset" in arguments:
        fixed = sorted(set(arguments) - {"preset", "output", "workers"})
        if fixed:
            raise UserError(f"--{fixed[0]} beside --preset; a preset fixes it, expected one or the other")
        print(render_preset(arguments.pop("preset"), **arguments))
    elif "crops" in arguments:
        print(f"{arguments['crops']} crops in {render_dataset(**arguments)}")
    else:
        raise UserError("neither --crops nor --preset; expected how many crops, or which benchmark")


if __name__ == "__main__":
    run_script(main)
