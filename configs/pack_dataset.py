"""Pack the crops of a training layout into arrays beside the PNG files: training and testing then decode none.

python configs/pack_dataset.py DIR [DIR ...]     (interrupt and start again to go on)
Packed crops are found by themselves; remove DIR/packed to go back to the PNG files.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.layout.packed import pack
from utils.errors import run_script


def main() -> None:
    about, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=about, epilog=usage)
    parser.add_argument("folders", metavar="DIR", nargs="+", help="folder that holds labels.h5 and the crops")
    for folder in parser.parse_args().folders:
        print(pack(folder))


if __name__ == "__main__":
    run_script(main)
