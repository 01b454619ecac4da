"""What the steps of all stages share: randomness drawn on the CPU, one function of tensors, means of an evaluation."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from training.loop.distributed import mean_over_processes
from training.loop.engine import seed_everything
from training.loop.graphs import make_step
from training.loop.hardware import Hardware
from training.loop.loaders import Batch
from training.loop.threads import map_batches

Losses = dict[str, torch.Tensor]  # scalars by name, one of them "loss", which is to be minimized


class TrainingStep:
    """One step of training: `losses` of a batch with what was drawn for it, their gradients, and a step of `optimizer`.

    `source`: what holds the rows of a batch on the device, by its method `take`.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, hardware: Hardware, config: dict, source: Any = None):
        self.optimizer, self.hardware, self.config, self.source = optimizer, hardware, config, source
        self.train = make_step(self.compute, config, hardware)

    def __call__(self, batch: Batch, iteration: int) -> Losses:
        """Train on one batch, and return its losses, detached."""
        losses = self.train(batch | self.draw(batch, seed_everything(self.config["seed"], iteration)))
        # A copy, because a CUDA graph overwrites its outputs in the next step.
        return dict(zip(losses, torch.stack(list(losses.values())), strict=True))

    def compute(self, batch: Batch) -> Losses:
        """Train on a batch on the device with what was drawn for it: a function of tensors, the same in each step."""
        self.set_modes()
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.backward(batch)
        self.optimizer.step()
        self.finish()
        return {name: loss.detach() for name, loss in losses.items()}

    def backward(self, batch: Batch) -> Losses:
        """The losses of a batch on the device with what was drawn for it; the network has their gradients then."""
        losses = self.losses(batch)
        losses["loss"].backward()
        return losses

    def held(self, batch: Batch) -> Batch:
        """`batch`, and what `source` holds of its rows where it has nothing but their numbers."""
        return batch | self.source.take(batch["row"]) if "row" in batch else batch

    def draw(self, batch: Batch, generator: torch.Generator) -> Batch:
        """All that is random in a step but dropout, on the CPU."""
        raise NotImplementedError

    def set_modes(self) -> None:
        """Put all parts of the network in the mode in which they train."""
        raise NotImplementedError

    def losses(self, batch: Batch) -> Losses:
        """The losses of a batch on the device with what was drawn for it."""
        raise NotImplementedError

    def finish(self) -> None:
        """What is to be done after each step of the optimizer; nothing by default."""


def mean_scores(
    compare: Callable[[Batch], tuple[int, Losses]], batches: Iterable[Batch], device: torch.device
) -> dict[str, float]:
    """Means over the batches of all processes of what `compare(batch)` gives: how many items, and their mean scores."""
    totals: dict[str, float] = {}
    count = 0
    for size, scores in map_batches(compare, batches, device):
        for name, value in scores.items():
            totals[name] = totals.get(name, 0.0) + float(value) * size
        count += size
    return mean_over_processes({name: total / count for name, total in totals.items()}, count)
