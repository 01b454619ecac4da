"""Turn MPI-INF-3DHP into a training set (docs/mpi_inf_3dhp.md). Interrupt and start again to go on."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.cameras.crop_camera import BOX_METRES
from datasets.sources.mpi_inf_3dhp.prepare import CAMERAS, SPLITS, prepare_3dhp
from utils.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, metavar="DIR", help="folder that holds S1 to S8")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write; new, or one interrupted")
    splits = "; ".join(f"{split}: {' '.join(map(str, subjects))}" for split, subjects in SPLITS.items())
    parser.add_argument("--split", default="train", help=f"subjects of {splits} (default train)")
    parser.add_argument("--subjects", type=int, nargs="+", metavar="N", help="these subjects instead of a split's")
    numbers = " ".join(map(str, CAMERAS))
    parser.add_argument(
        "--cameras", type=int, nargs="+", metavar="N", default=CAMERAS, help=f"camera numbers (default {numbers})"
    )
    parser.add_argument("--every", type=int, default=5, metavar="N", help="take every n-th frame (default 5)")
    parser.add_argument("--size", type=int, default=128, help="side of a crop in pixels (default 128)")
    parser.add_argument(
        "--box-metres", type=float, default=BOX_METRES, help=f"width of a crop at the person (default {BOX_METRES:g})"
    )
    parser.add_argument("--no-background", dest="background", action="store_false", help="write no bg_crop pictures")
    parser.add_argument("--statistics", metavar="DIR", help="take pose_mean and pose_std from this training set")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    print(prepare_3dhp(**vars(parser.parse_args())))


if __name__ == "__main__":
    run_script(main)
