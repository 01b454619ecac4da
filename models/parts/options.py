"""Reading the network's options from a configuration dictionary."""

from collections.abc import Mapping
from typing import Any

from utils.errors import UserError


def option(config: Mapping[str, Any], key: str) -> Any:
    """Return `config[key]`. Defaults live in the config files only, so a missing key is a UserError."""
    if key not in config:
        raise UserError(f"config: key {key!r} is missing; configs/config_train_encodeDecode.py lists every key")
    return config[key]


def integer(config: Mapping[str, Any], key: str, lowest: int = 1) -> int:
    """Return `config[key]` as an integer that is at least `lowest`, or raise UserError."""
    value = option(config, key)
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise UserError(f"config: {key} = {value!r}, expected an integer that is at least {lowest}")
    return value


def probability(config: Mapping[str, Any], key: str) -> float:
    """Return `config[key]` as a number in [0, 1), or raise UserError."""
    value = option(config, key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise UserError(f"config: {key} = {value!r}, expected a number from 0 to below 1")
    return float(value)


def decoder_widths(config: Mapping[str, Any]) -> list[int]:
    """Channels per level of the U-Net and the decoder, finest first: [64, 128, 256, 512] / feature_scale."""
    num_layers, scale = integer(config, "num_encoding_layers", lowest=2), integer(config, "feature_scale")
    if 64 % scale:
        raise UserError(f"config: feature_scale = {scale}, expected a divisor of 64")
    return [64 * 2**level // scale for level in range(num_layers)]


def coarsest_grid(config: Mapping[str, Any]) -> int:
    """Side of the decoder's first feature map: inputDimension halved between the levels (128 -> 16)."""
    size, halvings = integer(config, "inputDimension"), integer(config, "num_encoding_layers", lowest=2) - 1
    if size % 2**halvings:
        raise UserError(f"config: inputDimension = {size}, expected a multiple of {2**halvings}")
    return size // 2**halvings
