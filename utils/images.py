"""Colour normalisation of crops (spec: ImageNet mean and standard deviation)."""

import torch

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


def normalize(images: torch.Tensor) -> torch.Tensor:
    """uint8 crops (...,3,R,R) in 0..255 -> float32 crops, (x/255 - mean)/std, on the same device."""
    mean, std = per_channel(IMAGE_MEAN, images.device), per_channel(IMAGE_STD, images.device)
    return (images.float() / 255 - mean) / std


def denormalize(images: torch.Tensor) -> torch.Tensor:
    """Normalised crops (...,3,R,R) -> float32 colours clamped to 0..1."""
    mean, std = per_channel(IMAGE_MEAN, images.device), per_channel(IMAGE_STD, images.device)
    return (images.float() * std + mean).clamp(0, 1)


def per_channel(values: tuple[float, float, float], device: torch.device) -> torch.Tensor:
    """Three numbers as (3,1,1), float32. They are filled in on the device: to copy a list there waits for it."""
    return torch.stack([torch.full((1, 1), value, device=device) for value in values])
