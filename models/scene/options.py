"""Which config keys decide what a network is, and the beginning of a run folder's name."""

from collections.abc import Mapping
from typing import Any

# Architecture of the part that stage 2 trains: the only keys in which it may differ from its stage 1.
POSE_DECODER_KEYS = ("n_hidden_to3Dpose", "width_to3Dpose")
# Keys that decide which tensors a network has: a network can only load weights of a config that agrees in these.
ARCHITECTURE_KEYS = (
    "method",
    "training_mode",
    "spatial_transformer_num",
    "disable_detector",
    "predict_transformer_depth",
    "detector_width",
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
    "masked_blending",
    "upsampling_bilinear",
    *POSE_DECODER_KEYS,
)
# Keys of how a pretrained encoder trains on: stage 2 keeps those of its stage 1.
ENCODER_START_KEYS = ("encoder_weights", "freeze_encoder_stem", "encoder_frozen_stages", "encoder_statistics")


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
