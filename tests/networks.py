"""Configs and inputs for tests of the network."""

import torch

from configs.config_train_encodeDecode import config_dict
from models import OUTPUT_TYPES
from tests.deterministic import inputs

# without ImageNet weights, which would be downloaded, and with every output
PUBLISHED = {**config_dict, "encoder_weights": None, "perceptual_weights": None, "output_types": list(OUTPUT_TYPES)}

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
    """Inputs of the network as `tests.deterministic.inputs` makes them."""
    return inputs(seed, batch, size)
