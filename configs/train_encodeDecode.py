"""Stage 1: train a network to reconstruct novel views of people, without labels.

python configs/train_encodeDecode.py [--config FILE ...] [--resume] [--device D] [key=value ...]
On several GPUs: torchrun --nproc_per_node=N configs/train_encodeDecode.py ...

For example, a small network on crops of your own at 64 px:

    python configs/train_encodeDecode.py --config configs/config_64px.py dataset_folder_train=data/mine \\
        actor_subset=None
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import config_arguments
from utils.errors import run_script


def main() -> None:
    arguments, config, given = config_arguments(__doc__, "config_train_encodeDecode", resume=True)
    from training.stages.novel_views import train_novel_views

    train_novel_views(config, arguments.resume, given)


if __name__ == "__main__":
    run_script(main)
