"""Convert Ski-PosePTZ-Camera to the training layout (docs/ski.md).

Examples:
  python configs/prepare_ski.py --source Ski-PosePTZ-CameraDataset-png --output data/ski_train
  python configs/prepare_ski.py --source Ski-PosePTZ-CameraDataset-png --output data/ski_test --split test \\
      --statistics data/ski_train
Interrupt it at any time; the same command resumes.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import add_layout_arguments, add_output_argument, defaults_of, script_parser
from utils.errors import run_script


def main() -> None:
    from datasets.sources.ski import SPLITS, prepare_ski

    default, parser = defaults_of(prepare_ski), script_parser(__doc__)
    parser.add_argument("--source", required=True, metavar="DIR", help="the unpacked Ski-PosePTZ-CameraDataset-png")
    add_output_argument(parser)
    parser.add_argument("--split", default="train", metavar="NAME", help=" or ".join(SPLITS))
    add_layout_arguments(parser, size=default["size"], box_metres=default["box_metres"], workers=False)
    print(prepare_ski(**vars(parser.parse_args())))


if __name__ == "__main__":
    run_script(main)
