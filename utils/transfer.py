"""Asynchronous copies to a device."""

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy `tensor` to `device` without waiting for it."""
    # A copy from pageable memory makes the program wait for the GPU, even with non_blocking. The GPU can read pinned
    # memory by itself, while the program goes on.
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
