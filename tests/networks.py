"""Configurations and inputs for tests of the network."""

import torch

from models import OUTPUT_TYPES
from tests.deterministic import inputs

PUBLISHED = {
    "encoderType": "ResNet",
    "encoder_weights": None,
    "freeze_encoder_stem": True,
    "encoder_width": 64,
    "encoder_max_pool": True,
    "sigmoid_bottleneck": True,
    "inputDimension": 128,
    "num_encoding_layers": 4,
    "feature_scale": 2,
    "latent_fg": 128,
    "latent_3d": 600,
    "latent_dropout": 0.3,
    "shuffle_fg": True,
    "shuffle_3d": True,
    "useCamBatches": 2,
    "useSubjectBatches": True,
    "implicit_rotation": False,
    "skip_background": True,
    "add_background": False,
    "color_by_appearance": False,
    "upsampling_bilinear": True,
    "n_hidden_to3Dpose": 2,
    "width_to3Dpose": 2048,
    "dropout_to3Dpose": 0.5,
    "output_types": list(OUTPUT_TYPES),
    "MAE": True,
    "loss_weight_rgb": 1.0,
    "loss_weight_gradient": 0.0,
    "loss_weight_imageNet": 2.0,
    "perceptual_weights": None,
}

# small enough for tests, with every part that the published network has
SMALL = {
    **PUBLISHED,
    "encoderType": "ResNet18",
    "encoder_width": 8,
    "inputDimension": 64,
    "feature_scale": 8,
    "latent_fg": 16,
    "latent_3d": 60,
    "width_to3Dpose": 32,
}


def some_inputs(size: int = 64, batch: int = 4, seed: int = 3) -> dict[str, torch.Tensor]:
    return inputs(seed, batch, size)
