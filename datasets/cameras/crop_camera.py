"""The virtual camera behind a crop: rotated towards the person, with a box of 2 m filling the crop.

A crop away from the image center shows the person as a rotated camera would see them. `crop_camera` gives this
rotation, so that crops, extrinsics and poses agree exactly (perspective correction). Camera frames: x right, y down,
z forward, meters.
"""

from typing import NamedTuple

import numpy as np

from utils.errors import UserError
from utils.geometry import rotation_about

BOX_METRES = 2.0


class CropCamera(NamedTuple):
    """Virtual cameras of crops; any leading dimensions.

    rotation: (...,3,3) original camera frame -> crop camera frame. With R the original world -> camera rotation, the
        extrinsic rotation of the crop is `rotation @ R`, and its pose label is `rotation @ pose`.
    intrinsic_crop: (...,3,3) normalized coordinates (x/z, y/z) of the crop camera -> crop coordinates in 0..1.
    bounding_box_cam: (...,4) x0, y0, width, height of the box at the root's depth, in normalized coordinates of the
        original camera.
    """

    rotation: np.ndarray
    intrinsic_crop: np.ndarray
    bounding_box_cam: np.ndarray


def crop_camera(
    root_cam: np.ndarray, box_metres: float | np.ndarray = BOX_METRES, up_cam: np.ndarray | None = None
) -> CropCamera:
    """Virtual camera for a person whose root is at `root_cam` (...,3), meters, in the original camera's frame.

    The camera rotates by the shortest rotation that brings the ray through the root onto the optical axis, which adds
    no roll. With `up_cam` (3,) or (...,3), the world's upward direction in the original camera's frame, it then rolls
    so that this direction is straight up in the crop. `box_metres`, a number or (...), at the root's distance fill the
    crop. Raises UserError for a root behind the camera and for a box without size.
    """
    if not np.all(np.asarray(box_metres) > 0):
        raise UserError(f"box of {np.min(box_metres):g} m; expected a width of more than 0 meters")
    root_cam = np.asarray(root_cam, dtype=np.float64)
    x, y, z = np.moveaxis(root_cam, -1, 0)
    if not np.all(z > 0):
        raise UserError(f"root at depth {np.min(z)} m; expected it in front of the camera (z > 0)")
    distance = np.linalg.norm(root_cam, axis=-1)
    focal = distance / box_metres
    # The person is `distance` away along the new optical axis, not at their old depth z.
    intrinsic = np.zeros((*root_cam.shape[:-1], 3, 3))
    intrinsic[..., 0, 0] = intrinsic[..., 1, 1] = focal
    intrinsic[..., 0, 2] = intrinsic[..., 1, 2] = 0.5
    intrinsic[..., 2, 2] = 1
    side = box_metres / z
    box = np.stack([x / z - side / 2, y / z - side / 2, side, side], axis=-1)
    rotation = _rotation_to_axis(root_cam / distance[..., None])
    if up_cam is not None:
        across, down, _ = np.moveaxis((rotation @ np.asarray(up_cam, dtype=np.float64)[..., None])[..., 0], -1, 0)
        rotation = rotation_about("z", -np.arctan2(across, -down)) @ rotation
    return CropCamera(rotation, intrinsic, box)


def pixel_rays(intrinsic_crop: np.ndarray, size: int) -> np.ndarray:
    """Unit rays (...,size,size,3) through the pixel centers of a crop, row by row, in the crop camera's frame."""
    centers = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(centers, centers)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    inverse = np.linalg.inv(np.asarray(intrinsic_crop, dtype=np.float64))
    rays = np.einsum("...ij,hwj->...hwi", inverse, pixels)
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def project_to_crop(points_cam: np.ndarray, intrinsic_crop: np.ndarray) -> np.ndarray:
    """Points (...,P,3) in the crop camera's frame, and (...,3,3) -> crop coordinates (...,P,2); 0..1 is inside."""
    homogeneous = np.einsum("...ij,...pj->...pi", intrinsic_crop, points_cam)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def _rotation_to_axis(ray: np.ndarray) -> np.ndarray:
    """Shortest rotation (...,3,3) with `rotation @ ray = (0, 0, 1)`, for unit rays (...,3) with z > 0."""
    x, y, z = np.moveaxis(ray, -1, 0)
    # Rodrigues' formula with sine and cosine written in x, y and z: exact for z > 0, without arccos.
    scale = 1 / (1 + z)
    rows = [
        [1 - x * x * scale, -x * y * scale, -x],
        [-x * y * scale, 1 - y * y * scale, -y],
        [x, y, z],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def crop_rows(rotation: np.ndarray, joints_cam: np.ndarray, crop: CropCamera) -> dict[str, np.ndarray]:
    """Rows of labels.h5 for N crops (any leading dimensions): `3D` (N,17,3), `extrinsic_rot`, `extrinsic_rot_inv`,
    `bounding_box_cam`, `intrinsic_crop`.

    rotation: (3,3) or (N,3,3) world -> original camera. joints_cam: (N,17,3) meters, original camera's frame, root
    first. crop: the crop cameras of these N roots.
    """
    rotations = crop.rotation @ rotation
    return {
        "3D": (joints_cam - joints_cam[..., :1, :]) @ crop.rotation.swapaxes(-1, -2),
        "extrinsic_rot": rotations,
        "extrinsic_rot_inv": rotations.swapaxes(-1, -2),
        "bounding_box_cam": crop.bounding_box_cam,
        "intrinsic_crop": crop.intrinsic_crop,
    }
