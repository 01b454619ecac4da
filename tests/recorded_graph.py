"""What a CUDA graph does, emulated on a CPU: the operations of one run, repeated on the same tensors."""

from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# What asks a tensor for numbers. They would be those of the recorded step ever after.
ASKS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique")


def record(run: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """As `capture_cuda_graph`. As recording computes, unlike that of a GPU, the first replay does nothing."""
    with _Recorder() as recorder:
        run()
    recorded = iter([lambda: None])
    return lambda: next(recorded, recorder.repeat)()


class _Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name, kwargs = str(function).removeprefix("aten."), kwargs or {}
        if name.startswith(ASKS):
            raise RuntimeError(f"{name} is not permitted while a graph is captured")
        before = {_address(value) for value in _tensors((args, kwargs))}
        result = function(*args, **kwargs)
        # Those that share the memory of an argument are views of it, or the argument itself.
        new = [_address(value) not in before for value in _tensors(result)]
        self.operations.append((function, args, kwargs, result, new))
        return result

    @torch.no_grad()
    def repeat(self) -> None:
        for function, args, kwargs, result, new in self.operations:
            if any(new):
                again = _tensors(function(*args, **kwargs))
                for value, place, is_new in zip(again, _tensors(result), new, strict=True):
                    if is_new:
                        place.copy_(value)
            elif function._schema.is_mutable:
                function(*args, **kwargs)


def _tensors(values: object) -> list[torch.Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
