"""How far to trust a pose: a small head on the latents of a crop and of changed copies of it.

A pose decoder gives a plausible pose for every picture, noise included. Four things tell whether it means anything:
whether the crop's mirror image and slightly moved copies give the same pose, whether its latents lie where those of
the training crops lie (distances inside and outside of their principal subspace, as in probabilistic PCA), how long its
bones are, and what a small perceptron learned of the errors of held-out crops and of pictures without a person.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from utils.errors import UserError
from utils.skeleton import BONES, NUM_JOINTS

PREFIX = "trust."  # of its tensors in a file of weights
SCALARS = 5  # features of a copy besides the principal components
POINT_LIMIT = 4.0  # standard deviations, beyond which a principal component only counts as distance
# Tensors of the head, and their dimensions: D latents, C components, F features, H hidden units, K copies, M knots.
_SHAPES = {
    "copies": "K4",  # shift right and down (of the side), scale, 1 if mirrored; the first is the crop itself
    "latent_mean": "D",
    "latent_std": "D",
    "components": "DC",
    "component_std": "C",
    "residual_std": "",
    "feature_mean": "F",
    "feature_std": "F",
    "hidden_weight": "FH",
    "hidden_bias": "H",
    "output_weight": "H",
    "output_bias": "",
    "score_knots": "M",  # increasing
    "trust_knots": "M",
    "error_knots": "M",  # mm
    "score_limit": "",
}


class Judgment(NamedTuple):
    """Of each pose: `trust` in 0..1, `expected_error` in mm, and whether it is `flagged`; all of shape (B,)."""

    trust: torch.Tensor
    expected_error: torch.Tensor
    flagged: torch.Tensor


class TrustHead(nn.Module):
    """Judges poses by the latents and poses of a crop and of its copies. All tensors are buffers: nothing trains them.

    `trust` is the expected fraction of joints within 150 mm of the truth (3DPCK, after the best scale; 0 where there is
    no person), `expected_error` the expected N-MPJPE. Both are monotone functions of one score, fitted to held-out
    crops, clean and disturbed. `flagged`: the score is beyond that of nearly all clean held-out crops.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]):
        super().__init__()
        sizes: dict[str, int] = {"4": 4}
        for name, dimensions in _SHAPES.items():
            tensor = tensors.get(name)
            if tensor is None or tensor.dim() != len(dimensions):
                found = "missing" if tensor is None else f"of shape {tuple(tensor.shape)}"
                raise UserError(f"{PREFIX}{name} is {found}; expected {len(dimensions)} dimensions")
            for dimension, size in zip(dimensions, tensor.shape, strict=True):
                if sizes.setdefault(dimension, size) != size:
                    raise UserError(f"{PREFIX}{name} has shape {tuple(tensor.shape)}; expected {sizes[dimension]}")
            self.register_buffer(name, tensor.detach().float())
        # Heads of before know all features but the last one.
        if sizes["F"] - sizes["C"] not in (SCALARS - 1, SCALARS):
            expected = f"{sizes['C'] + SCALARS}, {SCALARS} more than components"
            raise UserError(f"{PREFIX}feature_mean has {sizes['F']} features; expected {expected}")
        if unknown := set(tensors) - set(_SHAPES):
            raise UserError(f"{PREFIX}{min(unknown)} is unknown; expected {', '.join(_SHAPES)}")

    def forward(self, latents: torch.Tensor, poses: torch.Tensor) -> Judgment:
        """latents (B,K,D), poses (B,K,51) in meters of K copies, mirrored and scaled back -> judgments of B poses."""
        # It was fitted in float32, whatever the precision of the network is.
        with torch.autocast(latents.device.type, enabled=False):
            score = self.score(self.features(latents, poses))
            return Judgment(
                interpolate(score, self.score_knots, self.trust_knots),
                interpolate(score, self.score_knots, self.error_knots),
                score > self.score_limit,
            )

    def features(self, latents: torch.Tensor, poses: torch.Tensor) -> torch.Tensor:
        """What the perceptron sees of each copy (B,K,F)."""
        standard = (latents.float() - self.latent_mean) / self.latent_std
        coordinates = standard @ self.components
        outside = (standard.square().sum(-1) - coordinates.square().sum(-1)).clamp_min(0)
        whitened = coordinates / self.component_std
        distances = [_log(whitened.square().mean(-1)), _log(outside.mean(1, keepdim=True) / self.residual_std**2)]
        shared = [_log(value).unsqueeze(1) for value in disagreements(poses.float(), self.copies[:, 3])]
        scalars = [
            value.expand(latents.shape[:2]) for value in (*distances, *shared, _log(length_of_bones(poses.float())))
        ]
        features = torch.cat([whitened.clamp(-POINT_LIMIT, POINT_LIMIT), torch.stack(scalars, -1)], dim=-1)
        return features[..., : len(self.feature_mean)]

    def score(self, features: torch.Tensor) -> torch.Tensor:
        """Features (B,K,F) -> the logarithm of the expected error (B,), the mean over copies."""
        hidden = ((features - self.feature_mean) / self.feature_std) @ self.hidden_weight + self.hidden_bias
        return (hidden.tanh() @ self.output_weight + self.output_bias).mean(1)


def disagreements(poses: torch.Tensor, mirrored: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """poses (B,K,51), mirrored (K,) -> distances (B,): of the first two, and of the rest from the one like themselves.

    The second copy is the plain mirror image. Each further copy is compared with the first or with the second pose.
    """
    plain = (poses[:, 0] - poses[:, 1]).square().mean(1).sqrt()
    reference = torch.where(mirrored[2:, None] > 0, poses[:, 1:2], poses[:, :1])
    moved = (poses[:, 2:] - reference).square().mean((1, 2)).sqrt() if poses.shape[1] > 2 else torch.zeros_like(plain)
    return plain, moved


def length_of_bones(poses: torch.Tensor) -> torch.Tensor:
    """Sum of the lengths of all bones (...) of poses (...,51), meters.

    Where a least-squares decoder does not know the direction of a limb it gives the mean of those possible, which is
    shorter: long skeletons are sure ones.
    """
    joints = poses.unflatten(-1, (NUM_JOINTS, 3))
    first, second = torch.tensor(BONES, device=poses.device).T
    return (joints[..., first, :] - joints[..., second, :]).norm(dim=-1).sum(-1)


def interpolate(x: torch.Tensor, knots: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Linear between `knots` (M,), increasing, and constant beyond them."""
    right = torch.searchsorted(knots, x.contiguous()).clamp(1, len(knots) - 1)
    share = ((x - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)
    return torch.lerp(values[right - 1], values[right], share)


def _log(value: torch.Tensor) -> torch.Tensor:
    # The least value matters for pictures without any contrast, whose copies agree exactly.
    return value.clamp_min(1e-6).log()
