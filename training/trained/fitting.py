"""Fitting a head for trust (models/parts/trust.py) to pictures whose errors are known."""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from models.parts.trust import SCALARS, TrustHead

COMPONENTS, HIDDEN, STEPS, DECAY, KNOTS = 16, 24, 400, 1.0, 12
CLEAN, DISTURBED = "clean", "disturbed"
SHARES = {CLEAN: 0.4, DISTURBED: 0.3}  # of the pictures that a user has; the others show no whole person
LOST = 2.0  # without a person, a pose counts as so many times worse than the mean pose is for people
FLAGGED = 0.02  # of clean held-out crops


class Samples(NamedTuple):
    """What a head is fitted to: a row per picture."""

    latents: torch.Tensor  # (N,K,D)
    poses: torch.Tensor  # (N,K,51)
    error: torch.Tensor  # (N,) N-MPJPE in mm; without a person, from the pose of the crop that it was made of
    correct: torch.Tensor  # (N,) fraction of joints that are found; 0 without a person
    lost: float  # N-MPJPE of the mean pose, mm
    kind: np.ndarray  # (N,) strings
    fold: np.ndarray  # (N,) numbers of parts that share hardly any sequence

    @property
    def weight(self) -> torch.Tensor:
        """Weight of each picture (N,), so that kinds have their SHARES; their sum is 1."""
        rest = 1 - sum(SHARES.values())
        kinds, inverse, counts = np.unique(self.kind, return_inverse=True, return_counts=True)
        others = len(kinds) - len(SHARES)
        shares = np.array([SHARES[kind] if kind in SHARES else rest / others for kind in kinds])
        return torch.from_numpy((shares / counts / shares.sum())[inverse]).float()


def latent_statistics(latents: torch.Tensor) -> dict[str, torch.Tensor]:
    """Principal components of the latents (N,D) of crops that were trained on, each latent standardized."""
    mean, std = latents.mean(0), latents.std(0).clamp_min(1e-6)
    standard = (latents - mean) / std
    values, vectors = torch.linalg.eigh(torch.cov(standard.T).double())
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    count = min(COMPONENTS, len(values) - 1, len(latents) - 1)
    return {
        "latent_mean": mean,
        "latent_std": std,
        "components": vectors[:, :count].float(),
        "component_std": values[:count].sqrt().clamp_min(1e-6).float(),
        "residual_std": values[count:].sum().sqrt().clamp_min(1e-6).float(),
    }


def fit_head(statistics: dict[str, torch.Tensor], samples: Samples) -> tuple[TrustHead, torch.Tensor]:
    """A head on `statistics` (`copies` and those of latents), and scores (N,), each by one that saw the other folds."""
    features = _features(statistics, samples)
    target = samples.error.clamp_min(1).log()
    person = torch.from_numpy(np.isin(samples.kind, tuple(SHARES)))
    target = torch.where(person, target, np.log(LOST * samples.lost))
    weight, scores = samples.weight, torch.empty(len(target))
    for fold in np.unique(samples.fold):
        seen, other = torch.from_numpy(samples.fold != fold), torch.from_numpy(samples.fold == fold)
        perceptron = fit_perceptron(features[seen], target[seen], weight[seen])
        scores[other] = _head(statistics, perceptron).score(features[other])
    knots = fit_knots(scores, samples.correct, samples.error, weight)
    clean = torch.from_numpy(samples.kind == CLEAN)
    limit = {"score_limit": scores[clean].quantile(1 - FLAGGED)}
    head = TrustHead({**statistics, **fit_perceptron(features, target, weight), **knots, **limit})
    return head, scores


def fit_perceptron(features: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Least squares of the score, a mean over copies, for features (N,K,F) and targets (N,), with weights (N,)."""
    flat = features.flatten(0, 1)
    mean, std = flat.mean(0), flat.std(0).clamp_min(1e-3)
    inputs, weight = (features - mean) / std, weight / weight.sum()
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(flat.shape[1], HIDDEN, generator=generator) / flat.shape[1] ** 0.5
    output = torch.randn(HIDDEN, generator=generator) / HIDDEN**0.5
    layers = [hidden, torch.zeros(HIDDEN), 0.1 * output, (weight * target).sum()]
    layers = [layer.requires_grad_() for layer in layers]
    decayed, others = {"params": layers[::2], "weight_decay": DECAY}, {"params": layers[1::2], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([decayed, others], lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        score = ((inputs @ layers[0] + layers[1]).tanh() @ layers[2] + layers[3]).mean(1)
        # Errors of poses have outliers at both ends, which must not decide the rest.
        loss = (weight * functional.smooth_l1_loss(score, target, reduction="none", beta=0.5)).sum()
        loss.backward()
        optimizer.step()
        schedule.step()
    names = ("hidden_weight", "hidden_bias", "output_weight", "output_bias")
    fitted = {name: layer.detach() for name, layer in zip(names, layers, strict=True)}
    return {"feature_mean": mean, "feature_std": std, **fitted}


def fit_knots(
    scores: torch.Tensor, correct: torch.Tensor, error: torch.Tensor, weight: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Monotone maps of scores (N,): the mean of `correct` falls, that of `error` rises from knot to knot."""
    order = scores.argsort()
    # Bins of equal weight, not of equal width, so that each mean is worth the same.
    bins = (weight[order].cumsum(0) / weight.sum() * KNOTS).long().clamp(0, KNOTS - 1)
    bins = torch.empty_like(bins).scatter(0, order, bins)
    masses = torch.zeros(KNOTS).index_add(0, bins, weight)
    filled = masses > 0

    def means(values: torch.Tensor) -> torch.Tensor:
        return (torch.zeros(KNOTS).index_add(0, bins, weight * values) / masses)[filled]

    knots, masses = means(scores), masses[filled]
    return {
        "score_knots": knots,
        "trust_knots": -isotonic(-means(correct), masses),
        "error_knots": isotonic(means(error), masses),
    }


def isotonic(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The nearest non-decreasing values (N,) by weighted least squares (pool adjacent violators)."""
    pools: list[list[float]] = []  # value, weight, count
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pools.append([value, weight, 1])
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            value, weight, count = pools.pop()
            before = pools[-1]
            total = before[1] + weight
            pools[-1] = [(before[0] * before[1] + value * weight) / total, total, before[2] + count]
    return torch.cat([torch.full((count,), value) for value, _, count in pools])


def _features(statistics: dict[str, torch.Tensor], samples: Samples) -> torch.Tensor:
    count = statistics["components"].shape[1] + SCALARS
    blank = {"feature_mean": torch.zeros(count), "feature_std": torch.ones(count)}
    blank |= {"hidden_weight": torch.zeros(count, 1), "hidden_bias": torch.zeros(1), "output_weight": torch.zeros(1)}
    return _head(statistics, {**blank, "output_bias": torch.zeros(())}).features(samples.latents, samples.poses)


def _head(statistics: dict[str, torch.Tensor], perceptron: dict[str, torch.Tensor]) -> TrustHead:
    """A head that has scores, but no map of them yet."""
    flat = {name: torch.zeros(2) for name in ("score_knots", "trust_knots", "error_knots")}
    return TrustHead({**statistics, **perceptron, **flat, "score_limit": torch.zeros(())})
