"""A training step captured in one CUDA graph: the host fills its inputs and launches it."""

from collections.abc import Callable

import torch

from training.loop.distributed import world_size
from training.loop.hardware import Hardware
from utils.transfer import pinned_for

Tensors = dict[str, torch.Tensor]
Compute = Callable[[Tensors], Tensors]

# Real steps before the one that is captured: they compile, create the optimizer's state, and let libraries choose.
WARM_UP = 3
# Larger tensors of the host (crops) are copied alone. Packing those would copy them once more.
_PACKED_BYTES = 2**18


def make_step(compute: Compute, config: dict, hardware: Hardware) -> Compute:
    """`compute`, which trains on tensors of the device and returns its losses, as a function of tensors anywhere.

    It is captured in a CUDA graph on CUDA, for one process, unless `compile` in `config` is "never".
    """
    if hardware.device.type == "cuda" and world_size() == 1 and config["compile"] != "never":
        return CapturedStep(compute, hardware.device, capture_cuda_graph)
    return lambda inputs: compute(hardware.move(inputs))


def capture_cuda_graph(run: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Record what `run` launches on `device`, without computing it; return what computes it, again at each call."""
    graph = torch.cuda.CUDAGraph()
    # Threads that read batches ahead into pinned memory may go on meanwhile.
    with torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        run()
    return graph.replay


class CapturedStep:
    """`compute(inputs)` as one CUDA graph, after `WARM_UP` calls that compute as usual.

    It must be the same in every step but for the values of its inputs: tensors by name, of the same shapes each time.
    Nothing else from the host may enter it: a learning rate lies in a tensor. Dropout is a function of the seed that
    the process has at the call: CUDA's generator belongs to the graph, which starts at its seed and offset when it is
    replayed. The outputs are overwritten by the next call. Where nothing can be captured, it goes on as usual.
    `capture(run, device)`: as `capture_cuda_graph`.
    """

    def __init__(self, compute: Compute, device: torch.device, capture: Callable):
        self.compute, self.device, self.capture = compute, device, capture
        self.inputs: StaticTensors | None = None
        self.outputs: Tensors = {}
        self.launch: Callable[[], None] | None = None
        self.calls = 0
        # As torch asks for before a capture: the backward pass runs on the stream of its forward pass, and no graph is
        # captured on the default stream.
        self.aside = torch.cuda.Stream(device) if torch.cuda.is_available() else None

    def __call__(self, inputs: Tensors) -> Tensors:
        """Train on `inputs`, on the host or the device; return what `compute` does."""
        if self.inputs is None:
            self.inputs = StaticTensors(inputs, self.device)
        self.inputs.fill(inputs)
        if self.launch is None and self.calls == WARM_UP:
            self.launch = self._captured()
        self.calls += 1
        (self.launch or self._run_aside)()
        return self.outputs

    def _run(self) -> None:
        self.outputs = self.compute(self.inputs.tensors)

    def _run_aside(self) -> None:
        if self.aside is None:
            return self._run()
        current = torch.cuda.current_stream(self.device)
        self.aside.wait_stream(current)
        with torch.cuda.stream(self.aside):
            self._run()
        current.wait_stream(self.aside)

    def _captured(self) -> Callable[[], None]:
        try:
            return self.capture(self._run, self.device)
        except RuntimeError as error:
            # Nothing was computed, so that this step is still to be taken.
            print(f"no CUDA graph, which is slower: {str(error).strip().splitlines()[0]}")
            return self._run


class StaticTensors:
    """`tensors` by name that stay where they are on a device, and are filled without waiting for it.

    Small ones of the host are copied together, from one piece of pinned memory.
    """

    def __init__(self, example: Tensors, device: torch.device):
        small = [key for key, value in example.items() if value.device.type == "cpu" and value.nbytes <= _PACKED_BYTES]
        # Types with long elements first, so that each begins at a multiple of its length.
        self.packed = sorted(small, key=lambda key: -example[key].element_size())
        parts = [example[key] for key in self.packed]
        self.bytes = torch.empty(sum(part.nbytes for part in parts), dtype=torch.uint8, device=device)
        views = self.bytes.split([part.nbytes for part in parts])
        self.tensors = {
            key: view.view(part.dtype).view(part.shape)
            for key, part, view in zip(self.packed, parts, views, strict=True)
        }
        self.alone = [key for key in example if key not in small]
        self.tensors |= {key: torch.empty_like(example[key], device=device) for key in self.alone}

    def fill(self, values: Tensors) -> None:
        """Copy `values` in. Raises ValueError where they have other names, shapes or types than before."""
        kinds = [{key: (value.shape, value.dtype) for key, value in some.items()} for some in (values, self.tensors)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"a captured step got tensors {kinds[0]}; expected {kinds[1]}, as before")
        if self.packed:
            together = torch.cat([values[key].reshape(-1).view(torch.uint8) for key in self.packed])
            self._copy(self.bytes, together)
        for key in self.alone:
            self._copy(self.tensors[key], values[key])

    def _copy(self, place: torch.Tensor, values: torch.Tensor) -> None:
        place.copy_(pinned_for(place.device, values), non_blocking=True)
