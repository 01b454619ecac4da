"""Muon: an optimizer whose steps change hidden layers by as much in every direction."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import torch

from training.loop.hardware import has_tiles

# A polynomial that moves singular values from (0, 1] towards 1 in few steps (Jordan et al., 2024).
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_MOMENTUM = 0.95
# Size of an update (root mean square) in learning rates, so that one learning rate serves Adam's parameters too.
# Measured on the demo's network with 1,000 iterations at 2e-3: 0.2 and 1.2 are worse.
_UPDATE_RMS = 0.5
# A GPU does in the 0.1 ms that the kernels of one more class take about this many operations. A CPU starts a product
# at once, and would only compute with zeros.
_PADDING_FLOP = {"cuda": 2e10}

Shape = tuple[int, int]


class Muon(torch.optim.AdamW):
    """Muon (Jordan et al., 2024) for the convolutions between feature maps, AdamW for all else.

    Of each weight (out, in * height * width) the momentum's singular values are all set to about 1, so that directions
    with small gradients are learned as fast as others. First convolutions of images (of 3 channels), linear layers
    (here all of them read or write latents), biases and batch norm are left to AdamW. The state is that of any
    optimizer of torch.
    With `capturable` a step can be captured in a CUDA graph; the learning rates of groups then are tensors there.
    `parameters`: parameters, or groups of them as torch's optimizers take them.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter] | Iterable[dict],
        lr: float,
        weight_decay: float,
        fused: bool,
        capturable: bool = False,
    ):
        parameters = list(parameters)
        given = parameters if isinstance(parameters[0], dict) else [{"params": parameters}]
        groups = [
            {**group, "params": chosen, "orthogonal": hidden}
            for group in given
            for hidden in (True, False)
            if (chosen := [parameter for parameter in group["params"] if _is_hidden(parameter) == hidden])
        ]
        super().__init__(groups, lr=lr, weight_decay=weight_decay, fused=fused, capturable=capturable)
        device = groups[0]["params"][0].device
        self.dtype = torch.bfloat16 if device.type == "cuda" or has_tiles(device) else torch.float32

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
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not parameters:
            return
        gradients = [parameter.grad for parameter in parameters]
        momenta = [self._momentum(parameter) for parameter in parameters]
        torch._foreach_mul_(momenta, _MOMENTUM)
        torch._foreach_add_(momenta, gradients)
        ahead = torch._foreach_add(gradients, momenta, alpha=_MOMENTUM)
        matrices = [_as_matrix(tensor) for tensor in ahead]
        updates = orthogonalize_all(matrices, self.dtype, _PADDING_FLOP.get(parameters[0].device.type, 0))
        updates = [_as_kernel(update, tensor) for update, tensor in zip(updates, ahead, strict=True)]
        # Nothing here asks for the value of the learning rate, which may be a tensor on a GPU.
        torch._foreach_mul_(updates, [_UPDATE_RMS * max(matrix.shape) ** 0.5 for matrix in matrices])
        torch._foreach_mul_(updates, group["lr"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_sub_(parameters, updates)

    def _momentum(self, parameter: torch.nn.Parameter) -> torch.Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            # AdamW expects a number of steps in every state that it loads.
            state.update(momentum=torch.zeros_like(parameter), step=torch.zeros((), device=parameter.device))
        return state["momentum"]


def orthogonalize_all(matrices: Sequence[torch.Tensor], dtype: torch.dtype, padding: float = 0) -> list[torch.Tensor]:
    """`orthogonalize` of matrices of any shapes, float32; those of one class in one batch.

    A class are the matrices of one shape, or its transpose, and smaller ones where filling them up with zeros costs at
    most `padding` operations. Zeros stay zeros, and change nothing else.
    """
    wide = [matrix if len(matrix) <= matrix.shape[1] else matrix.mT for matrix in matrices]
    classes = shape_classes([tuple(matrix.shape) for matrix in wide], padding)
    members = defaultdict(list)
    for position, matrix in enumerate(wide):
        members[classes[tuple(matrix.shape)]].append(position)
    results = list(matrices)
    for shape, positions in members.items():
        updates = orthogonalize(_stack([wide[position] for position in positions], shape), dtype)
        for position, update in zip(positions, updates, strict=True):
            rows, columns = wide[position].shape
            update = update[:rows, :columns]
            results[position] = update if wide[position] is matrices[position] else update.mT
    return results


def shape_classes(shapes: Sequence[Shape], padding: float) -> dict[Shape, Shape]:
    """The shape that each of the wide `shapes` is filled up to: its own, or that of a class that is there anyway."""
    classes: dict[Shape, Shape] = {}
    # From large to small, so that what is there may be what smaller ones fit in.
    for shape, count in sorted(Counter(shapes).items(), key=lambda item: item[0][0] * item[0][1], reverse=True):
        costs = {
            other: count * (_flop(other) - _flop(shape))
            for other in set(classes.values())
            if other[0] >= shape[0] and other[1] >= shape[1]
        }
        best = min(costs, key=lambda other: (costs[other], other), default=None)
        classes[shape] = shape if best is None or costs[best] > padding else best
    return classes


def _flop(shape: Shape) -> int:
    rows, columns = shape
    return _STEPS * (4 * rows**2 * columns + 2 * rows**3)


def _stack(matrices: Sequence[torch.Tensor], shape: Shape) -> torch.Tensor:
    if all(matrix.shape == shape for matrix in matrices):
        return torch.stack(matrices)
    stacked = matrices[0].new_zeros((len(matrices), *shape))
    for place, matrix in zip(stacked, matrices, strict=True):
        place[: matrix.shape[0], : matrix.shape[1]].copy_(matrix)
    return stacked


def orthogonalize(matrices: torch.Tensor, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """Matrices (N,R,C), float32, with their singular vectors, and singular values near 1 (0.7 to 1.2; less where they
    are a hundredth of the largest). `dtype`: of the products, float32 or bfloat16."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)).to(dtype)
    x = _orthogonal_by_gram(x) if dtype == torch.float32 else _orthogonal(x)
    return (x.mT if tall else x).float()


def _orthogonal(x: torch.Tensor) -> torch.Tensor:
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _orthogonal_by_gram(x: torch.Tensor) -> torch.Tensor:
    """`_orthogonal` by products of (R,R), for R rows: the steps change only x's Gram matrix, and what multiplies x.

    Half of the time for matrices of nine times as many columns. bfloat16 does not hold a Gram matrix, in which small
    singular values are squared.
    """
    a, b, c = _COEFFICIENTS
    gram, factor = torch.bmm(x, x.mT), None
    for left in reversed(range(_STEPS)):
        step = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        step.diagonal(dim1=1, dim2=2).add_(a)
        factor = step if factor is None else torch.bmm(step, factor)
        if left:
            gram = torch.bmm(torch.bmm(step, gram), step)
    return torch.bmm(factor, x)


def _is_hidden(parameter: torch.nn.Parameter) -> bool:
    # The detector's first convolution has six channels with `detector_background`, and counts as hidden: the packaged
    # network of several people was trained so.
    return parameter.ndim == 4 and parameter.shape[1] > 3


def _as_matrix(kernel: torch.Tensor) -> torch.Tensor:
    """A kernel (out,in,height,width) as a matrix (out,in*height*width), whose columns lie in the order of memory."""
    # The order of columns changes nothing: those of the orthogonal matrix change alike. So nothing is copied.
    return (kernel.permute(0, 2, 3, 1) if _is_channels_last(kernel) else kernel).flatten(1)


def _as_kernel(matrix: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """What `_as_matrix` made a matrix of, in the shape and the memory layout of `like`."""
    outputs, inputs, height, width = like.shape
    if _is_channels_last(like):
        return matrix.reshape(outputs, height, width, inputs).permute(0, 3, 1, 2)
    return matrix.reshape(like.shape)


def _is_channels_last(kernel: torch.Tensor) -> bool:
    return kernel.is_contiguous(memory_format=torch.channels_last) and not kernel.is_contiguous()
