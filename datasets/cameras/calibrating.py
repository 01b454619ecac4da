"""Cameras from views of a board: lens and focal length from many, the place in the world from one on the floor."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datasets.cameras.boards import Board, BoardView
from datasets.cameras.camera import Camera, opencv
from utils.errors import UserError

MIN_VIEWS = 8
MIN_MOVE = 0.01  # of the image's width, by some corner: errors of a board at rest do not average out
OUTLIER = 3.0  # views with so many times the median error are left out
CORNER_ERROR = 0.1  # pixels: the least that is assumed, for a part of the error is the same in all views
MAX_DEVIATION = 0.05  # of the focal length: 60 views of a board that is not tilted have 0.1 or more, whatever the noise
# The board's y axis points down on it, its z axis into the floor: the world's y and z point the other way.
_TO_WORLD = np.diag([1.0, -1.0, -1.0])


class Lens(NamedTuple):
    """intrinsics (3,3), distortion (5,) as of `Camera`; error: RMS, pixels; views: number used; covered: part of the
    image that the corners span; focal_deviation: standard deviation of the focal length, pixels, if corners are
    `CORNER_ERROR` off or more."""

    intrinsics: np.ndarray
    distortion: np.ndarray
    error: float
    views: int
    covered: float
    focal_deviation: float


def fit_lens(board: Board, views: Sequence[BoardView], width: int, height: int, name: str) -> Lens:
    """Intrinsics and distortion (k1, k2, p1, p2) from views of a moved board.

    UserError for fewer than 8 different views, and for views that leave the focal length open, as those of a board that
    is never tilted do.
    """
    if len(views) < MIN_VIEWS:
        raise UserError(
            f"camera {name!r}: the board is found in {len(views)} frames; expected at least {MIN_VIEWS}: check --board "
            "(inner corners), light, and that the whole board is in view"
        )
    found_in, views = len(views), _different(views, MIN_MOVE * width)
    if len(views) < MIN_VIEWS:
        raise UserError(
            f"camera {name!r}: different places of the board in {found_in} frames: {len(views)}; expected at least "
            f"{MIN_VIEWS}: move and tilt it"
        )
    found = _calibrated(board, views, width, height, name)
    errors = found[-1].ravel()
    kept = [view for view, error in zip(views, errors, strict=True) if error <= OUTLIER * np.median(errors)]
    if MIN_VIEWS <= len(kept) < len(views):
        found, views = _calibrated(board, kept, width, height, name), kept
    error, matrix, distortion, turns, shifts, _ = found
    # The RMS error is one of places, of which each coordinate has half of the variance.
    noise = max(error / np.sqrt(2), CORNER_ERROR)
    deviation = noise * _focal_sensitivity(board, views, matrix, distortion, turns, shifts)
    focal = matrix[[0, 1], [0, 1]].mean()
    if not deviation <= MAX_DEVIATION * focal:
        raise UserError(
            f"camera {name!r}: {len(views)} views leave the focal length open ({focal:.0f} +- {deviation:.0f} px); "
            f"expected +- {100 * MAX_DEVIATION:g} % or less: tilt the board by 20 to 45 degrees, in several directions"
        )
    corners = np.concatenate([view.pixels for view in views]).astype(np.float32)
    covered = opencv().contourArea(opencv().convexHull(corners)) / (width * height)
    return Lens(matrix, np.ravel(distortion)[:5], float(error), len(views), float(covered), float(deviation))


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


def _different(views: Sequence[BoardView], least: float) -> list[BoardView]:
    """The views that differ from each other: in the corners that they show, or in one by `least` pixels."""
    kept: list[BoardView] = []
    for view in views:
        if not any(_move(view, other) < least for other in kept):
            kept.append(view)
    return kept


def _move(one: BoardView, other: BoardView) -> float:
    """Pixels between two views of the corner that moved most; infinity where they share none."""
    _, rows, columns = np.intersect1d(one.ids, other.ids, return_indices=True)
    return np.linalg.norm(one.pixels[rows] - other.pixels[columns], axis=1).max() if len(rows) else np.inf


def _calibrated(board: Board, views: Sequence[BoardView], width: int, height: int, name: str) -> tuple:
    """RMS error, matrix, distortion, rotation and translation vectors, and error of each view."""
    cv2 = opencv()
    points = [board.points[view.ids].astype(np.float32) for view in views]
    pixels = [view.pixels.astype(np.float32)[:, None] for view in views]
    # A third radial coefficient is fitted to noise where the corners of the image are not covered.
    try:
        *found, _, _, errors = cv2.calibrateCameraExtended(
            points, pixels, (width, height), None, None, flags=cv2.CALIB_FIX_K3
        )
    except cv2.error as error:
        raise UserError(
            f"camera {name!r}: no lens fits the board in {len(views)} frames ({error.err}); expected views of a flat "
            "board that show several of its rows"
        ) from error
    return *found, errors


def _focal_sensitivity(board: Board, views: Sequence[BoardView], matrix, distortion, turns, shifts) -> float:
    """Standard deviation of the focal length per pixel of noise, the larger one of both axes.

    OpenCV's deviations leave out directions that no view determines: those of a focal length that fits as well as any
    other are 1 px.
    """
    remaining = []
    for view, turn, shift in zip(views, turns, shifts, strict=True):
        slopes = opencv().projectPoints(board.points[view.ids], turn, shift, matrix, distortion)[1]
        pose, lens = slopes[:, :6], slopes[:, 6:14]  # lens: fx, fy, cx, cy, k1, k2, p1, p2
        # What a change of the board's pose can undo says nothing about the lens.
        basis = np.linalg.qr(pose / np.linalg.norm(pose, axis=0))[0]
        remaining.append(lens - basis @ (basis.T @ lens))
    slopes = np.concatenate(remaining)
    scale = np.linalg.norm(slopes, axis=0)
    _, strength, directions = np.linalg.svd(slopes / scale, full_matrices=False)
    spread = directions / np.maximum(strength, np.finfo(float).tiny)[:, None]
    return float((np.linalg.norm(spread, axis=0) / scale)[:2].max())
