"""Losses and scores as the terminal shows them; losses on their way from the device."""

from collections.abc import Callable, Mapping

import torch

_FORMATS = {"psnr": "{:.1f} dB", "n_mpjpe": "N-MPJPE {:.1f} mm", "mpjpe": "MPJPE {:.1f} mm"}


def scores_text(values: Mapping[str, float], score: str) -> str:
    """The held-out scores that the terminal shows, `score` first: "loss 0.0845, 25.1 dB"."""
    shown = [score, *(name for name in _FORMATS if name in values and name != score)]
    return ", ".join(_FORMATS.get(name, name + " {:.4f}").format(values[name]) for name in shown)


def to_floats(losses: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Scalars by name as numbers, in one copy, for which the host waits."""
    return dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))


class ShownLosses:
    """Losses as text for a progress bar, which must not wait for a GPU: it shows the last ones that have arrived."""

    def __init__(self):
        self.text: dict[str, str] = {}
        self.pending: tuple[Callable[[], bool], dict[str, torch.Tensor]] | None = None

    def __call__(self, losses: Mapping[str, torch.Tensor]) -> dict[str, str]:
        """Take in the losses (scalars) of an iteration, and return the last ones that have arrived."""
        # One copy at a time: the next one begins when it has arrived.
        if self.pending is None:
            self.pending = begin_copy(losses)
        has_arrived, copies = self.pending
        if has_arrived():
            self.text = {name: f"{value:.4f}" for name, value in to_floats(copies).items()}
            self.pending = None
        return self.text


def begin_copy(losses: Mapping[str, torch.Tensor]) -> tuple[Callable[[], bool], dict[str, torch.Tensor]]:
    """Begin to copy scalars to the CPU; return a function that tells whether they have arrived, and the copies."""
    copies = {name: value.to("cpu", non_blocking=value.is_cuda) for name, value in losses.items()}
    # Copies from a CPU are done at once, and other devices than CUDA have no event to ask.
    if not next(iter(losses.values())).is_cuda:
        return lambda: True, copies
    copied = torch.cuda.Event()
    copied.record()
    return copied.query, copies
