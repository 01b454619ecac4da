"""Sizes of pictures; normalization of crops by ImageNet's mean and standard deviation, as published."""

import torch
from torch.nn import functional

from utils.errors import UserError

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


def resize(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """Squares (N,3,S,S) uint8 on the CPU -> (N,3,size,size), bilinear.

    With anti-aliasing, because without it a large crop would get jagged edges, which training crops do not have.
    """
    # What torchvision's `resize` calls, whose import takes two seconds.
    return functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)


def normalize(images: torch.Tensor) -> torch.Tensor:
    """Crops (...,3,R,R), uint8 or floats in 0..255 -> float32 crops, (x/255 - mean)/std, on the same device.

    UserError for floats that are in 0..1 already, as torchvision's ToTensor makes them, or normalized already.
    """
    # Not of bytes: to look at values on a GPU means to wait for it.
    if images.is_floating_point():
        check_byte_range(images)
    return normalize_colors(images.float() / 255)


def normalize_colors(colors: torch.Tensor) -> torch.Tensor:
    """Colors (...,3,R,R) in 0..1, float32 -> normalized crops."""
    mean, std = per_channel(IMAGE_MEAN, colors.device), per_channel(IMAGE_STD, colors.device)
    return (colors - mean) / std


def check_byte_range(images: torch.Tensor) -> None:
    """UserError for floats that cannot be colors in 0..255. Pictures of zeros are black in any range."""
    if not images.numel():
        return
    low, high = images.amin().item(), images.amax().item()
    if not (low >= 0 and high <= 255) or 0 < high <= 1:
        raise UserError(
            f"colors are {images.dtype} from {low:.3g} to {high:.3g}; expected uint8, or floats in 0..255: multiply "
            "floats in 0..1 by 255, and do not normalize"
        )


def denormalize(images: torch.Tensor) -> torch.Tensor:
    """Normalized crops (...,3,R,R) -> float32 colors clamped to 0..1."""
    mean, std = per_channel(IMAGE_MEAN, images.device), per_channel(IMAGE_STD, images.device)
    return (images.float() * std + mean).clamp(0, 1)


def per_channel(values: tuple[float, float, float], device: torch.device) -> torch.Tensor:
    """Three numbers as a tensor (3,1,1), float32."""
    # Filled in on the device: torch.tensor(values, device=...) copies from the CPU, and such a copy waits until the
    # GPU has done all that it was given before.
    return torch.stack([torch.full((1, 1), value, device=device) for value in values])
