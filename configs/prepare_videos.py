"""Turn videos of your own synchronized, calibrated cameras into a training set (docs/own_videos.md).

One recording: --videos and --calibration. Several: --recordings. Interrupt and start again to go on.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.cameras.crop_camera import BOX_METRES
from datasets.sources.own_videos.prepare import MAX_SEQUENCE_LENGTH, prepare_videos
from datasets.sources.own_videos.recordings import Recording, one_recording, read_recordings
from utils.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write; new, or one interrupted")
    parser.add_argument("--recordings", metavar="FILE", help="JSON that lists several recordings")
    one = parser.add_argument_group("one recording")
    one.add_argument("--videos", nargs="+", metavar="V", help="camera=file, or files named after their camera")
    one.add_argument("--calibration", metavar="FILE", help="JSON of the cameras")
    one.add_argument("--boxes", metavar="FILE", help="CSV or JSON: where the person is in the pictures")
    one.add_argument("--poses", metavar="FILE", help="npz, npy or CSV: (T,17,3) in the world, meters")
    one.add_argument("--offsets", nargs="+", metavar="camera=N", help="frame of a camera at instant 0 (default 0)")
    one.add_argument("--subject", type=int, metavar="N", help="number of the person (default 1)")
    one.add_argument("--name", help="name of the recording (default recording)")
    crops = parser.add_argument_group("crops")
    crops.add_argument("--every", type=int, default=1, metavar="N", help="take every n-th instant (default 1)")
    crops.add_argument("--size", type=int, default=128, help="side of a crop in pixels (default 128)")
    crops.add_argument(
        "--box-metres", type=float, default=BOX_METRES, help=f"width of a crop at the person (default {BOX_METRES:g})"
    )
    crops.add_argument("--no-background", dest="background", action="store_false", help="write no bg_crop pictures")
    crops.add_argument(
        "--cut",
        type=int,
        default=MAX_SEQUENCE_LENGTH,
        metavar="N",
        help=f"make sequences of at most N instants (default {MAX_SEQUENCE_LENGTH})",
    )
    crops.add_argument(
        "--sequence", dest="first_sequence", type=int, default=1, metavar="N", help="first number (default 1)"
    )
    crops.add_argument("--statistics", metavar="DIR", help="take pose_mean and pose_std from this training set")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    arguments = vars(parser.parse_args())
    print(prepare_videos(_recordings(arguments), **arguments))


def _recordings(arguments: dict) -> list[Recording]:
    """Take what describes recordings out of the arguments."""
    names = ("videos", "calibration", "boxes", "poses", "offsets", "subject", "name")
    one = {name: value for name in names if (value := arguments.pop(name)) is not None}
    listed = arguments.pop("recordings")
    if listed:
        if one:
            raise UserError(f"--recordings and --{next(iter(one))}; expected one or the other")
        return read_recordings(listed)
    if not {"videos", "calibration"} <= set(one):
        raise UserError("expected --videos and --calibration, or --recordings")
    return [one_recording(**one)]


if __name__ == "__main__":
    run_script(main)
