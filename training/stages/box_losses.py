"""Losses that tell without a label where people are, how many and how far: by what differs from the background, by how
little explains a frame, and by the rays of two calibrated cameras."""

from collections.abc import Mapping

import torch
from torch.nn import functional

from datasets import BOX_METRES
from models.scene.boxes import box_sizes
from models.scene.perspective import box_directions
from models.scene.rays import detector_depths, matched_depths, meet
from utils.geometry import at_least_float32

DEPTH_OUTPUTS = ("spatial_transformer", "similarity_matrix", "ST_depth", "shuffled_pose_inv")
DEPTH_KEYS = ("intrinsics", "camera_position")

_ROWS = 32  # to which silhouettes are reduced: a box needs no more
_SHRINK = 0.4  # what a box costs that is as high as the frame, where all of the foreground costs 1
_FEW = 2.0  # pixels of the map: foreground that is too little to be a person
_NOBODY = 1e-3  # of the frame: less than that is nobody, and more may grow to a person
_SURE = 0.3  # meters, and of the logarithm of sides: where losses turn from square to linear
_CLOSE = 0.5  # meters: nobody is closer to a camera


def cover_loss(boxes: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Mean share of the foreground that no box covers, and how high boxes are; no gradient but to the boxes.

    `boxes` (K,B,2,3); the foreground, `shown` (B,H,W), are the silhouettes of their frames (training/silhouettes.py).
    A box that is lost in a corner gets no gradient from what is composed; from this it does.
    """
    boxes = at_least_float32(boxes)
    foreground = _reduced(shown).to(boxes)
    rows, columns = foreground.shape[-2:]
    y, x = (torch.linspace(-1, 1, count, dtype=boxes.dtype, device=boxes.device) for count in (rows, columns))
    size, center = box_sizes(boxes)[..., None], boxes[..., 2][..., None]
    across, along = (x - center[..., 0, :]) / size[..., 0, :], (y - center[..., 1, :]) / size[..., 1, :]
    inside = torch.exp(-(across[..., None, :] ** 4 + along[..., :, None] ** 4))
    missed = (foreground * (1 - inside).prod(0)).sum((1, 2)) / (foreground.sum((1, 2)) + _FEW)
    return missed.mean() + _SHRINK * size[..., 1, :].mean()


def ray_losses(
    outputs: Mapping[str, torch.Tensor], inputs: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the rays through matched boxes of both views say where they meet, as two losses; 0 where none do.

    depth: how far predicted depths are from it. size: how far sides of boxes are from BOX_METRES there, by their
    logarithm. `outputs`: DEPTH_OUTPUTS of the network. `inputs`: its frames `img`, `R_cam_2_world` and DEPTH_KEYS. No
    gradient but to depths and sides: neither places of boxes nor matches are moved to make rays meet.
    """
    size = tuple(inputs["img"].shape[-2:])
    boxes, source = at_least_float32(outputs["spatial_transformer"]), outputs["shuffled_pose_inv"]
    intrinsics = inputs["intrinsics"].to(boxes)
    directions = box_directions(boxes.detach(), intrinsics, size)
    meetings = meet(directions, inputs["R_cam_2_world"].to(boxes), inputs["camera_position"].to(boxes), source)
    depths, known = matched_depths(meetings, outputs["similarity_matrix"].detach())
    focal_lengths = intrinsics[:, 1, 1] / (size[0] - 1)
    wanted = detector_depths(depths, focal_lengths)
    # Pixels are square, and so are boxes in them: one side is enough.
    sides = box_sizes(boxes)[..., 1] / focal_lengths * depths.clamp(min=_CLOSE)
    errors = (
        functional.smooth_l1_loss(at_least_float32(outputs["ST_depth"]), wanted, reduction="none", beta=_SURE),
        functional.smooth_l1_loss(torch.log(sides / BOX_METRES), torch.zeros_like(sides), reduction="none", beta=_SURE),
    )
    depth, side = (torch.where(known, error, 0.0).sum() / known.sum().clamp(min=1) for error in errors)
    return depth, side


def people_loss(radiance: torch.Tensor) -> torch.Tensor:
    """Mean over frames of the sum of the roots of how much of the frame each person fills, by radiance (K,B,1,H,W).

    A root costs two halves of a person more than one whole, and faint ghosts more than nobody. Without it, two boxes
    may share the only person of a frame.
    """
    return (at_least_float32(radiance).mean((2, 3, 4)) + _NOBODY).sqrt().sum(0).mean()


def _reduced(shown: torch.Tensor) -> torch.Tensor:
    """Silhouettes (B,H,W) as a small map (B,rows,columns)."""
    height, width = shown.shape[-2:]
    rows = min(_ROWS, height)
    size = (rows, max(1, round(width * rows / height)))
    return functional.adaptive_avg_pool2d(shown[:, None], size).squeeze(1)
