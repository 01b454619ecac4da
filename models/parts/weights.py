"""Reading state dictionaries safely, and matching them to modules by name."""

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from utils.errors import UserError
from utils.readers import impostor, reason


def read_file(path: str | Path) -> Any:
    """Return the contents of a .pth file (on the CPU), without ever running pickled code.

    Both the current and the old (before PyTorch 1.6) format are read. UserError if the file is missing,
    damaged, or contains more than tensors, numbers, strings, lists and dictionaries.
    """
    if not Path(path).is_file():
        raise UserError(f"no such file: {str(path)!r}, expected a file of weights")
    try:
        with warnings.catch_warnings():
            # torch warns about what it refuses, in many lines; the error below says it in one.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # A damaged file fails in the unpickler in too many ways to list.
        why = impostor(path) or reason(error)
        # All that torch says is how to load it unsafely.
        why = "it is damaged, or holds more than tensors" if why.startswith("Weights only load failed") else why
        raise UserError(f"{str(path)!r} is not a file of plain weights and was refused: {why}") from error


def write_file(content: Any, path: str | Path) -> None:
    """Write `content` to a .pth file. Equal contents are equal bytes: torch.save would store a file's name, too."""
    with open(path, "wb") as file:
        torch.save(content, file)


def require_tensors(content: Any, source: str, of_file: bool = True) -> dict[str, torch.Tensor]:
    """Return `content` if it maps names to plain, finite tensors, else raise UserError that names `source`.

    Tensors `of_file` must be as large as they say, since a few bytes of a file may stand for any number of equal
    elements; those that a program gives may be expanded. What training tools put around weights is taken off: see
    `unwrapped`.
    """
    content = unwrapped(content)
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{source} holds {type(content).__name__}, expected a dictionary from names to tensors")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise UserError(f"{source}: {key!r} holds {type(value).__name__}, expected a tensor")
        if fault := _fault(value, of_file):
            raise UserError(f"{source}: {key!r} {fault}")
    return dict(content)


def unwrapped(content: Any) -> Any:
    """The weights inside of a checkpoint of another tool: under `state_dict` or `model`, and without the prefixes that
    DataParallel and torch.compile put before all names."""
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    for prefix in ("_orig_mod.", "module.", "_orig_mod."):
        names = list(content) if isinstance(content, Mapping) else []
        if names and all(isinstance(name, str) and name.startswith(prefix) for name in names):
            content = {name.removeprefix(prefix): value for name, value in content.items()}
    return content


def renamed(name: str, prefixes: Iterable[tuple[str, str]]) -> str:
    """`name` under another implementation's prefix.

    `prefixes`: patterns of ours, and theirs, in which {} stands for our index plus one. The first that fits counts.
    """
    for ours, theirs in prefixes:
        match = re.match(ours + r"\.", name)
        if match:
            prefix = theirs.format(int(match[1]) + 1) if match.groups() else theirs
            return f"{prefix}.{name[match.end() :]}"
    return name


def _fault(tensor: torch.Tensor, of_file: bool) -> str | None:
    """What makes a tensor no weights."""
    if tensor.layout is not torch.strided or tensor.is_complex() or tensor.is_quantized:
        return f"is {tensor.dtype}, {tensor.layout}; expected plain numbers"
    if of_file and tensor.nbytes > tensor.untyped_storage().nbytes():
        return f"has shape {tuple(tensor.shape)}, but fewer numbers; expected one number for each element"
    if tensor.is_floating_point() and not tensor.isfinite().all():
        return "holds NaN or infinity; expected finite numbers"
    return None


def match_weights(
    module: nn.Module,
    weights: Mapping[str, torch.Tensor],
    source: str,
    name_in_source: Callable[[str], str] = lambda name: name,
    keep: str | None = None,
) -> dict[str, torch.Tensor]:
    """Return a complete state dict for `module`, taken from `weights` under `name_in_source(our name)`.

    The part named `keep` keeps its own tensors. The first key that is missing or has another shape is a UserError
    that names it; nothing is loaded yet. Batch-norm counters may be missing, since PyTorch wrote none before 0.4.1.
    So may the statistics of poses, which published checkpoints leave to the data set.
    """
    matched = {}
    for name, own in module.state_dict().items():
        if is_within(name, keep):
            matched[name] = own
            continue
        key = name_in_source(name)
        if key in weights:
            if weights[key].shape != own.shape:
                theirs, ours = tuple(weights[key].shape), tuple(own.shape)
                raise UserError(f"{source}: {key!r} has shape {theirs}, expected {ours} (this network's {name!r})")
            matched[name] = weights[key]
        elif name.endswith("num_batches_tracked") or name in ("pose_mean", "pose_std"):
            matched[name] = own
        else:
            raise UserError(f"{source}: {key!r} is missing, expected shape {tuple(own.shape)}")
    return matched


def is_within(name: str, part: str | None) -> bool:
    """Whether the tensor `name` belongs to the part of a network that is named `part`; False for None."""
    return part is not None and name.startswith(f"{part}.")


def load_pretrained(module: nn.Module, parts: list[str], weights: str | Path, architecture: str, key: str) -> None:
    """Load `parts` of `module` (torchvision names) from ImageNet weights or from a file.

    `weights` is "imagenet" (downloaded once by torchvision) or the path of a state dict of `architecture`
    ("resnet18", "resnet50"). `key` is the config key to name in errors.
    """
    if weights == "imagenet":
        state, source = _imagenet_weights(architecture, key), f"ImageNet {architecture}"
    else:
        state, source = require_tensors(read_file(weights), repr(str(weights))), repr(str(weights))
    # All parts are matched before any is loaded: an error leaves the module as it was.
    matched = {part: match_weights(getattr(module, part), state, source, f"{part}.{{}}".format) for part in parts}
    for part, values in matched.items():
        getattr(module, part).load_state_dict(values)


def _imagenet_weights(architecture: str, key: str) -> dict[str, torch.Tensor]:
    from torchvision.models import ResNet18_Weights, ResNet50_Weights

    named = {"resnet18": ResNet18_Weights.IMAGENET1K_V1, "resnet50": ResNet50_Weights.IMAGENET1K_V1}
    try:
        return named[architecture].get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"ImageNet weights of {architecture} could not be downloaded ({reason(error)}); "
            f"set {key} to the path of a torchvision {architecture} state dict, or to None to start at random"
        ) from error
