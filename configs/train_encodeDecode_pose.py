"""Stage 2: train the 3D pose decoder on few labels, on the features of a stage-1 run.

python configs/train_encodeDecode_pose.py network_path=RUN [--config FILE ...] [--resume] [--device D] [key=value ...]
On several GPUs: torchrun --nproc_per_node=N configs/train_encodeDecode_pose.py ...

For example, from 1 % of the labels of all subjects:

    python configs/train_encodeDecode_pose.py network_path=output/latest label_subjects=None label_fraction=0.01
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import config_arguments, print_unread
from utils.errors import run_script
from utils.keys import UNREAD_IN_STAGE2


def main() -> None:
    arguments, config, given = config_arguments(__doc__, "config_train_encodeDecode_pose", resume=True)
    from training.loop.distributed import is_main
    from training.stages.pose import train_pose

    if is_main():
        print_unread(arguments, UNREAD_IN_STAGE2)
    train_pose(config, arguments.resume, given)


if __name__ == "__main__":
    run_script(main)
