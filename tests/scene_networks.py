"""Configs and inputs for tests of the network of several people."""

import torch

from configs.config_train_detect_encode_decode import config_dict as stage1
from configs.config_train_detect_encode_decode_pose import config_dict as stage2
from tests.deterministic_scene import inputs

_SMALL = {
    "encoder_weights": None,
    "perceptual_weights": None,
    "encoderType": "ResNet18",
    "encoder_width": 8,
    "detector_width": 8,
    "inputDimension": 32,
    "feature_scale": 8,
    "latent_fg": 32,
    "latent_3d": 60,
    "width_to3Dpose": 32,
}
SMALL = {**stage1, **_SMALL, "latent_dropout": 0.0}
SMALL_POSE = {**stage2, **_SMALL}


def some_frames(batch: int = 4, seed: int = 3) -> dict[str, torch.Tensor]:
    """Inputs of the network: frames of 72 x 40 pixels."""
    return inputs(seed, batch, 40, 72)


def move_boxes(network: torch.nn.Module, spread: float = 0.5) -> None:
    """Give the boxes of a new network places, sizes and depths of their own, which differ from frame to frame."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter, scale in ((network.detector.fc.bias, 1.0), (network.detector.fc.weight, spread)):
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
