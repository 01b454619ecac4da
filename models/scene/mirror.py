"""What the detector finds in mirrored frames, as it is in the frames themselves."""

import torch

from models.scene.matching import MOST_BOXES, best_assignments, permutation_matrices
from utils.errors import UserError


def unmirrored_boxes(boxes: torch.Tensor) -> torch.Tensor:
    """Boxes (K,B,2,3) of frames that were flipped left to right -> where they are in the frames."""
    unmirrored = boxes.clone()
    unmirrored[..., 0, 2] *= -1
    return unmirrored


def same_boxes(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Which of `others` (K,B,2,3) is which of `boxes` (K,B,2,3): weights (K,K,B), 1 or 0, of the nearest, one to one.

    UserError for more than 6 boxes, of which all orders would be compared.
    """
    if len(boxes) > MOST_BOXES:
        raise UserError(f"spatial_transformer_num is {len(boxes)}; expected at most {MOST_BOXES} with flip_test")
    distances = (boxes[:, None, ..., 2] - others[None, ..., 2]).norm(dim=-1)
    return best_assignments(-distances, permutation_matrices(len(boxes)).to(boxes.device))
