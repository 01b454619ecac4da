"""Export a trained network to a small file for sharing: .safetensors, half precision, with its config.

python configs/export_weights.py network_path=RUN_FOLDER --output FILE.safetensors

For example, the newest run:

    python configs/export_weights.py network_path=output/latest --output network.safetensors
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import config_arguments
from utils.errors import run_script


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="FILE", required=True, help="a file name that ends in .safetensors")


def main() -> None:
    arguments, config, given = config_arguments(__doc__, "config_test_encodeDecode", extend=add_arguments)
    from training.trained.export import export_weights

    export_weights(config, given, arguments.output)
    print(f"written: {arguments.output}, {Path(arguments.output).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_script(main)
