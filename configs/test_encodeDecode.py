"""Look at a trained network in the viewer, or measure it. With nothing given: the packaged example.

python configs/test_encodeDecode.py [--config FILE] [--save FILE.png|FILE.gif] [--evaluate] [--skip-shifted]
                                    [--index N] [--device D] [network_path=RUN_FOLDER_OR_WEIGHTS] [key=value ...]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import config_arguments
from utils.errors import run_script


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save", metavar="FILE", help="write a .png, or a .gif that turns; opens no window")
    parser.add_argument("--evaluate", action="store_true", help="measure poses and novel views of the test set")
    parser.add_argument("--skip-shifted", action="store_true", help="without S9's shifted sequences (Human3.6M)")
    parser.add_argument("--index", metavar="N", type=int, default=0, help="row of the first image (default: 0)")


def main() -> None:
    arguments, config, said = config_arguments(__doc__, "config_test_encodeDecode", extend=add_arguments)
    from training.loop.loaders import open_test_set
    from training.trained.evaluation import evaluate, evaluation_keys
    from training.trained.testing import open_trained, result_folder
    from training.trained.viewing import VIEW_KEYS, TurningView
    from utils.viewer import save, show

    network, config, hardware = open_trained(config, said)
    if arguments.evaluate:
        folder = result_folder(config)
        dataset = open_test_set(config, evaluation_keys(network))
        evaluate(network, dataset, config, hardware, folder, arguments.skip_shifted)
        print(f"written: {folder / 'evaluation.csv'} and evaluation.md")
    if arguments.save or not arguments.evaluate:
        dataset = open_test_set({**config, "preload_images": False}, VIEW_KEYS)
        view = TurningView(network, dataset, hardware, arguments.index)
        if arguments.save:
            save(arguments.save, view, len(view))
            print(f"written: {arguments.save}")
        else:
            show(view, len(view))


if __name__ == "__main__":
    run_script(main)
