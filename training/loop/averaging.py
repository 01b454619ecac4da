"""A moving average of the weights, which is tested and saved in place of the weights that train."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from utils.errors import UserError


class WeightAverage:
    """Exponential moving average of a network's weights and buffers, by `decay` per iteration; 0: none, costs nothing.

    Its first weights are those after the first update.
    """

    def __init__(self, network: nn.Module, decay: float):
        if not 0 <= decay < 1:
            raise UserError(f"ema_decay is {decay}; expected 0 (no average) to below 1")
        self.network, self.decay = network, decay
        self.average = None
        if decay:
            self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
            pairs = zip(_tensors(self.average.module), _tensors(network), strict=True)
            # not the counters of batch norm, of which there is no average
            self.followers, self.leaders = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)

    def update(self) -> None:
        """Take in the network's weights, after an iteration."""
        if self.average is None:
            return
        if self.average.n_averaged == 0:  # which stays on the CPU
            self.average.update_parameters(self.network)
        else:  # what AveragedModel does, but that copies its counter to a GPU each time, and waits for it
            torch._foreach_lerp_(self.followers, self.leaders, 1 - self.decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the network has the averaged weights."""
        if self.average is None:
            yield
            return
        own = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(self.average.module.state_dict())
        try:
            yield
        finally:
            self.network.load_state_dict(own)

    def state_dict(self) -> dict:
        """What a resumed run needs; empty without an average."""
        return {} if self.average is None else self.average.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Go on from the `state_dict` of a run of the same config."""
        if self.average is not None:
            self.average.load_state_dict(state)


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    """Parameters and buffers, which no training puts elsewhere in memory."""
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]
