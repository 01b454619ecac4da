"""Which box of a network shows which labeled person of a frame: one box a person, one person a box."""

import numpy as np
import torch

from models.scene.boxes import left_to_right
from training.loop.loaders import Batch
from training.scene_metrics import boxes_in_pixels


def person_centers(batch: Batch) -> torch.Tensor | None:
    """Where the people of a batch of frames are, (B,P,2) pixels, NaN for nobody; None where the labels do not tell.

    The centers of their boxes (`box`), or else their roots (`position`), projected by `intrinsics`.
    """
    if "box" in batch:
        return batch["box"][..., :2] + (batch["box"][..., 2:] - 1) / 2
    if "position" in batch:
        projected = batch["position"] @ batch["intrinsics"].mT
        depth = projected[..., 2:]
        # Behind the camera is nobody whom it shows.
        return projected[..., :2] / depth.masked_fill(depth <= 0, torch.nan)
    return None


def assign_boxes(
    boxes: torch.Tensor, centers: torch.Tensor | None, size: tuple[int, int], people: int, inside: bool = True
) -> torch.Tensor:
    """The box (B,P) of each person, or -1: the sum of the distances of centers is the smallest possible.

    `boxes` (K,B,2,3), `centers` (B,P,2) of `people` in pixels of frames of `size` (H,W). `inside`: a person whose
    center is not in the box has none. Without `centers`, as published, people are labeled from left to right.
    """
    if centers is None:
        order = left_to_right(boxes).T[:, :people]
        return torch.nn.functional.pad(order, (0, people - order.shape[1]), value=-1)
    from scipy.optimize import linear_sum_assignment

    places = boxes_in_pixels(boxes.detach(), size).double().cpu()
    half = (places[..., 2:] - 1) / 2
    offsets = centers.double().cpu()[:, :, None] - (places[..., :2] + half)[:, None]
    distances, known = offsets.norm(dim=-1), torch.isfinite(centers).all(-1).cpu()
    fits = (offsets.abs() <= half[:, None]).all(-1) | (not inside)
    chosen = np.full(known.shape, -1)
    for frame, present in enumerate(known.numpy()):
        there = np.flatnonzero(present)
        first, second = linear_sum_assignment(distances[frame, there].numpy())
        kept = fits[frame, there][first, second].numpy()
        chosen[frame, there[first[kept]]] = second[kept]
    return torch.from_numpy(chosen).to(boxes.device)


def of_people(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """What boxes (K,B,...) have, as people (B,P,...) have it who have the `chosen` (B,P) boxes; any, for -1."""
    frames = torch.arange(values.shape[1], device=values.device)[:, None]
    return values[chosen.clamp(min=0), frames]
