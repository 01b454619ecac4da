"""Export a trained network: one small file for sharing (.safetensors, half precision, with its config), or ONNX files.

python configs/export_weights.py network_path=RUN_FOLDER --output FILE.safetensors
python configs/export_weights.py network_path=RUN_FOLDER --onnx --output DIR

For example, the newest run:

    python configs/export_weights.py network_path=output/latest --output network.safetensors
    python configs/export_weights.py network_path=output/latest --onnx --output network_onnx
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import config_arguments
from utils.errors import run_script


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help_output = "a file name that ends in .safetensors; with --onnx, a folder"
    parser.add_argument("--output", metavar="PATH", required=True, help=help_output)
    help_onnx = "write pose.onnx, encode.onnx and decode.onnx, which run without PyTorch"
    parser.add_argument("--onnx", action="store_true", help=help_onnx)


def main() -> None:
    arguments, config, given = config_arguments(
        __doc__, "config_test_encodeDecode", extend=add_arguments, own_network=True
    )
    from training.loop.latest import without_latest
    from training.trained.load import weights_file

    config["network_path"] = without_latest(config["network_path"])
    if arguments.onnx:
        from training.trained.onnx_export import export_onnx

        files = export_onnx(config, given, arguments.output)
    else:
        from training.trained.export import export_weights

        export_weights(config, given, arguments.output)
        files = [Path(arguments.output)]
    print(f"exported: {weights_file(config['network_path']).resolve()}")
    for file in files:
        print(f"written: {file}, {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_script(main)
