"""Loading checkpoints of the published implementation: its key layout, and ours."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from models.parts.weights import match_weights, read_file, require_tensors

# our prefix -> published prefix; {} is our index plus one
_PREFIXES = (
    (r"encoder\.to_vector", "encoder.l4_reg_toVec"),
    (r"encoder\.blocks\.(\d+)", "conv_{}_stage0"),
    (r"encoder\.to_points", "to_3d"),
    (r"encoder\.to_appearance", "to_fg"),
    (r"decoder\.from_points", "from_latent"),
    (r"decoder\.levels\.(\d+)", "upconv_{}_stage0"),
    (r"decoder\.background", "conv_1_stage_bg0"),
    (r"decoder\.to_image", "final_stage0"),
)
# plain stacks of layers, where the n-th layer with tensors of ours is the n-th of the published one
_STACKS = (
    ("to_pose.layers", ("to_pose.fully_connected",)),
    ("implicit_rotation.encode_angle", ("encode_angle",)),
    ("implicit_rotation.turn", ("rotate_implicitely", "rotate_implicitly")),
)


class PublishedReport(NamedTuple):
    """What `load_published_weights` did: published keys that were loaded, and those this network has no use for."""

    loaded: tuple[str, ...]
    unused: tuple[str, ...]


def is_published(state_dict: Mapping[str, torch.Tensor]) -> bool:
    """Whether the keys are those of the published implementation."""
    return "final_stage0.weight" in state_dict


def load_published_weights(
    network: nn.Module, path_or_state_dict: str | Path | Mapping[str, torch.Tensor]
) -> PublishedReport:
    """Load a published checkpoint (a .pth file, never unpickled unsafely, or its state dict) into `network`.

    Prints one line that counts loaded and unused keys. Raises UserError that names the first key that is
    missing or has another shape; the network is then unchanged.
    """
    if isinstance(path_or_state_dict, (str, Path)):
        source, content = repr(str(path_or_state_dict)), read_file(path_or_state_dict)
    else:
        source, content = "published weights", path_or_state_dict
    weights = require_tensors(content, source)
    stacks = _match_stacks(list(network.state_dict()), list(weights))
    matched = match_weights(network, weights, source, lambda name: published_name(name, stacks))
    network.load_state_dict(matched)
    used = {published_name(name, stacks) for name in matched}
    report = PublishedReport(
        tuple(key for key in weights if key in used), tuple(key for key in weights if key not in used)
    )
    example = f", such as {report.unused[0]}" if report.unused else ""
    print(f"published weights: {len(report.loaded)} tensors loaded, {len(report.unused)} unused{example}")
    return report


def published_name(name: str, stacks: Mapping[str, str]) -> str:
    """Our parameter name -> the published one. `stacks` pairs the layers whose index may differ (ours -> theirs)."""
    layer, _, tensor = name.rpartition(".")
    if layer in stacks:
        return f"{stacks[layer]}.{tensor}"
    for ours, published in _PREFIXES:
        match = re.match(ours + r"\.", name)
        if match:
            prefix = published.format(int(match[1]) + 1) if match.groups() else published
            return f"{prefix}.{name[match.end() :]}"
    return name


def _match_stacks(our_keys: list[str], their_keys: list[str]) -> dict[str, str]:
    """Pair the layers of each stack by their order: our layer -> published layer (its spelling and index)."""
    pairs = {}
    for ours, spellings in _STACKS:
        layers = _stack_layers(ours, our_keys)
        theirs = [layer for spelling in spellings for layer in _stack_layers(spelling, their_keys)]
        # where the checkpoint has no such layer, name the one that is missing
        theirs += [layer.replace(ours, spellings[0]) for layer in layers[len(theirs) :]]
        pairs.update(zip(layers, theirs, strict=False))
    return pairs


def _stack_layers(prefix: str, keys: list[str]) -> list[str]:
    """Layers of a stack that have tensors, in order; a single layer may have no index."""
    layers = {match[1] for key in keys if (match := re.match(rf"({re.escape(prefix)}(?:\.\d+)?)\.\w+$", key))}
    return sorted(layers, key=lambda layer: int(layer[len(prefix) + 1 :] or 0))
