"""Cameras from views of a board: lens and focal length from many, the place in the world from one on the floor."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datasets.cameras.boards import Board, BoardView
from datasets.cameras.camera import Camera, opencv
from utils.errors import UserError

MIN_VIEWS = 8
OUTLIER = 3.0  # views with so many times the median error are left out
# The board's y axis points down on it, its z axis into the floor: the world's y and z point the other way.
_TO_WORLD = np.diag([1.0, -1.0, -1.0])


class Lens(NamedTuple):
    """intrinsics (3,3), distortion (5,) as of `Camera`; error: RMS, pixels; views: number used; covered: part of the
    image that the corners span; focal_deviation: standard deviation of the focal length, pixels."""

    intrinsics: np.ndarray
    distortion: np.ndarray
    error: float
    views: int
    covered: float
    focal_deviation: float


def fit_lens(board: Board, views: Sequence[BoardView], width: int, height: int, name: str) -> Lens:
    """Intrinsics and distortion (k1, k2, p1, p2) from views of a moved board. UserError for fewer than 8."""
    if len(views) < MIN_VIEWS:
        raise UserError(
            f"camera {name!r}: the board is found in {len(views)} frames; expected at least {MIN_VIEWS}: check --board "
            "(inner corners), light, and that the whole board is in view"
        )
    found = _calibrated(board, views, width, height)
    errors = found[-1].ravel()
    kept = [view for view, error in zip(views, errors, strict=True) if error <= OUTLIER * np.median(errors)]
    if MIN_VIEWS <= len(kept) < len(views):
        found, views = _calibrated(board, kept, width, height), kept
    error, matrix, distortion, deviations, _ = found
    corners = np.concatenate([view.pixels for view in views]).astype(np.float32)
    covered = opencv().contourArea(opencv().convexHull(corners)) / (width * height)
    distortion = np.ravel(distortion)[:5]
    return Lens(matrix, distortion, float(error), len(views), float(covered), float(np.ravel(deviations)[:2].mean()))


def place_camera(
    board: Board, views: Sequence[BoardView], lens: Lens, width: int, height: int, name: str
) -> tuple[Camera, float]:
    """The camera in the world of a board that lies on the floor, and the RMS error of its corners, pixels.

    World: meters, origin at the board's first inner corner, x along its rows, z up. views: of the board at rest.
    UserError where there are none.
    """
    if not views:
        raise UserError(f"camera {name!r}: the board on the floor is not found; expected it in full view, and in light")
    cv2 = opencv()
    ids = np.concatenate([view.ids for view in views])
    pixels = np.concatenate([view.pixels for view in views])
    # The board does not move: each corner is at the median of all frames.
    corners = np.unique(ids)
    middle = np.stack([np.median(pixels[ids == corner], axis=0) for corner in corners])
    points = board.points[corners] @ _TO_WORLD
    count, turns, shifts, _ = cv2.solvePnPGeneric(
        points, middle, lens.intrinsics, lens.distortion, flags=cv2.SOLVEPNP_IPPE
    )
    best = None
    for turn, shift in zip(turns[:count], shifts[:count], strict=True):
        turn, shift = cv2.solvePnPRefineLM(points, middle, lens.intrinsics, lens.distortion, turn, shift)
        rotation = cv2.Rodrigues(turn)[0]
        center = -rotation.T @ shift.ravel()
        camera = Camera(rotation, center, lens.intrinsics, lens.distortion, width, height)
        missed = camera.project(camera.world_to_cam(points)) - middle
        error = float(np.sqrt((missed**2).sum(1).mean()))
        # Far boards have two solutions that fit; a camera cannot be below the floor.
        if center[2] > 0 and (best is None or error < best[1]):
            best = camera, error
    if best is None:
        raise UserError(f"camera {name!r} would be below the floor; expected to see the printed side of the board")
    return best


def _calibrated(board: Board, views: Sequence[BoardView], width: int, height: int) -> tuple:
    cv2 = opencv()
    points = [board.points[view.ids].astype(np.float32) for view in views]
    pixels = [view.pixels.astype(np.float32)[:, None] for view in views]
    # A third radial coefficient is fitted to noise where the corners of the image are not covered.
    error, matrix, distortion, _, _, deviations, _, errors = cv2.calibrateCameraExtended(
        points, pixels, (width, height), None, None, flags=cv2.CALIB_FIX_K3
    )
    return error, matrix, distortion, deviations, errors
