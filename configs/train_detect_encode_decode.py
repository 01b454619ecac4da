"""Stage 1 of several people in full frames: train a network to compose novel views, without labels.

python configs/train_detect_encode_decode.py [--config FILE ...] [--resume] [--device D] [key=value ...]
On several GPUs: torchrun --nproc_per_node=N configs/train_detect_encode_decode.py ...

For example, the first part of a small network on frames of 228 x 128 px (docs/training.md has the second):

    python configs/train_detect_encode_decode.py --config configs/config_scene_boxes.py \\
        dataset_folder_train=data/scenes/train
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import config_arguments
from utils.errors import run_script


def main() -> None:
    arguments, config, given = config_arguments(__doc__, "config_train_detect_encode_decode", resume=True)
    from training.stages.scenes import train_scenes

    train_scenes(config, arguments.resume, given)


if __name__ == "__main__":
    run_script(main)
