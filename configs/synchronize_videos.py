"""Find the offsets between videos that were filmed together, from people's motion or from sound, and how sure they are.

Prints --offsets for prepare_videos.py and estimate_poses.py. Examples:
  python configs/synchronize_videos.py left.mp4 right.mp4
  python configs/synchronize_videos.py left.mp4 right.mp4 --by sound --most 60
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import script_parser
from utils.errors import run_script


def main() -> None:
    from datasets.sources.own_videos.synchronize import WAYS, synchronize

    parser = script_parser(__doc__)
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="camera=file, or files named after their camera")
    parser.add_argument("--by", choices=WAYS, default="motion", help="what is compared")
    help_most = "the cameras started at most so many seconds apart"
    parser.add_argument("--most", type=float, default=10.0, metavar="SECONDS", help=help_most)
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core)")
    print(synchronize(**vars(parser.parse_args())))


if __name__ == "__main__":
    run_script(main)
