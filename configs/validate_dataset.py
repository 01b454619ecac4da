"""Check a folder in the training layout: print a summary, or the first error.

Example:
  python configs/validate_dataset.py data/train
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import script_parser
from utils.errors import run_script


def main() -> None:
    from datasets.validation import validate

    parser = script_parser(__doc__)
    parser.add_argument("folder", metavar="DIR", help="folder that holds labels.h5 and seq_*/cam_*/img*.png")
    print(validate(parser.parse_args().folder))


if __name__ == "__main__":
    run_script(main)
