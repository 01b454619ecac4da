"""Measure how well the poses of a set cover those of another: the distance of each pose to the nearest, in mm.

Example:
  python configs/coverage.py data/recording data/wild/train --mirror

The distance is N-MPJPE between poses in the camera frame: the error of a method that answers with the best pose of
COVERING.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import script_parser
from utils.errors import run_script


def main() -> None:
    from datasets.coverage import coverage_report

    parser = script_parser(__doc__)
    parser.add_argument("layout", metavar="SET", help="training layout whose poses are to be covered")
    parser.add_argument("covering", metavar="COVERING", help="training layout whose poses cover them")
    parser.add_argument("--mirror", action="store_true", help="the poses of COVERING count mirrored too")
    arguments = parser.parse_args()
    print(coverage_report(arguments.layout, arguments.covering, arguments.mirror))


if __name__ == "__main__":
    run_script(main)
