"""Muon: an optimizer whose steps change hidden layers by as much in every direction."""

from collections import defaultdict
from collections.abc import Iterable

import torch

# A polynomial that moves singular values from (0, 1] towards 1 in few steps (Jordan et al., 2024).
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_MOMENTUM = 0.95
# Size of an update (root mean square) in learning rates, so that one learning rate serves Adam's parameters too.
# Measured on the demo's network with 1,000 iterations at 2e-3: 0.2 and 1.2 are worse.
_UPDATE_RMS = 0.5


class Muon(torch.optim.AdamW):
    """Muon (Jordan et al., 2024) for the convolutions between feature maps, AdamW for all else.

    Of each weight (out, in * height * width) the momentum's singular values are all set to about 1, so that directions
    with small gradients are learned as fast as others. First convolutions of images, linear layers (here all of them
    read or write latents), biases and batch norm are left to AdamW. The state is that of any optimizer of torch.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], lr: float, weight_decay: float, fused: bool):
        parameters = list(parameters)
        hidden = [parameter for parameter in parameters if _is_hidden(parameter)]
        others = [parameter for parameter in parameters if not _is_hidden(parameter)]
        groups = [{"params": hidden, "orthogonal": True}, {"params": others, "orthogonal": False}]
        super().__init__([group for group in groups if group["params"]], lr=lr, weight_decay=weight_decay, fused=fused)

    @torch.no_grad()
    def step(self, closure=None):
        """Make one step, after which the convolutions have no gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["orthogonal"]:
                self._step_orthogonal(group)
                for parameter in group["params"]:
                    # AdamW skips parameters without a gradient.
                    parameter.grad = None
        super().step()
        return loss

    def _step_orthogonal(self, group: dict) -> None:
        # Matrices of one shape are orthogonalized together, in one product in place of many small ones.
        by_shape = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if "momentum" not in state:
                # AdamW expects a number of steps in every state that it loads.
                state.update(momentum=torch.zeros_like(parameter), step=torch.zeros(()))
            momentum = state["momentum"].mul_(_MOMENTUM).add_(parameter.grad)
            ahead = parameter.grad.add(momentum, alpha=_MOMENTUM)
            by_shape[parameter.shape].append((parameter, ahead.flatten(1)))
        for shape, pairs in by_shape.items():
            parameters, matrices = zip(*pairs, strict=True)
            updates = orthogonalize(torch.stack(matrices))
            size = _UPDATE_RMS * max(updates.shape[1:]) ** 0.5
            for parameter, update in zip(parameters, updates, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.reshape(shape), alpha=-group["lr"] * size)


def orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices (N,R,C), float32, with their singular vectors, and singular values near 1 (0.7 to 1.2; less where they
    are a hundredth of the largest)."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)).bfloat16()
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()


def _is_hidden(parameter: torch.nn.Parameter) -> bool:
    return parameter.ndim == 4 and parameter.shape[1] > 3
