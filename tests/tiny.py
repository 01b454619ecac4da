"""A network and a run small enough for tests: seconds on one core."""

import subprocess
import sys
from pathlib import Path

from configs.config_train_encodeDecode import config_dict as stage1
from configs.config_train_encodeDecode_pose import config_dict as stage2
from tests.synthetic import write_synthetic_layout

ROOT = Path(__file__).resolve().parents[1]
SIZE = 32

CHANGES = {
    "encoderType": "ResNet18",
    "encoder_width": 8,
    "encoder_weights": None,
    "perceptual_weights": None,
    "inputDimension": SIZE,
    "feature_scale": 8,
    "latent_fg": 16,
    "latent_3d": 30,
    "width_to3Dpose": 32,
    "loss_weight_imageNet": 0.0,
    "actor_subset": None,
    "validation_fraction": 0.4,
    "validation_crops": 16,
    "batch_size_train": 8,
    "batch_size_test": 8,
    "num_workers": 0,
    "num_training_iterations": 6,
    "print_every": 1,
    "test_every": 3,
    "plot_every": 1000,
    "device": "cpu",
    "visdom": False,
}

# On top of them, the fewest layers that still have all that a compiled graph must hold.
SMALLEST = {
    "encoderType": "UNet",
    "num_encoding_layers": 2,
    "latent_fg": 4,
    "latent_3d": 6,
    "precision": "float32",
    "num_training_iterations": 4,
    "test_every": 2,
    "compile": "always",
}


def write_tiny_sets(root: Path) -> Path:
    """Write `root`/train, of two subjects, and `root`/test, of another one."""
    write_synthetic_layout(root / "train", size=SIZE, subjects=(1, 5), sequences_per_subject=3)
    write_synthetic_layout(root / "test", size=SIZE, subjects=(9,), sequences_per_subject=1, instants=2)
    return root


def tiny_config(data, output, **changes) -> dict:
    """A stage-1 config for the layout in `data`, with runs in `output`."""
    return {**stage1, **CHANGES, "dataset_folder_train": str(data), "output_folder": str(output), **changes}


def tiny_pose_config(data, output, network_path, **changes) -> dict:
    """A stage-2 config on the run at `network_path`."""
    folders = {"dataset_folder_train": str(data), "output_folder": str(output), "network_path": network_path}
    return {**stage2, **CHANGES, "label_subjects": None, **folders, **changes}


def write_config_file(path, config: dict) -> Path:
    """A config file for the scripts."""
    Path(path).write_text(f"config_dict = {config!r}\n")
    return Path(path)


TIMEOUT = 900  # seconds after which a script hangs: one that takes 8 of them alone takes 300 beside a dozen others


def run_script(name: str, *arguments, cwd=ROOT) -> subprocess.CompletedProcess:
    """Run configs/<name> as a user does; return its exit code and what it printed."""
    command = [sys.executable, str(ROOT / "configs" / name), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT)
