"""Turn the Ski-PosePTZ-Camera set into a training set. Interrupt and start again to go on."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.cameras.crop_camera import BOX_METRES
from datasets.sources.ski import SPLITS, prepare_ski
from utils.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, metavar="DIR", help="the unpacked Ski-PosePTZ-CameraDataset-png")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write; new, or one interrupted")
    parser.add_argument("--size", type=int, default=128, help="side of a crop in pixels (default 128)")
    parser.add_argument("--split", default="train", help=f"{' or '.join(SPLITS)} (default train)")
    parser.add_argument("--statistics", metavar="DIR", help="take pose_mean and pose_std from this training set")
    parser.add_argument(
        "--box-metres", type=float, default=BOX_METRES, help=f"width of a crop at the skier (default {BOX_METRES:g})"
    )
    print(prepare_ski(**vars(parser.parse_args())))


if __name__ == "__main__":
    run_script(main)
