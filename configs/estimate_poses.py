"""Estimate 3D poses from videos or pictures: into .npz, CSV, TRC, C3D and BVH, and a video with the skeleton.

With a calibration, several videos are synchronized cameras of one person, whose poses are fused in its world. Without
one, each video is treated for itself, and its poses are in the frame of its camera. Examples:
  python configs/estimate_poses.py walk.mp4 --output walk
  python configs/estimate_poses.py photo.jpg --formats csv bvh --output photo
  python configs/estimate_poses.py cam*.mp4 --calibration Calib.toml --triangulate --output fused
Interrupt it at any time; the same command resumes.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import add_layout_arguments, add_output_argument, script_parser
from utils.errors import run_script


def main() -> None:
    from training.estimation.estimate import Choices, estimate
    from training.estimation.smoothing import FILTERS
    from training.exports.formats import FORMATS

    default = Choices()
    parser = script_parser(__doc__)
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="camera=file, or files named after their camera")
    add_output_argument(parser)
    parser.add_argument("--calibration", metavar="FILE", help="of the cameras: JSON, .toml, .qca.txt or .yml")
    help_offsets = "frame offset of a camera: its frame number at instant 0 (default: 0)"
    parser.add_argument("--offsets", nargs="+", default=[], metavar="camera=N", help=help_offsets)
    help_network = "weights with poses: wild128, benchmark64, a run folder or a file of ours"
    parser.add_argument("--network", default="wild128", metavar="PATH", help=help_network)
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1 or mps")
    add_layout_arguments(parser, every=default.every, statistics=False)
    help_triangulate = "take joints triangulated from all cameras' 2D landmarks, where they agree"
    parser.add_argument("--triangulate", action="store_true", help=help_triangulate)
    help_keep = "use the calibration as it is, even if the landmarks do not fit it"
    parser.add_argument("--keep-cameras", dest="correct_cameras", action="store_false", help=help_keep)
    parser.add_argument("--smooth", choices=FILTERS, default=default.smooth, help="filter over time")
    parser.add_argument("--formats", nargs="+", default=FORMATS, metavar="F", help="some of the default")
    parser.add_argument("--no-video", dest="pictures", action="store_false", help="write no video of the skeleton")
    help_field = "without calibration: the camera's field of view across the longer side, degrees"
    parser.add_argument("--field", type=float, default=default.field, metavar="DEGREES", help=help_field)
    arguments = vars(parser.parse_args())
    choices = Choices(**{name: arguments.pop(name) for name in Choices._fields})
    network, device = arguments["network"], arguments.pop("device")

    from geometry_aware_pose.hub import pose_from_crop, weights_path
    from training.loop.identity import weights_digest

    file = weights_path(network)
    arguments |= {"pose_from_crop": pose_from_crop(file, device, flip_test=True), "weights": weights_digest(file)}
    print(estimate(choices=choices, **arguments))


if __name__ == "__main__":
    run_script(main)
