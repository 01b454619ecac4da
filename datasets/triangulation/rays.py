"""Points where the rays of several cameras meet, in spite of cameras that are wrong about some of them."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from datasets.cameras.camera import Camera

AGREEMENT = 0.06  # meters between a ray and a point, above which a camera contributes little


def world_rays(cameras: Sequence[Camera], places: np.ndarray) -> np.ndarray:
    """Unit rays (C,...,3) in the world through normalized coordinates (C,...,2); zero where these are NaN."""
    rays = np.concatenate([places, np.ones((*places.shape[:-1], 1))], axis=-1)
    rays = np.stack([ray @ camera.rotation for camera, ray in zip(cameras, rays, strict=True)])
    return np.nan_to_num(rays / np.linalg.norm(rays, axis=-1, keepdims=True))


def meeting_points(centers: np.ndarray, rays: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Points (...,3) nearest to C rays from `centers` (C,3) along unit `rays` (C,...,3), with weights (C,...)."""
    across = np.eye(3) - rays[..., :, None] * rays[..., None, :]
    across = across * weights[..., None, None]
    centers = centers.reshape(len(centers), *([1] * (rays.ndim - 2)), 3)
    right = np.einsum("c...ij,c...j->...i", across, np.broadcast_to(centers, rays.shape))
    return np.linalg.solve(across.sum(0) + 1e-9 * np.eye(3), right[..., None])[..., 0]


def ray_misses(centers: np.ndarray, rays: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distances (C,...) of points (...,3) from C rays, meters."""
    centers = centers.reshape(len(centers), *([1] * (rays.ndim - 2)), 3)
    offsets = points - centers
    along = (offsets * rays).sum(-1, keepdims=True)
    # A point behind the camera is as far as the camera.
    return np.linalg.norm(offsets - np.maximum(along, 0) * rays, axis=-1)


def robust_points(centers: np.ndarray, rays: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (...,3) on which most of C rays (C,...,3) agree, and costs (...), which are small where all do.

    weights: (C,...) confidence in 0..1; 0 for a camera without the point. Every pair of cameras proposes a point; the
    best one is refined with all cameras, those that disagree having little weight.
    """
    best = np.zeros(rays.shape[1:])
    costs = np.full(rays.shape[1:-1], np.inf)
    for pair in combinations(range(len(rays)), 2):
        chosen = np.zeros_like(weights)
        chosen[list(pair)] = weights[list(pair)]
        points = meeting_points(centers, rays, chosen)
        cost = _cost(ray_misses(centers, rays, points), weights)
        # One camera alone gives no point.
        cost = np.where((chosen[list(pair)] > 0).all(0), cost, np.inf)
        better = cost < costs
        best[better], costs[better] = points[better], cost[better]
    for _ in range(10):
        miss = ray_misses(centers, rays, best) / AGREEMENT
        best = meeting_points(centers, rays, weights / (1 + miss**2) ** 2 + 1e-9)
    return best, np.where(np.isfinite(costs), _cost(ray_misses(centers, rays, best), weights), np.inf)


def _cost(misses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    squares = (misses / AGREEMENT) ** 2
    return (weights * squares / (1 + squares)).sum(0)
