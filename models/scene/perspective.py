"""Perspective correction: a box away from the frame's center shows a person as a rotated camera would see them.

The virtual camera of a box stands where the camera of the frame stands, and looks at the center of the box. Camera
frames: x right, y down, z forward.
"""

import torch

from utils.geometry import at_least_float32


def crop_rotations(boxes: torch.Tensor, intrinsics: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Rotations (K,B,3,3) from the cameras of frames to those of boxes (K,B,2,3), without gradient.

    `intrinsics` (B,3,3): pixels of frames of `size` (H,W), whose first pixel has its center at 0; upper triangular.
    They are the shortest rotations that bring the ray through a box's center onto the optical axis.
    """
    with torch.autocast(boxes.device.type, enabled=False):
        # A box would otherwise move to where its person looks easy to draw.
        ray = box_directions(boxes.detach(), intrinsics, size)
        return _rotation_to_axis(ray / ray.norm(dim=-1, keepdim=True))


def box_directions(boxes: torch.Tensor, intrinsics: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Points at depth 1 (K,B,3) of the camera frame that boxes (K,B,2,3) of frames of `size` (H,W) are centered on.

    `intrinsics` (B,3,3): pixels of the frame, whose first pixel has its center at 0; upper triangular.
    """
    center, intrinsics = at_least_float32(boxes[..., 2]), at_least_float32(intrinsics)
    across, down = ((center[..., axis] + 1) / 2 * (size[1 - axis] - 1) for axis in (0, 1))
    y = (down - intrinsics[:, 1, 2]) / intrinsics[:, 1, 1]
    x = (across - intrinsics[:, 0, 2] - intrinsics[:, 0, 1] * y) / intrinsics[:, 0, 0]
    return torch.stack([x, y, torch.ones_like(x)], dim=-1)


def pair_rotations(cam2cam: torch.Tensor, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Rotations (K,K,B,3,3) from the cameras of source boxes to those of target boxes, by target box, source box, view.

    `cam2cam` (B,3,3): from the camera of a view's source to the view's. `target`, `source` (K,B,3,3): from the cameras
    of these frames to those of their boxes.
    """
    with torch.autocast(cam2cam.device.type, enabled=False):
        return target[:, None] @ cam2cam @ source.mT[None]


def _rotation_to_axis(ray: torch.Tensor) -> torch.Tensor:
    """The shortest rotations (...,3,3) that bring unit rays (...,3) with z > 0 onto (0, 0, 1)."""
    x, y, z = ray.unbind(-1)
    # Rodrigues' formula, with the sine and cosine of the angle written in x, y and z.
    scale = 1 / (1 + z)
    rows = [[1 - x * x * scale, -x * y * scale, -x], [-x * y * scale, 1 - y * y * scale, -y], [x, y, z]]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
