"""Trained networks by `network_path`: a run folder, or a file of weights in our or the published format."""

from collections.abc import Iterable
from pathlib import Path

from torch import nn

from models import build_network, load_published_weights
from models.checkpoints import Checkpoint, read_checkpoint
from models.geometry_aware.network import ARCHITECTURE_KEYS, POSE_DECODER_KEYS, EncodeDecode
from models.parts.weights import match_weights
from training.loop.run_folder import BEST_NETWORK
from utils.errors import UserError


def weights_file(network_path: str) -> Path:
    """The file of weights that `network_path` (a run folder, or the file itself) means."""
    path = Path(network_path)
    file = path / BEST_NETWORK if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"network_path {network_path!r} has no network ({str(file)!r} is missing); "
            "expected a run folder of a training, or a file of weights"
        )
    return file


def load_trained(config: dict, said: frozenset[str] = frozenset()) -> tuple[EncodeDecode, dict, Checkpoint]:
    """The network at `network_path`, with the config that it works under, and its checkpoint.

    Its architecture is that of its own training; keys of the architecture that the user gave (`said`) must
    agree with it. A published file knows no config, and is loaded into the network that `config` describes.
    """
    file = weights_file(config["network_path"])
    checkpoint = read_checkpoint(file)
    config = _agreed(config, checkpoint, said, ARCHITECTURE_KEYS, file)
    network = build_network({**config, "encoder_weights": None})
    _fill(network, checkpoint, file)
    return network, config, checkpoint


def load_for_pose(config: dict, said: frozenset[str] = frozenset()) -> tuple[EncodeDecode, dict]:
    """A network for stage 2: the one at `network_path` with a new pose decoder, or a new one altogether.

    Where `network_path` was stage 2 itself and the encoder is to be trained too, its pose decoder is kept: a new one
    would spoil the encoder's features before it has learned anything.
    """
    if config["network_path"] is None:
        if config["freeze_encoder"]:
            raise UserError("network_path is None, but freeze_encoder is True; expected the run folder of a stage 1")
        return build_network(config), config
    file = weights_file(config["network_path"])
    checkpoint = read_checkpoint(file)
    finetuned = not config["freeze_encoder"] and "3D" in (checkpoint.config or {}).get("output_types", ())
    kept = [key for key in ARCHITECTURE_KEYS if finetuned or key not in POSE_DECODER_KEYS]
    config = _agreed(config, checkpoint, said, kept, file)
    network = build_network({**config, "encoder_weights": None})
    pose_decoder = network.to_pose
    if not finetuned:
        network.to_pose = nn.Identity()
    _fill(network, checkpoint, file)
    network.to_pose = pose_decoder
    return network, config


def _agreed(config: dict, checkpoint: Checkpoint, said: frozenset[str], keys: Iterable[str], file: Path) -> dict:
    """`config` with the checkpoint's values of `keys`; those that the user gave must be the same."""
    stored = checkpoint.config or {}
    taken = {key: stored[key] for key in keys if key in stored}
    for key, value in taken.items():
        if key in said and config[key] != value:
            raise UserError(
                f"{key} is {config[key]!r}, but {str(file)!r} was trained with {value!r}; leave the key out"
            )
    return {**config, **taken}


def _fill(network: EncodeDecode, checkpoint: Checkpoint, file: Path) -> None:
    if checkpoint.config is None:
        load_published_weights(network, checkpoint.weights)
    else:
        network.load_state_dict(match_weights(network, checkpoint.weights, repr(str(file))))
