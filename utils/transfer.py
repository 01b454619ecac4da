"""Asynchronous copies to a device."""

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy `tensor` to `device` without waiting for it."""
    return pinned_for(device, tensor).to(device, non_blocking=True)


def pinned_for(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    """`tensor`, if it is on the CPU and `device` is a GPU in pinned memory, from where copies do not wait."""
    # A copy from pageable memory makes the program wait for the GPU, even with non_blocking. The GPU can read pinned
    # memory by itself, while the program goes on.
    return tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor
