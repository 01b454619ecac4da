"""Convert MPI-INF-3DHP to the training layout (docs/mpi_inf_3dhp.md).

Examples:
  python configs/prepare_3dhp.py --source mpi_inf_3dhp --output data/3dhp_train
  python configs/prepare_3dhp.py --source mpi_inf_3dhp --output data/3dhp_test --split test --statistics data/3dhp_train
Interrupt it at any time; the same command resumes.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import (
    add_layout_arguments,
    add_output_argument,
    add_subject_arguments,
    defaults_of,
    script_parser,
)
from utils.errors import run_script


def main() -> None:
    from datasets.sources.mpi_inf_3dhp.prepare import SPLITS, prepare_3dhp

    default, parser = defaults_of(prepare_3dhp), script_parser(__doc__)
    parser.add_argument("--source", required=True, metavar="DIR", help="folder that holds S1 to S8")
    add_output_argument(parser)
    add_subject_arguments(parser, SPLITS)
    help_cameras = "numbers of the cameras"
    parser.add_argument("--cameras", type=int, nargs="+", metavar="N", default=default["cameras"], help=help_cameras)
    layout = {name: default[name] for name in ("size", "every", "box_metres")}
    add_layout_arguments(parser, **layout, background=True)
    print(prepare_3dhp(**vars(parser.parse_args())))


if __name__ == "__main__":
    run_script(main)
