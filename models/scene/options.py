"""Which config keys decide what a network is, and the beginning of a run folder's name."""

from collections.abc import Mapping
from typing import Any

from models.parts.options import PART_KEYS, POSE_DECODER_KEYS, option
from utils.errors import UserError
from utils.scene_keys import SCENE_NETWORK

# Keys that decide which tensors a network has: a network can only load weights of a config that agrees in these.
ARCHITECTURE_KEYS = (
    "method",
    "training_mode",
    "spatial_transformer_num",
    "disable_detector",
    "predict_transformer_depth",
    "detector_width",
    "square_boxes",
    "detector_background",
    *PART_KEYS,
    "masked_blending",
    "upsampling_bilinear",
    "color_by_appearance",
    "decoder_batch_norm",
    "masks_of_layers",
    *POSE_DECODER_KEYS,
)

# Where weights come from.
_STARTS = ("pretrained_network_path", "pretrained_crops_path", "encoder_weights")
# What else of a network's config decides what it computes: a trained one computes what it did in training.
BEHAVIOR_KEYS = (
    "fullFrameResolution",
    *(key for key in SCENE_NETWORK if key not in (*ARCHITECTURE_KEYS, *_STARTS)),
)


def frame_size(config: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of frames, pixels. UserError for another number of sides."""
    resolution = option(config, "fullFrameResolution")
    if len(resolution) != 2:
        raise UserError(f"config: fullFrameResolution = {list(resolution)}, expected width and height")
    width, height = resolution
    return width, height


def name_parts(config: Mapping[str, Any]) -> list[str]:
    """What of a config shows in the names of run folders: network and losses, "scene_ResNet", "boxes2", ..."""
    return [
        f"scene_{config['encoderType']}",
        f"boxes{config['spatial_transformer_num']}",
        f"layers{config['num_encoding_layers']}",
        f"wRGB{config['loss_weight_rgb']:g}",
        f"wImgNet{config['loss_weight_imageNet']:g}",
        f"fg{config['latent_fg']}",
        f"3d{config['latent_3d']}",
        f"lh3Dp{config['n_hidden_to3Dpose']}",
        f"ldrop{config['latent_dropout']:g}",
    ]
