"""Prepare Human3.6M for training (docs/human36m.md). Interrupt and start again to go on."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.sources.human36m.prepare import prepare_h36m
from datasets.sources.human36m.report import report_text
from utils.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="folder that holds S1, S5, ..., or extracted, or the archives")
    parser.add_argument("--output", required=True, help="folder to write; new, or one that was interrupted")
    parser.add_argument("--split", default="train", help="train: subjects 1,5,6,7,8 (default); test: subjects 9,11")
    parser.add_argument("--subjects", type=int, nargs="+", metavar="N", help="these subjects instead of a split's")
    parser.add_argument("--every", type=int, default=5, help="take every n-th frame of the 50 Hz videos (default 5)")
    parser.add_argument("--size", type=int, default=128, help="side of a crop in pixels (default 128)")
    parser.add_argument("--metadata", metavar="FILE", help="metadata.xml, where it is not in the source")
    parser.add_argument("--statistics", metavar="DIR", help="layout whose pose mean and deviation to take (for test)")
    parser.add_argument("--skip-shifted", action="store_true", help="leave out the sequences of S9 with shifted poses")
    parser.add_argument("--skip-broken", action="store_true", help="leave out missing and undecodable videos")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    output = prepare_h36m(**vars(parser.parse_args()))
    print(report_text(output))
    print(f"prepared in {output}")


if __name__ == "__main__":
    run_script(main)
