"""Calibrate how far to trust each pose of a trained network, on held-out crops, and store it in its file of weights.

python configs/calibrate_trust.py network_path=RUN_FOLDER_OR_WEIGHTS [dataset_folder_train=FOLDER] [key=value ...]

A run knows its training set; for weights that were exported, give it. For example:

    python configs/calibrate_trust.py network_path=output/latest
    python configs/calibrate_trust.py network_path=network.safetensors dataset_folder_train=data/train
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import config_arguments
from utils.errors import run_script


def main() -> None:
    _, config, given = config_arguments(__doc__, "config_test_encodeDecode", own_network=True)
    from training.loop.latest import without_latest
    from training.trained.calibrating import calibrate_trust

    config["network_path"] = without_latest(config["network_path"])
    started = time.perf_counter()
    report = calibrate_trust(config, given)
    shares = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in report.flagged.items())
    quarters = ", ".join(f"{error:.0f}" for error in report.error_by_quarter)
    print(f"flagged: {shares}")
    print(f"N-MPJPE from the quarter trusted most to that trusted least, clean and disturbed: {quarters} mm")
    print(f"{report.pictures} pictures, {time.perf_counter() - started:.0f} s; stored in {config['network_path']}")


if __name__ == "__main__":
    run_script(main)
