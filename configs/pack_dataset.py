"""Pack the images of a training layout into arrays beside the PNG files, so that training and testing decode nothing.

Example:
  python configs/pack_dataset.py data/train data/test
Interrupt it at any time; the same command resumes. Packed images are used automatically, also where an image
file has changed since: run it again after that, or remove DIR/packed to return to the files.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import script_parser
from utils.errors import run_script


def main() -> None:
    from datasets.layout.packed import pack

    parser = script_parser(__doc__)
    parser.add_argument("folders", metavar="DIR", nargs="+", help="folder that holds labels.h5 and the images")
    for folder in parser.parse_args().folders:
        print(pack(folder))


if __name__ == "__main__":
    run_script(main)
