"""Opening a trained network for testing: which parts of it are trained, its test set, where results go."""

from collections.abc import Sequence
from pathlib import Path

import torch

from models.checkpoints import save_weights
from training.loop.hardware import Hardware
from training.loop.loaders import open_test_set
from training.trained.load import load_trained, weights_file
from utils.errors import UserError
from utils.paths import ROOT

# Exported weights name no folder of the machine that made them: they are tried on the packaged pictures.
EXAMPLES = str(ROOT / "examples" / "sample_set")
_FOLDER_KEYS = ("dataset_folder_train", "dataset_folder_test", "output_folder")


def open_trained(config: dict, said: frozenset[str]) -> tuple[torch.nn.Module, dict, Hardware]:
    """The network at `network_path`, the config to test it under, and the hardware that it is on.

    Of `output_types` only what was trained is kept, unless the user gave that key (`said`). A run
    is tested on the test set that its own config names, unless the user gave another one.
    """
    if config["network_path"] is None:
        raise UserError("network_path is None; expected a run folder of a training, or a file of weights")
    hardware = Hardware(config["device"], config["precision"])
    network, config, checkpoint = load_trained(config, said)
    if checkpoint.config is None:
        _take_pose_statistics(network, config)
    else:
        if "network_path" in said and "dataset_folder_test" not in said:
            config = {**config, "dataset_folder_test": checkpoint.config.get("dataset_folder_test", EXAMPLES)}
        if "output_types" not in said:
            network.output_types = trained_outputs(network.output_types, checkpoint.config)
    return hardware.place(network), config, hardware


def export_weights(config: dict, said: frozenset[str], path: str | Path) -> None:
    """Write the network at `network_path` to a .safetensors file in half precision, to be given away.

    Its config goes with it, without the folders of this machine.
    """
    if Path(path).suffix != ".safetensors":
        raise UserError(f"cannot export to {str(path)!r}; expected a name that ends in .safetensors")
    network, _, checkpoint = load_trained(config, said)
    if checkpoint.config is None:
        raise UserError(f"{config['network_path']!r} holds published weights; expected a network trained here")
    kept = {key: value for key, value in checkpoint.config.items() if key not in _FOLDER_KEYS}
    if kept.get("network_path"):
        kept["network_path"] = Path(kept["network_path"]).name
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, network, kept, dtype=torch.float16)


def result_folder(config: dict) -> Path:
    """Where the results of `network_path` go: into its run folder, or one in `output_folder` named after its file."""
    file = weights_file(config["network_path"])
    if file.parent.name == "models":
        return file.parent.parent
    return Path(config["output_folder"]) / f"test_{file.stem}"


def trained_outputs(names: Sequence[str], trained: dict | None) -> tuple[str, ...]:
    """Those of `names` that a network learned under the config `trained`; a published file (None) learned all."""
    if trained is None:
        return tuple(names)
    # stage 2 leaves the image decoder as stage 1 made it
    painter = {"img_crop"} if trained.get("network_path") else set()
    return tuple(name for name in names if name in {*trained["output_types"], *painter})


def _take_pose_statistics(network: torch.nn.Module, config: dict) -> None:
    """A published file does not hold the statistics of its training poses: the published data do."""
    labels = open_test_set({**config, "preload_images": False}, ("img_crop",)).labels
    network.set_pose_statistics(torch.from_numpy(labels["pose_mean"]), torch.from_numpy(labels["pose_std"]))
