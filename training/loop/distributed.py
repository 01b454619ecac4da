"""Several processes that train one network, as torchrun starts them: shares of a batch, means over all of them.

    torchrun --nproc_per_node=4 configs/train_encodeDecode.py ...

Every process takes its share of each batch, whole groups, and gradients are averaged (DistributedDataParallel): with
losses that are means over crops, that is one step on the joined batch. Random choices are drawn for the joined batch
by every process alike. Of a process's own share are the batch statistics of batch norm in training, as is usual (its
running statistics are those of rank 0), averages of boxes (`box_prior`, means over known ones), and which crops get
what only some get, or what is another crop's. Alone, nothing here changes anything.
"""

import gc
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

import torch

from training.loop.hardware import pick_device
from utils.errors import UserError
from utils.readers import whole_number

_VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the processes that torchrun started, by nccl on CUDA and by gloo elsewhere; each takes a GPU of its own.

    Raises UserError for an incomplete environment, for a `device` with a number, and for too few GPUs.
    """
    if _alone():
        yield
        return
    missing = [name for name in _VARIABLES if name not in os.environ]
    if missing:
        raise UserError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set; "
            "start several processes by torchrun, or unset WORLD_SIZE"
        )
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        if whole_number(os.environ[name]) is None:
            raise UserError(f"{name} is {os.environ[name]!r}; expected a whole number, as torchrun sets it")
    kind = pick_device(device)
    if kind.index is not None:
        raise UserError(f"device is {device!r}; expected auto, cuda or cpu: each process takes a GPU of its own")
    if kind.type == "cuda" and int(os.environ["LOCAL_RANK"]) >= torch.cuda.device_count():
        raise UserError(f"there are {torch.cuda.device_count()} GPUs; expected one for each process of this machine")
    # A process that waits for the others runs no handler of Python's, and torchrun stops processes by SIGTERM.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _idist().initialize("nccl" if kind.type == "cuda" else "gloo")
    try:
        yield
    finally:
        # A DistributedDataParallel that is garbage in a reference cycle keeps the group's threads alive. One that
        # returns from its last transfer only when the interpreter has ended would abort the process.
        gc.collect()
        _idist().finalize()


def is_main() -> bool:
    """Whether this process is the one that writes, prints and draws bars; also before it has joined the others."""
    # RANK alone says nothing: a batch system may set it for a process that trains alone.
    return _alone() or os.environ.get("RANK") == "0"


def world_size() -> int:
    """How many processes train together; 1 before they have joined."""
    return 1 if _alone() else _idist().get_world_size()


def rank() -> int:
    """Which of them this one is; 0 before they have joined."""
    return 0 if _alone() else _idist().get_rank()


def _alone() -> bool:
    return os.environ.get("WORLD_SIZE", "1") == "1"


def _idist() -> ModuleType:
    # Imported where there are several processes: torch.distributed, which it brings, is a second of a start.
    import ignite.distributed

    return ignite.distributed


def average_gradients(module: torch.nn.Module, some_unused: bool = False) -> torch.nn.Module:
    """`module`, for use in training: its gradients become means over all processes.

    `some_unused`: a step may leave out parameters that require gradients. Weights and buffers become those of rank 0.
    """
    if world_size() == 1:
        return module
    return _idist().auto_model(module, find_unused_parameters=some_unused)


def draw_shard(draw: Callable[..., torch.Tensor], count: int, *shape: int, generator: torch.Generator) -> torch.Tensor:
    """This process's share (count,*shape) of random numbers for the joined batch; `draw`: torch.rand or torch.randn.

    All processes have the same generator. Each draws all numbers, so that together they use those of one process.
    """
    return local_shard(draw(count * world_size(), *shape, generator=generator))


def local_shard(drawn: torch.Tensor) -> torch.Tensor:
    """This process's share of what was drawn for the joined batch (B,...)."""
    return drawn.chunk(world_size())[rank()]


def local_items(items: list) -> list:
    """This process's share of a list, which all processes have: every world_size-th item."""
    return items[rank() :: world_size()]


def gather(values: torch.Tensor) -> torch.Tensor:
    """`values` (N,...) of all processes, which have the same N, joined in the order of their ranks."""
    if world_size() == 1:
        return values
    return _idist().all_gather(values)


def mean_over_processes(means: Mapping[str, float], count: int = 1) -> dict[str, float]:
    """Means over `count` things of this process (none: an empty dictionary) -> means over those of all processes."""
    if world_size() == 1:
        return dict(means)
    # A process without any items does not know the names, and takes them from one that has some.
    names = max(_idist().all_gather(",".join(means)), key=len).split(",")
    sums = [count * float(means.get(name, 0.0)) for name in names]
    total = _idist().all_reduce(torch.tensor([*sums, count], dtype=torch.float64, device=_idist().device())).tolist()
    return {name: value / total[-1] for name, value in zip(names, total[:-1], strict=True)}


def sync_buffers(module: torch.nn.Module) -> None:
    """Copy the running statistics of rank 0 to all processes, so that all test the network that is saved."""
    if world_size() > 1:
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, src=0)
