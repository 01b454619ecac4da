"""Changes of some crops of a batch only, always of as many, as a CUDA graph needs."""

from collections.abc import Callable

import torch


def some_crops(count: int, share: float, generator: torch.Generator) -> torch.Tensor:
    """Indices (N,) of `share` of `count` crops, random ones; of one, at least."""
    return torch.randperm(count, generator=generator)[: max(1, round(share * count))]


def change_some(change: Callable, pictures: torch.Tensor, chosen: torch.Tensor, *amounts: torch.Tensor) -> torch.Tensor:
    """`pictures` (B,C,R,R), those at `chosen` (N,) replaced by `change(pictures, *amounts)` of them."""
    return pictures.index_copy(0, chosen, change(pictures.index_select(0, chosen), *amounts))
