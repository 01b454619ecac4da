"""Boxes of people in a frame: cutting them out, and putting what was decoded for them back.

A box is a matrix [[sx, 0, tx], [0, sy, ty]]: s is its side in frame sides, t its center, and the frame reaches from -1
to 1. It maps places in the box to places in the frame. The first pixel of a row is at -1, the last at 1
(`align_corners`), as in the release of PyTorch that the published weights were trained with.
"""

import torch
from torch.nn import functional

from utils.geometry import at_least_float32


def box_matrices(size: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """Sides (...,2) and centers (...,2), x and y -> boxes (...,2,3)."""
    return torch.cat([torch.diag_embed(size), center[..., None]], dim=-1)


def box_sizes(boxes: torch.Tensor) -> torch.Tensor:
    """Boxes (...,2,3) -> their sides (...,2) in frame sides, x and y."""
    return boxes[..., :2].diagonal(dim1=-2, dim2=-1)


def invert_boxes(boxes: torch.Tensor) -> torch.Tensor:
    """Boxes (...,2,3) -> the matrices (...,2,3) that map places in the frame to places in the box."""
    size = box_sizes(boxes)
    return box_matrices(1 / size, -boxes[..., 2] / size)


def left_to_right(boxes: torch.Tensor) -> torch.Tensor:
    """Numbers (K,B) of the boxes (K,B,2,3) of each frame by their centers, from left to right."""
    # Of boxes at the same place the later one comes first, as published.
    return len(boxes) - 1 - boxes[..., 0, 2].flip(0).argsort(dim=0, stable=True)


def crop_frames(frames: torch.Tensor, boxes: torch.Tensor, side: int) -> torch.Tensor:
    """Cut boxes (K,B,2,3) out of frames (B,C,H,W): crops (K*B,C,side,side), box by box; zero outside of the frame."""
    # One box at a time: the frames need not be repeated.
    return torch.cat([_sample(frames, box, (side, side), padding="zeros") for box in boxes.to(frames.dtype).unbind()])


def paste_crops(crops: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int], padding: str) -> torch.Tensor:
    """Resample crops (K,B,C,R,R) in boxes (K,B,2,3) of frames of `size` (H,W) -> (K,B,C,H,W).

    `padding` outside of a box: "zeros", or "border", the nearest pixel of the crop.
    """
    frames = _sample(crops.flatten(0, 1), invert_boxes(boxes).flatten(0, 1), size, padding)
    return frames.unflatten(0, crops.shape[:2])


def _sample(images: torch.Tensor, matrices: torch.Tensor, size: tuple[int, int], padding: str) -> torch.Tensor:
    # Autocast would give positions in bfloat16, pixels apart at the sides of a large frame.
    with torch.autocast(images.device.type, enabled=False):
        grid = functional.affine_grid(at_least_float32(matrices), [len(images), 1, *size], align_corners=True)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=True)
