"""Calibrate cameras with a chessboard or ChArUco board: K and distortion, and the cameras' places around the floor.

Film the board moving before each camera, into all corners of the image; then lay it on the floor, in view of all
cameras, and film it again. Examples (a chessboard of 10 x 7 squares has 9 x 6 inner corners):
  python configs/calibrate_cameras.py a.mp4 b.mp4 --board 9x6 --square 30 --floor a=a.jpg b=b.jpg --output rig
  python configs/calibrate_cameras.py left.mp4 --board 6x4 --square 60 --marker 45 --output rig
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import script_parser
from utils.errors import UserError, run_script
from utils.readers import whole_number


def main() -> None:
    from datasets.cameras.boards import Board
    from datasets.sources.own_videos.calibrate import calibrate_cameras

    default = Board(9, 6, 0.03)
    parser = script_parser(__doc__)
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="camera=file, or files named after their camera")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the calibration and its picture")
    help_floor = "videos or pictures of the board on the floor, for the cameras' places"
    parser.add_argument("--floor", nargs="+", default=[], metavar="V", help=help_floor)
    parser.add_argument("--board", required=True, metavar="CxR", help="inner corners in a row, and in a column")
    parser.add_argument("--square", type=float, required=True, metavar="MM", help="side of a square, millimeters")
    help_marker = "side of a marker, millimeters: of a ChArUco board"
    parser.add_argument("--marker", type=float, default=0.0, metavar="MM", help=help_marker)
    help_dictionary = "markers of a ChArUco board"
    parser.add_argument("--dictionary", default=default.dictionary, metavar="NAME", help=help_dictionary)
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core)")
    arguments = parser.parse_args()
    corners = [whole_number(part) for part in arguments.board.lower().split("x")]
    if len(corners) != 2 or None in corners:
        raise UserError(f"--board is {arguments.board!r}; expected inner corners such as 9x6")
    board = Board(*corners, arguments.square / 1000, arguments.marker / 1000, arguments.dictionary)
    print(calibrate_cameras(arguments.videos, arguments.output, board, arguments.floor, arguments.workers))


if __name__ == "__main__":
    run_script(main)
