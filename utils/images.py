"""Colour normalisation of crops (spec: ImageNet mean and standard deviation)."""

import torch

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


def normalize(images: torch.Tensor) -> torch.Tensor:
    """uint8 crops (...,3,R,R) in 0..255 -> float32 crops, (x/255 - mean)/std, on the same device."""
    mean, std = _constants(images.device)
    return (images.float() / 255 - mean) / std


def denormalize(images: torch.Tensor) -> torch.Tensor:
    """Normalised crops (...,3,R,R) -> float32 colours clamped to 0..1."""
    mean, std = _constants(images.device)
    return (images.float() * std + mean).clamp(0, 1)


def _constants(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        torch.tensor(IMAGE_MEAN, device=device).view(3, 1, 1),
        torch.tensor(IMAGE_STD, device=device).view(3, 1, 1),
    )
