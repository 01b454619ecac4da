"""Our own checkpoints: weights with the configuration that built them, written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from models.geometry_aware.network import LATER_KEYS, EncodeDecode, build_network
from models.geometry_aware.published import is_published, load_published_weights
from models.parts.weights import match_weights, read_file, require_tensors
from utils.errors import UserError
from utils.files import write_atomically


class Checkpoint(NamedTuple):
    """Weights by name, and the configuration that built their network (None in a published file)."""

    weights: dict[str, torch.Tensor]
    config: dict[str, Any] | None


def save_weights(
    path: str | Path, network: nn.Module, config: Mapping[str, Any], dtype: torch.dtype | None = None
) -> None:
    """Write the network's weights and `config` to a .safetensors or .pth file, atomically.

    `dtype`, such as torch.float16, shrinks matrices and kernels in the file (vectors, such as the statistics of
    batch norm and poses, stay as they are); loading restores float32.
    """
    weights = {name: _stored(tensor, dtype) for name, tensor in network.state_dict().items()}
    text = json.dumps(dict(config))
    if Path(path).suffix == ".safetensors":
        from safetensors.torch import save_file

        write_atomically(path, lambda part: save_file(weights, part, metadata={"config": text}))
    else:
        write_atomically(path, lambda part: torch.save({"config": text, "weights": weights}, part))


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of ours or a published one, never running pickled code. UserError names what is wrong."""
    source = repr(str(path))
    if Path(path).suffix == ".safetensors":
        return _read_safetensors(path, source)
    content = read_file(path)
    if isinstance(content, Mapping) and set(content) == {"config", "weights"}:
        return Checkpoint(require_tensors(content["weights"], source), _parse_config(content["config"], source))
    weights = require_tensors(content, source)
    if not is_published(weights):
        raise UserError(f"{source} is neither a checkpoint of this project nor a published one")
    return Checkpoint(weights, None)


def load_weights(network: nn.Module, path: str | Path) -> dict[str, Any] | None:
    """Load a checkpoint, ours or published, into `network`; return its configuration (None if published).

    Raises UserError that names the first tensor that is missing, has another shape, or has no place in the
    network; the network is then unchanged.
    """
    weights, config = read_checkpoint(path)
    if config is None:
        load_published_weights(network, weights)
        return None
    source = repr(str(path))
    matched = match_weights(network, weights, source)
    for name in weights:
        if name not in matched:
            raise UserError(f"{source}: {name!r} has no place in this network; its checkpoint is of another config")
    network.load_state_dict(matched)
    return config


def load_network(path: str | Path) -> tuple[EncodeDecode, dict[str, Any]]:
    """Build the network that a checkpoint of ours describes, load it, return it with its configuration."""
    config = read_checkpoint(path).config
    if config is None:
        raise UserError(f"{str(path)!r} holds published weights and no configuration; build the network from a config")
    network = build_network({**config, "encoder_weights": None})
    load_weights(network, path)
    return network, config


def _stored(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """A contiguous copy on the CPU (safetensors shares and strides nothing)."""
    tensor = tensor.detach().cpu()
    if dtype is not None and tensor.is_floating_point() and tensor.dim() > 1:
        tensor = tensor.to(dtype)
    return tensor.clone(memory_format=torch.contiguous_format)


def _read_safetensors(path: str | Path, source: str) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise UserError(f"no such file: {source}, expected a file of weights")
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dictionary
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise UserError(f"{source} is not a safetensors file and was refused: {error}") from error
    if "config" not in metadata:
        raise UserError(f"{source} has no 'config' in its metadata, expected a checkpoint of this project")
    return Checkpoint(weights, _parse_config(metadata["config"], source))


def _parse_config(text: Any, source: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: its 'config' is not JSON ({error})") from error
    if not isinstance(config, dict):
        raise UserError(f"{source}: its 'config' holds {type(config).__name__}, expected a dictionary")
    return {**LATER_KEYS, **config}
