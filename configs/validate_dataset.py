"""Check a folder in the training layout: names the first thing wrong, or prints a summary."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.validation import validate
from utils.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="folder that holds labels.h5 and seq_*/cam_*/img_crop_*.png")
    print(validate(parser.parse_args().folder))


if __name__ == "__main__":
    run_script(main)
