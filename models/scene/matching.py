"""Which box of one view shows the person in a box of another: their order says nothing."""

import torch
from torch.nn import functional

CHANNELS = 16  # of the appearance code, its first ones, that tell people apart; the others are free to vary


def similarities(appearance: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Cosines (K,K,B) of appearance codes (K,B,A): of target box t of view j and source box s of view `source[j]`."""
    codes = appearance[..., :CHANNELS]
    others = codes[:, source]
    norms = codes.norm(dim=-1)[:, None] * others.norm(dim=-1)[None]
    return (codes[:, None] * others[None]).sum(-1) / (1e-4 + norms)


def soft_matches(cosines: torch.Tensor, bandwidth: float) -> torch.Tensor:
    """Weights (K,K,B) of the source boxes, which sum to 1 over the second dimension: a softmax of `bandwidth` times."""
    return torch.softmax(bandwidth * cosines, dim=1)


def best_matches(cosines: torch.Tensor) -> torch.Tensor:
    """Weights (K,K,B): 1 for the most similar source, else 0. Several targets may take the same source."""
    return functional.one_hot(cosines.argmax(1), cosines.shape[1]).transpose(1, 2).to(cosines.dtype)


def no_matches(boxes: int, like: torch.Tensor) -> torch.Tensor:
    """Weights (K,K,B) that match every box with the one of the same number; B, type and device of `like` (B,...)."""
    return torch.eye(boxes, device=like.device, dtype=like.dtype)[:, :, None].expand(-1, -1, len(like))


def mix(crops: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Crops (K,B,...) of the source boxes -> the weighted sums (K,B,...) of the target boxes, by weights (K,K,B)."""
    return torch.einsum("tsb,sbchw->tbchw", weights, crops)
