"""Losses on their way from the device to whoever reads them."""

from collections.abc import Callable, Mapping

import torch


def to_floats(losses: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Scalars by name as numbers, in one copy, which waits for the device."""
    return dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))


class ShownLosses:
    """Losses as text for a progress bar, which must not wait for a GPU: there, the last that have arrived."""

    def __init__(self):
        self.text: dict[str, str] = {}
        self.under_way: tuple[Callable[[], bool], dict[str, torch.Tensor]] | None = None

    def __call__(self, losses: Mapping[str, torch.Tensor]) -> dict[str, str]:
        """Take in the losses (scalars) of an iteration, and return what is known by now."""
        if self.under_way is None:
            self.under_way = begin_copy(losses)
        has_arrived, copies = self.under_way
        if has_arrived():
            self.text = {name: f"{value:.4f}" for name, value in to_floats(copies).items()}
            self.under_way = None
        return self.text


def begin_copy(losses: Mapping[str, torch.Tensor]) -> tuple[Callable[[], bool], dict[str, torch.Tensor]]:
    """Begin to copy scalars to the CPU; returns whether they have arrived, as a function, and the copies."""
    copies = {name: value.to("cpu", non_blocking=value.is_cuda) for name, value in losses.items()}
    if not next(iter(losses.values())).is_cuda:
        return lambda: True, copies
    copied = torch.cuda.Event()
    copied.record()
    return copied.query, copies
