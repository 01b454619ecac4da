"""Convert videos of your own synchronized, calibrated cameras to the training layout (docs/own_videos.md).

Examples:
  python configs/prepare_videos.py --videos left.mp4 right.mp4 --calibration calibration.json --output data/mine
  python configs/prepare_videos.py --videos videos/*.mp4 --calibration Calib.toml --triangulate --output data/mine
  python configs/prepare_videos.py --recordings recordings.json --output data/mine
  python configs/prepare_videos.py --videos *.mp4 --calibration Calib.toml --frames --triangulate --output data/frames
Interrupt it at any time; the same command resumes.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import add_layout_arguments, add_output_argument, defaults_of, script_parser
from utils.commands import install_extra
from utils.errors import UserError, run_script

if TYPE_CHECKING:
    from datasets.sources.own_videos.recordings import Recording


def main() -> None:
    from datasets.sources.own_videos.prepare import prepare_videos
    from datasets.sources.own_videos.prepare_frames import FRAME_WIDTH, prepare_frames

    default, parser = defaults_of(prepare_videos), script_parser(__doc__)
    add_output_argument(parser)
    parser.add_argument("--recordings", metavar="FILE", help="JSON file that lists several recordings")
    one = parser.add_argument_group("one recording")
    one.add_argument(
        "--videos",
        nargs="+",
        metavar="V",
        help="camera=file, or files named after their camera; folders of pictures too",
    )
    one.add_argument("--calibration", metavar="FILE", help="of the cameras: JSON, .toml, .qca.txt or .yml")
    finding = parser.add_argument_group("the person, where neither boxes nor poses are given")
    install = install_extra("detect")
    help_detect = f"find the person by BlazePose ({install}) instead of by the difference to the background"
    finding.add_argument("--detect", action="store_true", help=help_detect)
    help_triangulate = "make 3D labels of BlazePose's landmarks in all cameras"
    finding.add_argument("--triangulate", action="store_true", help=help_triangulate)
    help_keep = "with --triangulate: use the calibration as it is, even if the landmarks do not fit it"
    finding.add_argument("--keep-cameras", dest="correct_cameras", action="store_false", help=help_keep)
    one.add_argument("--boxes", metavar="FILE", help="CSV or JSON file: the person's bounding boxes in the images")
    one.add_argument("--poses", metavar="FILE", help="npz, npy or CSV file: (T,17,3) in the world, meters")
    help_offsets = "frame offset of a camera: its frame number at instant 0 (default: 0)"
    one.add_argument("--offsets", nargs="+", metavar="camera=N", help=help_offsets)
    help_empty = "pictures or videos of the scene without anybody: the background of their cameras"
    one.add_argument("--empty", nargs="+", metavar="V", help=help_empty)
    one.add_argument("--subject", type=int, metavar="N", help="number of the person (default: 1)")
    one.add_argument("--name", metavar="NAME", help="name of the recording (default: recording)")
    crops = parser.add_argument_group("crops")
    layout = {name: default[name] for name in ("size", "every", "box_metres")}
    add_layout_arguments(crops, **layout, background=True)
    help_upright = "roll the crops so that the world's upward direction is up in them"
    crops.add_argument("--upright", action="store_true", help=help_upright)
    help_cut = "split recordings into sequences of at most N instants"
    crops.add_argument("--cut", type=int, default=default["cut"], metavar="N", help=help_cut)
    help_sequence = "number of the first sequence"
    crops.add_argument(
        "--sequence",
        dest="first_sequence",
        type=int,
        default=default["first_sequence"],
        metavar="N",
        help=help_sequence,
    )
    frames = parser.add_argument_group("full frames of several people, instead of crops of one")
    frames.add_argument("--frames", action="store_true", help="write full frames (version 2 of the layout)")
    help_width = f"width of the frames, pixels (default: {FRAME_WIDTH})"
    frames.add_argument("--width", type=int, metavar="PIXELS", help=help_width)
    arguments = vars(parser.parse_args())
    if not arguments["correct_cameras"] and not arguments["triangulate"]:
        raise UserError("--keep-cameras without --triangulate; expected both, since nothing else corrects the cameras")
    full_frames, width = arguments.pop("frames"), arguments.pop("width")
    if full_frames:
        # Defaults of crops may stay; what was asked for of crops has no meaning here.
        crop_options = {name: parser.get_default(name) for name in ("size", "box_metres", "background", "upright")}
        for name, default in crop_options.items():
            if arguments.pop(name) != default:
                option = "no-background" if name == "background" else name.replace("_", "-")
                raise UserError(f"--{option} is for crops; expected it without --frames")
        print(prepare_frames(_recordings(arguments), width=FRAME_WIDTH if width is None else width, **arguments))
        return
    if width is not None:
        raise UserError(f"--width is {width} without --frames; expected --size for crops, or --frames")
    print(prepare_videos(_recordings(arguments), **arguments))


def _recordings(arguments: dict) -> list["Recording"]:
    """The recordings that the arguments describe; their options are removed from `arguments`."""
    from datasets.sources.own_videos.recordings import one_recording, read_recordings

    names = ("videos", "calibration", "boxes", "poses", "offsets", "empty", "subject", "name")
    one = {name: value for name in names if (value := arguments.pop(name)) is not None}
    listed = arguments.pop("recordings")
    if listed:
        if one:
            raise UserError(f"both --recordings and --{next(iter(one))}; expected one of them")
        return read_recordings(listed)
    if not {"videos", "calibration"} <= set(one):
        raise UserError("no recording; expected --videos and --calibration, or --recordings")
    return [one_recording(**one)]


if __name__ == "__main__":
    run_script(main)
