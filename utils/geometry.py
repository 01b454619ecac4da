"""Rotations and mirror images of points, poses and directions.

The world's z axis points up: a rotation about it is a yaw. A camera's x axis points right, y down and z along the
viewing direction: a rotation about that z axis is a roll.
"""

import numpy as np
import torch

from utils.skeleton import MIRRORED_JOINTS


def rotation_about(axis: str, angle: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    """Rotations (...,3,3) about the coordinate axis "x", "y" or "z" by angles (...), radians.

    They are of the angles' library (NumPy or torch) and type, and are to be applied to columns: rotation @ vector.
    """
    first = "xyz".index(axis)
    second, third = (first + 1) % 3, (first + 2) % 3
    if isinstance(angle, torch.Tensor):
        cos, sin, matrix = angle.cos(), angle.sin(), angle.new_zeros((*angle.shape, 3, 3))
    else:
        cos, sin, matrix = np.cos(angle), np.sin(angle), np.zeros((*np.shape(angle), 3, 3), np.asarray(angle).dtype)
    matrix[..., first, first] = 1
    matrix[..., second, second] = matrix[..., third, third] = cos
    matrix[..., third, second], matrix[..., second, third] = sin, -sin
    return matrix


def yaw_rotation(yaw: float) -> torch.Tensor:
    """Rotation (3,3) of the world by `yaw` radians about its vertical axis z, float32."""
    # Cosine and sine in double precision: the rotation is then exact to the last bit of float32.
    return rotation_about("z", torch.tensor(yaw, dtype=torch.float64)).float()


def rotate_points(points: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Rotate points (B,N,3), one a row, by rotations (B,3,3). The result is float32, or float64 as the points are."""
    # Under autocast the product would be bfloat16, which rotates by up to half a degree too much or too little.
    with torch.autocast(points.device.type, enabled=False):
        points = at_least_float32(points)
        return points @ rotation.to(points).transpose(1, 2)


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` in float32, or in float64 if it is: what autocast computed in 16 bits is too coarse for geometry."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def mirror_pose(pose: torch.Tensor) -> torch.Tensor:
    """Mirror poses (B,51) in the camera frame left to right: x changes its sign, left and right joints swap."""
    # Not by an index, which would be copied to the pose's device, and make the program wait for it.
    joints = pose.unflatten(1, (-1, 3)).unbind(1)
    return mirror_vectors(torch.stack([joints[joint] for joint in MIRRORED_JOINTS], dim=1)).flatten(1)


def mirror_vectors(vectors: torch.Tensor) -> torch.Tensor:
    """Mirror vectors (...,3) in the camera frame left to right, as flipping the crop does: x changes its sign."""
    return torch.cat([-vectors[..., :1], vectors[..., 1:]], dim=-1)
