"""Render people into a training set: exact 3D labels, no data licence. Interrupt and start again to go on."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.rendered import render_dataset
from utils.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True, help="folder to write; new, or one that was interrupted")
    parser.add_argument("--crops", type=int, required=True, help="number of crops, over all four cameras")
    parser.add_argument("--size", type=int, default=128, help="side of a crop in pixels (default 128)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other motions and clothes (default 0)")
    parser.add_argument("--split", default="train", help="train: subjects 1,5,6,7,8 (default); test: subjects 9,11")
    parser.add_argument("--every", type=int, default=1, help="take every n-th instant of the 10 Hz motions (default 1)")
    parser.add_argument("--motion", help="folder of BVH files (or one) that people move as (default: made motion)")
    parser.add_argument("--workers", type=int, help="processes (default: one per core; a GPU is used by one)")
    arguments = vars(parser.parse_args())
    print(f"{arguments['crops']} crops in {render_dataset(**arguments)}")


if __name__ == "__main__":
    run_script(main)
