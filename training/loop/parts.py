"""A batch in parts, which the threads of a CPU compute side by side.

Threads that share each operation wait for one another hundreds of times in a step (threads.py); those that compute a
part each, once.
"""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import torch

Tensors = dict[str, torch.Tensor]


class PartsOfBatch:
    """Losses and gradients of a batch, each of its parts by a thread of its own (with as many threads as torch has).

    `compare(inputs)` gives losses by name, means over crops, one of them "loss"; `context()` is that of its forward
    pass. The losses and gradients are the means over the parts: those of the whole batch, but that batch norm sees
    a part at a time. Its running statistics are those of the first part.
    """

    def __init__(self, compare: torch.nn.Module, parts: int, context: Callable):
        self.compare, self.parts, self.context = compare, parts, context
        self.copies: list[torch.nn.Module] = []
        self.pool: ThreadPoolExecutor | None = None

    def __call__(self, inputs: Tensors) -> Tensors:
        """The losses of `inputs`, whose tensors all have the batch as first dimension, and gradients of `compare`."""
        if self.pool is None:
            self._start()
        parts = split(inputs, self.parts)
        others = [self.pool.submit(self._backward, *pair) for pair in zip(self.copies, parts[1:], strict=True)]
        try:
            losses = [self._backward(self.compare, parts[0])]
        finally:
            wait(others)
        losses += [other.result() for other in others]
        self._add_gradients()
        return {name: torch.stack([part[name] for part in losses]).mean() for name in losses[0]}

    def _start(self) -> None:
        # At the first step, when the weights of a resumed run are loaded: tensors are shared from then on.
        self.copies = [_sharing_weights(self.compare) for _ in range(self.parts - 1)]
        # A thread would take the number of threads that any other one has set last.
        threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(self.parts - 1, "part", initializer=torch.set_num_threads, initargs=(threads,))

    def _backward(self, compare: torch.nn.Module, inputs: Tensors) -> Tensors:
        with self.context():
            losses = compare(inputs)
        (losses["loss"] / self.parts).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def _add_gradients(self) -> None:
        # In the order of the parts, whichever ends first: the same sums in every run.
        for other in self.copies:
            pairs = zip(self.compare.parameters(), other.parameters(), strict=True)
            sums = [(mine, part.grad) for mine, part in pairs if part.grad is not None]
            torch._foreach_add_([mine.grad for mine, _ in sums], [gradient for _, gradient in sums])
            other.zero_grad(set_to_none=True)


def split(inputs: Tensors, parts: int) -> list[Tensors]:
    """`inputs`, tensors (B,...), in `parts` of one size. Positions in the batch become positions in the part.

    What has another length was drawn to change the crops, which has been done: it is left out.
    """
    count = len(next(iter(inputs.values())))
    chunks = {name: values.chunk(parts) for name, values in inputs.items() if len(values) == count}
    shares = [{name: of_parts[part] for name, of_parts in chunks.items()} for part in range(parts)]
    for share in shares:
        share |= {name: share[name] % (count // parts) for name in ("shuffled_pose", "shuffled_appearance")}
    return shares


def _sharing_weights(module: torch.nn.Module) -> torch.nn.Module:
    """A copy with the same weights and gradients of its own; what changes in a forward pass is its own, too."""
    other = copy.deepcopy(module)
    for mine, its in zip(module.parameters(), other.parameters(), strict=True):
        its.data = mine.data
    return other
