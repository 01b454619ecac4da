"""Reading the network's options from a configuration dictionary."""

from collections.abc import Mapping
from typing import Any

from utils.config import check_value, method_name, table_of
from utils.errors import UserError

# Architecture of the part that stage 2 trains: the only keys in which it may differ from its stage 1.
POSE_DECODER_KEYS = ("n_hidden_to3Dpose", "width_to3Dpose")
# Architecture of the encoder, of the latents and of the image decoder's levels.
PART_KEYS = (
    "encoderType",
    "encoder_width",
    "encoder_max_pool",
    "encoder_side",
    "sigmoid_bottleneck",
    "inputDimension",
    "num_encoding_layers",
    "feature_scale",
    "latent_fg",
    "latent_3d",
)
# Keys of how a pretrained encoder trains on: stage 2 keeps those of its stage 1.
ENCODER_START_KEYS = ("encoder_weights", "freeze_encoder_stem", "encoder_frozen_stages", "encoder_statistics")


def option(config: Mapping[str, Any], key: str) -> Any:
    """Return `config[key]`, checked by the table of keys of the config's method (utils/keys.py, utils/scene_keys.py).

    No default stands in for a missing key, which is a UserError: a network is what its config says.
    """
    if key not in config:
        tables = "utils/scene_keys.py" if method_name(config) == "scene" else "utils/keys.py"
        raise UserError(f"config: key {key!r} is missing; {tables} lists every key")
    return check_value(key, config[key], table_of(config))


def decoder_widths(config: Mapping[str, Any]) -> list[int]:
    """Channels per level of the U-Net and the decoder, finest first: [64, 128, 256, 512] / feature_scale."""
    scale = option(config, "feature_scale")
    return [64 * 2**level // scale for level in range(option(config, "num_encoding_layers"))]


def coarsest_grid(config: Mapping[str, Any]) -> int:
    """Side of the decoder's first feature map: inputDimension halved between the levels (128 -> 16)."""
    size, halvings = option(config, "inputDimension"), option(config, "num_encoding_layers") - 1
    if size % 2**halvings:
        raise UserError(f"config: inputDimension = {size}, expected a multiple of {2**halvings}")
    return size // 2**halvings
