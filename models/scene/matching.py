"""Which box of one view shows the person in a box of another: their order says nothing."""

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.parts.options import option
from utils.errors import UserError
from utils.geometry import at_least_float32

CHANNELS = 16  # of the appearance code, its first ones, that tell people apart; the others are free to vary
MOST_BOXES = 6  # that are matched one to one: all their 720 orders are compared


class Matcher(nn.Module):
    """Matches boxes by what their appearance codes have in common, as the keys of matching in a config say.

    In training matches are soft, weights that gradients flow through; in evaluation they are decided.
    """

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        self.boxes = option(config, "spatial_transformer_num")
        # One box has nothing to be matched with.
        self.compares = option(config, "match_crops") and self.boxes > 1
        self.bandwidth, self.one_to_one = option(config, "similarity_bandwidth"), option(config, "match_one_to_one")
        if self.compares and not option(config, "latent_fg"):
            raise UserError("config: latent_fg = 0, expected at least 1 with match_crops, which compares appearances")
        if self.one_to_one and self.boxes > MOST_BOXES:
            raise UserError(
                f"config: spatial_transformer_num = {self.boxes}, expected at most {MOST_BOXES} with match_one_to_one"
            )
        if self.one_to_one:
            self.register_buffer("permutations", permutation_matrices(self.boxes), persistent=False)

    @property
    def soft(self) -> bool:
        """Whether a box may get something of several boxes."""
        return self.training and self.compares

    def forward(self, appearance: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Appearance (K,B,A) of all views, and the source `source[j]` (B,) of view j -> weights (K,K,B)."""
        if not self.compares:
            return no_matches(self.boxes, like=at_least_float32(appearance[0]))
        cosines = similarities(at_least_float32(appearance), source)
        if self.one_to_one:
            if self.soft:
                return soft_assignments(cosines, self.permutations, self.bandwidth)
            return best_assignments(cosines, self.permutations)
        return soft_matches(cosines, self.bandwidth) if self.soft else best_matches(cosines)


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


def permutation_matrices(boxes: int) -> torch.Tensor:
    """All K! permutations (P,K,K) of the sources of K boxes."""
    return functional.one_hot(torch.tensor(list(itertools.permutations(range(boxes)))), boxes).float()


def soft_assignments(cosines: torch.Tensor, permutations: torch.Tensor, bandwidth: float) -> torch.Tensor:
    """Weights (K,K,B) that sum to 1 over sources, and over targets: the mean of `permutations` (P,K,K), weighted by
    a softmax of `bandwidth` times their sums of cosines."""
    totals = torch.einsum("pts,tsb->pb", permutations.to(cosines), cosines)
    return torch.einsum("pts,pb->tsb", permutations.to(cosines), torch.softmax(bandwidth * totals, dim=0))


def best_assignments(cosines: torch.Tensor, permutations: torch.Tensor) -> torch.Tensor:
    """Weights (K,K,B): that of the `permutations` (P,K,K) of sources which is most similar in all."""
    permutations = permutations.to(cosines)
    return permutations[torch.einsum("pts,tsb->pb", permutations, cosines).argmax(0)].movedim(0, 2)


def no_matches(boxes: int, like: torch.Tensor) -> torch.Tensor:
    """Weights (K,K,B) that match every box with the one of the same number; B, type and device of `like` (B,...)."""
    return torch.eye(boxes, device=like.device, dtype=like.dtype)[:, :, None].expand(-1, -1, len(like))


def mix(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Values (K,B,...) of the source boxes -> the weighted sums (K,B,...) of the target boxes, by weights (K,K,B)."""
    return _weighted("tsb,sb...->tb...", weights, values)


def mix_pairs(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Values (K,K,B,...) by target and source box -> their weighted sums (K,B,...) over the sources."""
    return _weighted("tsb,tsb...->tb...", weights, values)


def _weighted(sums: str, weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    # In 16 bits the matrix products of autocast would shift colors and points visibly.
    with torch.autocast(values.device.type, enabled=False):
        values = at_least_float32(values)
        return torch.einsum(sums, weights.to(values), values)
