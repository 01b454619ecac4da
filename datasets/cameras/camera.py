"""A calibrated camera with lens distortion: where it sees points of the world.

World: meters. Camera frame: x right, y down, z forward, meters. Pixels: x right, y down. (0, 0) is the center of the
first pixel, as in OpenCV.
"""

from types import ModuleType
from typing import NamedTuple

import numpy as np

from utils.commands import install_extra
from utils.errors import UserError

ROTATION_TOLERANCE = 1e-3  # of the error of a rotation matrix
UNDISTORTION_CRITERIA = (3, 100, 1e-9)  # of OpenCV: at most 100 iterations, until the pixel is met by less than 1e-9


class Camera(NamedTuple):
    """One camera, in conventions of OpenCV.

    rotation: (3,3) world -> camera. center: (3,) of the camera in the world, meters. intrinsics: (3,3) pixels, without
    skew. distortion: (5,) k1, k2, p1, p2, k3, or the 8, 12 or 14 numbers of OpenCV's longer models; zeros for none.
    width, height: of the image, pixels.
    """

    rotation: np.ndarray
    center: np.ndarray
    intrinsics: np.ndarray
    distortion: np.ndarray
    width: int
    height: int

    def world_to_cam(self, points: np.ndarray) -> np.ndarray:
        """Points (...,3) from the world frame to the camera frame."""
        return (np.asarray(points, dtype=np.float64) - self.center) @ np.asarray(self.rotation).T

    def project(self, points_cam: np.ndarray) -> np.ndarray:
        """Points (...,3) of the camera frame -> distorted pixels (...,2); NaN for points that are not in front."""
        points_cam = np.asarray(points_cam, dtype=np.float64)
        flat = points_cam.reshape(-1, 3)
        pixels = np.full((len(flat), 2), np.nan)
        front = flat[:, 2] > 0
        if front.any():
            # The points are in the camera frame already: rotation and translation are zero.
            zero, distortion = np.zeros(3), np.asarray(self.distortion, dtype=np.float64)
            intrinsics = np.asarray(self.intrinsics, dtype=np.float64)
            seen, _ = opencv().projectPoints(flat[front, None], zero, zero, intrinsics, distortion)
            pixels[front] = seen[:, 0]
        return pixels.reshape(*points_cam.shape[:-1], 2)

    def normalized(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (...,2) -> (x/z, y/z) of the camera frame (...,2), without lens distortion; NaN stays NaN."""
        cv2 = opencv()
        flat = np.asarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
        result = np.full((len(flat), 2), np.nan)
        known = np.isfinite(flat).all((1, 2))
        if known.any():
            # The 5 iterations of the default leave pixels of wide lenses several pixels off. In OpenCV 4, another
            # function takes criteria.
            undistort = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)
            found = undistort(
                flat[known], self.intrinsics, self.distortion, R=None, P=None, criteria=UNDISTORTION_CRITERIA
            )
            result[known] = found[:, 0]
        return result.reshape(np.shape(pixels))

    def far_outside(self, points_cam: np.ndarray) -> np.ndarray:
        """Which points (...,3) of the camera frame miss the image by more than half its side, or are not in front.

        Returns (...) bool. So far out, the polynomial of the distortion may fold back into the image, so that
        `project` must not be trusted.
        """
        points_cam = np.asarray(points_cam, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            pinhole = (points_cam @ np.asarray(self.intrinsics).T)[..., :2] / points_cam[..., 2:]
        side = np.array([self.width, self.height])
        return ~((points_cam[..., 2] > 0) & (np.abs(pinhole / side - 0.5) < 1).all(-1))

    def sees(self, points_cam: np.ndarray) -> np.ndarray:
        """Which points (...,3) of the camera frame lie in the image: (...) bool."""
        pixels = self.project(points_cam)
        inside = (pixels >= 0) & (pixels <= np.array([self.width, self.height]) - 1)
        # A point far outside may be projected into the image, since the distortion folds back.
        return inside.all(-1) & ~self.far_outside(points_cam)


def rotation_error(rotations: np.ndarray) -> np.ndarray:
    """How far matrices (N,3,3) are from orthonormal ones of determinant 1: (N,), 0 for rotations."""
    product = rotations @ rotations.swapaxes(1, 2)
    return np.abs(product - np.eye(3)).max(axis=(1, 2)) + np.abs(np.linalg.det(rotations) - 1)


def opencv() -> ModuleType:
    """The module cv2, set to one thread. Raises UserError with the pip command when it is missing."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(f"video crops need the package 'opencv-python-headless': {install_extra('video')}") from error
    # The preparation runs one process per core; threads inside each would only compete.
    cv2.setNumThreads(1)
    return cv2
