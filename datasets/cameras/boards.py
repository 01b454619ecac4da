"""Calibration boards in images: chessboards and ChArUco boards, whose corners have known places."""

from typing import NamedTuple

import numpy as np

from datasets.cameras.camera import opencv
from utils.errors import UserError

MIN_CORNERS = 8  # of a board that is partly hidden
_SEARCH_WIDTH = 1600  # pixels: larger images are shrunk for the search of a chessboard, and its corners then refined


class Board(NamedTuple):
    """columns, rows: of inner corners. square: meters. marker: side of the markers, meters; 0 of a chessboard.
    dictionary: name of ChArUco's markers in cv2.aruco."""

    columns: int
    rows: int
    square: float
    marker: float = 0.0
    dictionary: str = "DICT_4X4_50"

    @property
    def points(self) -> np.ndarray:
        """Corners (N,3), meters, row by row: x along the rows, y along the columns, both on the board; z is 0."""
        y, x = np.divmod(np.arange(self.columns * self.rows), self.columns)
        return self.square * np.stack([x, y, 0 * x], axis=1).astype(np.float64)


class BoardView(NamedTuple):
    """ids: (N,) numbers of corners in `Board.points`. pixels: (N,2)."""

    ids: np.ndarray
    pixels: np.ndarray


def check_board(board: Board, on_floor: bool) -> None:
    """UserError for a board that does not exist, or whose direction cannot be told."""
    if not (3 <= board.columns <= 50 and 3 <= board.rows <= 50):
        raise UserError(f"board of {board.columns}x{board.rows} inner corners; expected 3 to 50 each")
    if not 0.001 <= board.square <= 2:
        raise UserError(f"square of {1000 * board.square:g} mm; expected 1 to 2000 mm")
    if board.marker and not 0 < board.marker < board.square:
        raise UserError(
            f"marker of {1000 * board.marker:g} mm; expected less than a square, {1000 * board.square:g} mm"
        )
    if board.dictionary != Board._field_defaults["dictionary"] and not board.marker:
        raise UserError(f"dictionary {board.dictionary} without markers; expected the side of a marker, too")
    if board.marker:
        held, needed = len(_dictionary(board.dictionary).bytesList), (board.columns + 1) * (board.rows + 1) // 2
        if held < needed:
            raise UserError(
                f"dictionary {board.dictionary} has {held} markers; expected the {needed} of a board of "
                f"{board.columns}x{board.rows} inner corners"
            )
    if on_floor and not board.marker and (board.columns + board.rows) % 2 == 0:
        raise UserError(
            f"a chessboard of {board.columns}x{board.rows} inner corners looks the same after half a turn; expected an "
            "odd and an even number, or a ChArUco board"
        )


def _dictionary(name: str):
    aruco = opencv().aruco
    # The module has functions, too, and no other name for a dictionary than its attribute.
    if not name.startswith("DICT_") or not hasattr(aruco, name):
        raise UserError(f"unknown dictionary {name!r}; expected one of cv2.aruco, such as DICT_4X4_50")
    return aruco.getPredefinedDictionary(getattr(aruco, name))


class BoardFinder:
    """Finds one board in images (H,W,3) uint8 RGB."""

    def __init__(self, board: Board):
        self.board, self._detector = board, None
        if board.marker:
            aruco = opencv().aruco
            size = (board.columns + 1, board.rows + 1)  # squares
            charuco = aruco.CharucoBoard(size, board.square, board.marker, _dictionary(board.dictionary))
            self._detector = aruco.CharucoDetector(charuco)

    def __call__(self, image: np.ndarray) -> BoardView | None:
        """The board, None where there is none or too little of it. Pixels: (0, 0) is the center of the first one."""
        cv2 = opencv()
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if self._detector:
            corners, ids, _, _ = self._detector.detectBoard(gray)
            if ids is None or not self._tell_pose(ids := np.ravel(ids)):
                return None
            return BoardView(ids, corners.reshape(-1, 2).astype(np.float64))
        return self._chessboard(gray)

    def _tell_pose(self, ids: np.ndarray) -> bool:
        """Whether corners are many, and not on one line: two rows have two each."""
        in_row = np.bincount(ids // self.board.columns)
        return len(ids) >= MIN_CORNERS and (in_row >= 2).sum() >= 2

    def _chessboard(self, gray: np.ndarray) -> BoardView | None:
        cv2, (columns, rows) = opencv(), self.board[:2]
        scale = min(1.0, _SEARCH_WIDTH / max(gray.shape))
        small = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else gray
        found, corners = cv2.findChessboardCornersSB(small, (columns, rows), flags=cv2.CALIB_CB_ACCURACY)
        if not found:
            return None
        if scale < 1:
            corners = ((corners + 0.5) / scale - 0.5).astype(np.float32)
            reach = max(2, round(1.5 / scale))
            stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 30, 1e-3)
            corners = cv2.cornerSubPix(gray, corners, (reach, reach), (-1, -1), stop)
        grid = corners.reshape(rows, columns, 2).astype(np.float64)
        return BoardView(np.arange(columns * rows), _oriented(grid, gray).reshape(-1, 2))


def _oriented(grid: np.ndarray, gray: np.ndarray) -> np.ndarray:
    """Corners (R,C,2) in the board's own order: not mirrored, and the square behind the first corner is dark."""
    across, down = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
    if across[0] * down[1] - across[1] * down[0] < 0:
        grid = grid[:, ::-1]
    middles = [grid[:2, column : column + 2].mean((0, 1)).round().astype(int) for column in (0, 1)]
    first, second = (int(gray[np.clip(y, 0, len(gray) - 1), np.clip(x, 0, gray.shape[1] - 1)]) for x, y in middles)
    return grid[::-1, ::-1] if first > second else grid
