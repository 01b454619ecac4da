"""Target views cropped anew around what they show, so that a network need not guess how far off their boxes are."""

import torch

from models import EncodeDecode
from training.loop.loaders import Batch
from training.silhouettes import silhouettes
from training.stages.augmentation.geometry import place_by, warp

_TAIL = 0.02  # of the silhouette that lies outside on either side: specks, shadows, fingertips
_MARGIN = 1.25  # side of the new crop, in sides of what lies inside
_SIDES = 0.25, 1.5  # of the old crop's side: how small and how large the new one may be
_NOBODY = 0.002  # of the crop: less than that is nobody


def targets_of(network: EncodeDecode, inputs: Batch) -> Batch:
    """The network's input (normalized crops) with the `img_crop` and `bg_crop` that its views are to be compared with.

    Where it renders views and has `center_targets`, they are `centered`, and what is encoded is in `input_crop`.
    """
    # Without views, backgrounds are not read.
    return centered(inputs) if network.center_targets and "img_crop" in network.output_types else inputs


def centered(inputs: Batch) -> Batch:
    """`inputs` with `img_crop` and `bg_crop` (B,3,R,R), normalized, cropped anew around where the two differ.

    `input_crop` is what was to be encoded before, and stays. Crops that are like their backgrounds stay, too.
    """
    picture, background = inputs["img_crop"], inputs["bg_crop"]
    placements = placements_around(silhouettes(picture, background))
    moved = warp(torch.cat([picture, background], dim=1), placements)
    picture, background = moved.split(3, dim=1)
    return {"input_crop": inputs["img_crop"], **inputs, "img_crop": picture, "bg_crop": background}


def placements_around(shown: torch.Tensor) -> torch.Tensor:
    """Placements (B,2,3), as `warp` takes them, that center silhouettes (B,R,R) and give them all the same size."""
    total = shown.sum((1, 2))
    first, last = (torch.stack([_quantile(shown.sum(dim), share) for dim in (1, 2)], 1) for share in (_TAIL, 1 - _TAIL))
    side = (_MARGIN * (last - first).amax(1) / 2).clamp(*_SIDES)
    somebody = total > _NOBODY * shown[0].numel()
    side = torch.where(somebody, side, 1.0)
    center = torch.where(somebody[:, None], (first + last) / 2, 0.0)
    upright = torch.eye(3, device=shown.device).expand(len(shown), 3, 3)
    return place_by(upright, 1 / side, -center / side[:, None])


def _quantile(profiles: torch.Tensor, share: float) -> torch.Tensor:
    """Where the sum along profiles (B,R) reaches `share` of the whole (B,), from -1 to 1."""
    reached = profiles.cumsum(1) < share * profiles.sum(1, keepdim=True)
    return 2 * reached.sum(1) / profiles.shape[1] - 1
