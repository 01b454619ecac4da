"""How checkpoints of the published implementation name the tensors of this network."""

import re
from collections.abc import Iterable, Mapping

from models.parts.weights import renamed

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
# Plain stacks of layers. The n-th layer with tensors of ours is the n-th of the published one, because published
# files differ in which layers without tensors (dropout, activations) they count, and in the spelling.
_STACKS = (
    ("to_pose.layers", ("to_pose.fully_connected",)),
    ("implicit_rotation.encode_angle", ("encode_angle",)),
    ("implicit_rotation.turn", ("rotate_implicitely", "rotate_implicitly")),
)


def is_published(weights: Mapping[str, object]) -> bool:
    """Whether the keys are those of the published implementation."""
    # A layer that each of its variants has, under a name that no network of ours has.
    return "final_stage0.weight" in weights


def published_names(names: Iterable[str], keys: Iterable[str]) -> dict[str, str]:
    """Our parameter names -> the published ones, for a checkpoint that has `keys`."""
    names = list(names)
    stacks = _match_stacks(names, list(keys))
    return {name: published_name(name, stacks) for name in names}


def published_name(name: str, stacks: Mapping[str, str]) -> str:
    """Our parameter name -> the published one. `stacks` pairs the layers whose index may differ (ours -> theirs)."""
    layer, _, tensor = name.rpartition(".")
    if layer in stacks:
        return f"{stacks[layer]}.{tensor}"
    return renamed(name, _PREFIXES)


def _match_stacks(our_keys: list[str], their_keys: list[str]) -> dict[str, str]:
    """Pair the layers of each stack by their order: our layer -> published layer (its spelling and index)."""
    pairs = {}
    for ours, spellings in _STACKS:
        layers = _stack_layers(ours, our_keys)
        theirs = [layer for spelling in spellings for layer in _stack_layers(spelling, their_keys)]
        # If the checkpoint has too few layers, the rest is guessed, so that the error can name what is missing.
        theirs += [layer.replace(ours, spellings[0]) for layer in layers[len(theirs) :]]
        pairs.update(zip(layers, theirs, strict=False))
    return pairs


def _stack_layers(prefix: str, keys: list[str]) -> list[str]:
    """Layers of a stack that have tensors, in order; a single layer may have no index."""
    layers = {match[1] for key in keys if (match := re.match(rf"({re.escape(prefix)}(?:\.\d+)?)\.\w+$", key))}
    return sorted(layers, key=lambda layer: int(layer[len(prefix) + 1 :] or 0))
