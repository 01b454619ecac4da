"""Changes of some crops of a batch only, always of as many, as a CUDA graph needs."""

from collections.abc import Callable

import torch

from training.loop.distributed import rank, world_size


def some_crops(count: int, share: float, generator: torch.Generator) -> torch.Tensor:
    """Indices (N,) of `share` of this process's `count` crops, random ones; of one, at least."""
    # As many in each process. All have the same generator: each draws the order of all.
    orders = [torch.randperm(count, generator=generator) for _ in range(world_size())]
    return orders[rank()][: max(1, round(share * count))]


def change_some(change: Callable, pictures: torch.Tensor, chosen: torch.Tensor, *amounts: torch.Tensor) -> torch.Tensor:
    """`pictures` (B,C,R,R), those at `chosen` (N,) replaced by `change(pictures, *amounts)` of them."""
    return pictures.index_copy(0, chosen, change(pictures.index_select(0, chosen), *amounts))
