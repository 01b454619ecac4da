"""What leaves a run: small files of weights to share, and the folder that its results go to."""

import hashlib
import os
from pathlib import Path

import torch

from models.checkpoints import read_checkpoint, save_weights
from training.loop.identity import WEIGHTS_KEYS
from training.loop.latest import without_latest
from training.trained.load import Trained, open_network, run_of, weights_file
from utils.config import method_name, table_of
from utils.errors import UserError
from utils.keys import defaults
from utils.locks import writing_file

_FOLDER_KEYS = (
    "dataset_folder_train",
    "dataset_folder_test",
    "dataset_folder_mixed",
    "augment_background_folder",
    "output_folder",
)


def export_weights(config: dict, given: frozenset[str], path: str | Path) -> None:
    """Write the network at `network_path` to a .safetensors file in half precision, for sharing.

    Its config is stored with it, without the folders of this machine. UserError for another ending, for published
    weights, and for the file of the network itself.
    """
    if Path(path).suffix != ".safetensors":
        raise UserError(f"cannot export to {str(path)!r}; expected a name that ends in .safetensors")
    trained = open_network(*_of_its_method(config, given))
    kept = shared_config(trained)
    if Path(path).exists() and Path(path).samefile(weights_file(trained.config["network_path"])):
        raise UserError(f"{str(path)!r} is the network itself, in its full precision; expected another file")
    with writing_file(path):
        save_weights(path, trained.network, kept, dtype=torch.float16)


def _of_its_method(config: dict, given: frozenset[str]) -> tuple[dict, frozenset[str]]:
    """`config` and the keys that were given, for the method of the network at `network_path`, whichever it is."""
    config = {**config, "network_path": without_latest(config["network_path"])}
    stored = None if config["network_path"] is None else read_checkpoint(weights_file(config["network_path"])).config
    if stored is None or method_name(stored) == method_name(config):
        return config, given
    table = table_of(stored)
    own = {"method": method_name(stored), **{key: config[key] for key in given if key in table}}
    return {**defaults(table), **own}, given & own.keys()


def shared_config(trained: Trained) -> dict:
    """The config of the training of `trained`, without the folders of this machine.

    UserError for published weights, which have none.
    """
    if trained.trained_with is None:
        raise UserError(f"{trained.config['network_path']!r} holds published weights; expected a network trained here")
    kept = {key: value for key, value in trained.trained_with.items() if key not in _FOLDER_KEYS}
    # That there was a stage 1 tells which outputs are trained; where it was is nobody's business.
    return kept | {key: Path(kept[key]).name for key in WEIGHTS_KEYS if isinstance(kept.get(key), str)}


def result_folder(config: dict) -> Path:
    """Where the results of `network_path` go: into its run folder, or one in `output_folder` named after its file."""
    file = weights_file(config["network_path"])
    # Files in several folders may have one name.
    path = hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:6]
    return run_of(file) or Path(config["output_folder"]) / f"test_{file.stem}_{path}"
