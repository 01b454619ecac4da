"""Checkpoints, written atomically: our own, weights with the config that built them, and published ones."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import nn

from models.methods import METHODS, build_network, method_of
from models.parts.trust import PREFIX
from models.parts.weights import is_within, match_weights, read_file, require_tensors, write_file
from utils.config import check_value, table_of
from utils.errors import UserError
from utils.files import write_atomically
from utils.readers import impostor, parse_json, reason


class Checkpoint(NamedTuple):
    """Weights by name, and the config that built their network (None in a published file)."""

    weights: dict[str, torch.Tensor]
    config: dict[str, Any] | None
    source: str  # for messages: the path, quoted
    trust: dict[str, torch.Tensor] | None = None  # tensors of a TrustHead, where the file has one

    @property
    def most(self) -> int:
        """Bytes that the parameters of its network may take: a stored config must not ask for more than it holds."""
        # In float32, whatever the file has, and 64 MiB for what a published file may lack.
        return 4 * sum(tensor.numel() for tensor in self.weights.values()) + (64 << 20)


class PublishedReport(NamedTuple):
    """What `load_published_weights` did: published keys that were loaded, and those this network has no use for."""

    loaded: tuple[str, ...]
    unused: tuple[str, ...]


def save_weights(
    path: str | Path, network: nn.Module, config: Mapping[str, Any], dtype: torch.dtype | None = None
) -> None:
    """Write the network's weights and `config` to a .safetensors or .pth file, atomically.

    `dtype`, such as torch.float16, shrinks matrices and kernels in the file (vectors, such as the statistics of
    batch norm and poses, stay as they are); loading restores float32.
    """
    # The config is stored as JSON text, because that is all that the metadata of safetensors can hold.
    weights = {name: _stored(tensor, dtype) for name, tensor in network.state_dict().items()}
    write_checkpoint(path, weights, config)


def write_checkpoint(path: str | Path, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> None:
    """Write tensors and `config` to a .safetensors or .pth file, atomically."""
    weights, text = dict(weights), json.dumps(dict(config))

    def save(part: Path) -> None:
        # Where nothing may be written, this names the file, which the libraries do not.
        part.touch()
        if Path(path).suffix == ".safetensors":
            from safetensors import torch as safetensors

            # Written by us, because files that the library makes can be read by their owner only.
            part.write_bytes(safetensors.save(weights, metadata={"config": text}))
        else:
            write_file({"config": text, "weights": weights}, part)

    write_atomically(path, save)


def add_trust(path: str | Path, trust: nn.Module) -> None:
    """Store the head `trust` in the weights file `path`, in place of one that it may have. Weights stay as stored."""
    checkpoint = read_checkpoint(path)
    if checkpoint.config is None:
        raise UserError(f"{checkpoint.source} holds published weights; expected a network trained here")
    head = {PREFIX + name: _stored(tensor, torch.float16) for name, tensor in trust.state_dict().items()}
    write_checkpoint(path, {**checkpoint.weights, **head}, checkpoint.config)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of ours or a published one, never running pickled code. UserError names what is wrong."""
    source = repr(str(path))
    if Path(path).suffix == ".safetensors":
        return _read_safetensors(path, source)
    content = read_file(path)
    if isinstance(content, Mapping) and set(content) == {"config", "weights"}:
        weights, trust = _split_trust(require_tensors(content["weights"], source))
        return Checkpoint(weights, _parse_config(content["config"], source), source, trust)
    weights = require_tensors(content, source)
    if not any(method.is_published(weights) for method in METHODS.values()):
        raise UserError(f"{source} is neither a checkpoint of this project nor a published one")
    return Checkpoint(weights, None, source)


def network_of(checkpoint: Checkpoint, config: Mapping[str, Any], load: bool = True) -> nn.Module:
    """`build_network`, no larger than the weights of `checkpoint` may fill. UserError that names their file."""
    try:
        return build_network(config, load, checkpoint.most)
    except UserError as error:
        raise UserError(f"{checkpoint.source}: {error}") from error


def load_weights(network: nn.Module, checkpoint: Checkpoint, keep: str | None = None) -> None:
    """Load `checkpoint`, ours or published, into `network`. The part named `keep`, if any, keeps its own weights.

    Raises UserError that names the first tensor that is missing, has another shape, or has no place in the
    network; the network is then unchanged.
    """
    if checkpoint.config is None:
        _load_published(network, checkpoint.weights, checkpoint.source, keep)
        return
    matched = match_weights(network, checkpoint.weights, checkpoint.source, keep=keep)
    for name in checkpoint.weights:
        if name not in matched and not is_within(name, keep):
            raise UserError(
                f"{checkpoint.source}: {name!r} has no place in this network; its checkpoint is of another config"
            )
    network.load_state_dict(matched)


def load_pose_decoder(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Load the pose decoder of `checkpoint`, one of ours, and the pose statistics that belong to it.

    Raises UserError for a published file, which holds no statistics, and for what has another shape or is missing.
    """
    if checkpoint.config is None:
        raise UserError(
            f"{checkpoint.source} is a published file, which holds no pose statistics; expected one of ours"
        )
    own, part = network.state_dict(), _method_of_network(network).POSE_DECODER
    names = [name for name in own if is_within(name, part) or name in ("pose_mean", "pose_std")]
    weights = own | {name: checkpoint.weights[name] for name in names if name in checkpoint.weights}
    missing = [name for name in names if name not in checkpoint.weights]
    if missing:
        raise UserError(
            f"{checkpoint.source}: {missing[0]!r} is missing, expected shape {tuple(own[missing[0]].shape)}"
        )
    network.load_state_dict(match_weights(network, weights, checkpoint.source))


def load_published_weights(
    network: nn.Module, path_or_state_dict: str | Path | Mapping[str, torch.Tensor]
) -> PublishedReport:
    """Load a published checkpoint (a .pth file, never unpickled unsafely, or its state dict) into `network`.

    Prints one line that counts loaded and unused keys. Raises UserError that names the first key that is
    missing or has another shape; the network is then unchanged.
    """
    of_file = isinstance(path_or_state_dict, (str, Path))
    if of_file:
        source, content = repr(str(path_or_state_dict)), read_file(path_or_state_dict)
    else:
        source, content = "published weights", path_or_state_dict
    return _load_published(network, require_tensors(content, source, of_file), source)


def _load_published(
    network: nn.Module, weights: Mapping[str, torch.Tensor], source: str, keep: str | None = None
) -> PublishedReport:
    loaded, method = [name for name in network.state_dict() if not is_within(name, keep)], _method_of_network(network)
    names = method.published_names(loaded, weights)
    network.load_state_dict(match_weights(network, weights, source, names.__getitem__, keep))
    if method.POSE_STATISTICS is not None and any(is_within(name, method.POSE_DECODER) for name in loaded):
        network.set_pose_statistics(*method.POSE_STATISTICS)
    used = set(names.values())
    report = PublishedReport(
        tuple(key for key in weights if key in used), tuple(key for key in weights if key not in used)
    )
    example = f", such as {report.unused[0]}" if report.unused else ""
    print(f"published weights: {len(report.loaded)} tensors loaded, {len(report.unused)} unused{example}")
    return report


def _method_of_network(network: nn.Module) -> ModuleType:
    return next(method for method in METHODS.values() if isinstance(network, method.Network))


def _stored(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """A contiguous copy on the CPU."""
    tensor = tensor.detach().cpu()
    if dtype is not None and tensor.is_floating_point() and tensor.dim() > 1:
        tensor = tensor.to(dtype)
    # safetensors refuses tensors that share memory, and stores no strides: channels-last kernels become contiguous.
    return tensor.clone(memory_format=torch.contiguous_format)


def _read_safetensors(path: str | Path, source: str) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise UserError(f"no such file: {source}, expected a file of weights")
    # Where nothing may be read, this names the file; safetensors says that there is none.
    open(path, "rb").close()
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dictionary
            metadata = file.metadata() or {}
    except SafetensorError as error:
        why = impostor(path) or reason(error)
        raise UserError(f"{source} is not a safetensors file and was refused: {why}") from error
    if "config" not in metadata:
        raise UserError(f"{source} has no 'config' in its metadata, expected a checkpoint of this project")
    weights, trust = _split_trust(require_tensors(weights, source))
    return Checkpoint(weights, _parse_config(metadata["config"], source), source, trust)


def _split_trust(
    tensors: dict[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor] | None]:
    """Weights, and the tensors of the head for trust. What trains further must not keep them, so they come apart."""
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}
    trust = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
    return weights, trust or None


def _parse_config(text: Any, source: str) -> dict[str, Any]:
    try:
        config = parse_json(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{source}: its 'config' is not JSON ({reason(error)})") from error
    if not isinstance(config, dict):
        raise UserError(f"{source}: its 'config' holds {type(config).__name__}, expected a dictionary")
    _check_stored(config, source)
    # A key of the network that is younger than the file has a default with which networks are what they were.
    table, method = table_of(config), method_of(config)
    return {**{key: table[key].default for key in (*method.ARCHITECTURE_KEYS, *method.BEHAVIOR_KEYS)}, **config}


def _check_stored(config: Mapping[str, Any], source: str) -> None:
    """UserError for what opening a network reads from a stored config and the table of keys does not allow."""
    # Other keys may be of an older version, which allowed more.
    method = method_of(config)
    for key in ("output_types", "dataset_folder_test", *method.ARCHITECTURE_KEYS, *method.BEHAVIOR_KEYS):
        if key == "output_types" or key in config:
            try:
                check_value(key, config.get(key), table_of(config))
            except UserError as error:
                raise UserError(f"{source}: {error}") from error
