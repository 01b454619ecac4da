"""Cut out the people whom a trained detector finds in full frames: crops of single people, without a label.

python configs/crop_scenes.py network_path=RUN_FOLDER_OR_WEIGHTS --frames DIR --output DIR [--device D] [key=value ...]

The crops are a set for train_encodeDecode.py, whose encoder and decoder train_detect_encode_decode.py then goes on with
(pretrained_crops_path). Interrupt it at any time; the same command resumes.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import config_arguments
from utils.errors import run_script


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames", metavar="DIR", required=True, help="set of full frames (layout version 2)")
    parser.add_argument("--output", metavar="DIR", required=True, help="folder of the crops (layout version 1)")


def main() -> None:
    arguments, config, given = config_arguments(__doc__, "config_test_detect_encode_decode", extend=add_arguments)
    from datasets import FrameDataset
    from training.trained.load import open_network
    from training.trained.scene_crops import KEYS, crop_people
    from utils.locks import writing

    trained = open_network(config, given)
    dataset = FrameDataset(arguments.frames, KEYS, preload=False)
    with writing(arguments.output):
        found = crop_people(trained.network, dataset, arguments.output, trained.hardware)
    print(
        f"{found.people} people in {found.instants} instants, {found.crops} crops: {arguments.output}\n"
        "next: python configs/train_encodeDecode.py --config configs/config_scene_crops.py "
        f"dataset_folder_train={arguments.output}"
    )


if __name__ == "__main__":
    run_script(main)
