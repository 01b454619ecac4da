"""Render people into a training set: exact 3D labels, no data license. Run the same command again to resume.

A set of your own:     python configs/render_dataset.py --output data/train --crops 40000
                       python configs/render_dataset.py --output data/test --crops 8000 --split test
Captured motion (BVH): python configs/render_dataset.py --output data/train --crops 40000 --motion mocap
Many people and rooms: python configs/render_dataset.py --output data/train --crops 24000 --world wild
Your own cameras:      python configs/render_dataset.py --output data/own --crops 8000 --world wild --cameras Calib.toml
Several people:        python configs/render_dataset.py --output data/two --crops 4000 --frames --people-per-scene 2
A standard benchmark:  python configs/render_dataset.py --output data/benchmark64 --preset benchmark64
                       (writes train/ and test/; benchmark and wild: 128 px, benchmark64 and wild64: 64 px; scenes:
                       full frames of 0 to 3 people, 228x128 px)
On several machines:   the same with --shard 1/16 to --shard 16/16, then
                       python configs/render_dataset.py --output data/train --merge
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import defaults_of, script_parser
from utils.commands import install_extra
from utils.errors import UserError, run_script

FRAME_OPTIONS = ("people_per_scene", "frame_size")


def main() -> None:
    from datasets.layout.shards import parse_shard
    from datasets.rendered.dataset import render_dataset
    from datasets.rendered.presets import render_preset
    from datasets.rendered.scenes.dataset import render_frames

    arguments = vars(_parser().parse_args())
    if "shard" in arguments:
        arguments["shard"] = parse_shard(arguments["shard"])
    if "merge" in arguments:
        print(merge(arguments))
    elif "preset" in arguments:
        fixed = sorted(set(arguments) - {"preset", "output", "workers", "device", "shard"})
        if fixed:
            raise UserError(f"--{fixed[0]} given with --preset, which fixes it; expected one or the other")
        print(render_preset(arguments.pop("preset"), **arguments))
    elif "crops" in arguments and "frames" in arguments:
        arguments = _frame_arguments(arguments)
        print(report(render_frames(**arguments), "frames", arguments["frames"], arguments.get("shard")))
    elif "crops" in arguments:
        for option in FRAME_OPTIONS:
            if option in arguments:
                raise UserError(f"--{option.replace('_', '-')} given without --frames; expected both or neither")
        print(report(render_dataset(**arguments), "crops", arguments["crops"], arguments.get("shard")))
    else:
        raise UserError("neither --crops nor --preset given; expected a number of crops, or a benchmark")


def report(folder: Path, what: str, asked: int, shard: tuple | None) -> str:
    """How many crops or frames are in a folder, which are whole instants; or which shard of how many it holds."""
    from datasets.layout.labels import Labels

    return f"shard {shard} of {asked} {what} in {folder}" if shard else f"{Labels(folder).num_rows} {what} in {folder}"


def merge(arguments: dict) -> str:
    """Merge the shards of a set or of a benchmark; returns a report. Raises UserError for options of rendering."""
    from datasets.layout.shards import merge_shards
    from datasets.rendered.dataset import SET_FILE
    from datasets.rendered.presets import merge_preset

    if other := sorted(set(arguments) - {"merge", "preset", "output"}):
        raise UserError(f"--{other[0]} given with --merge, which takes it from the shards; expected --output alone")
    if "preset" in arguments:
        return merge_preset(arguments["preset"], arguments["output"])
    return f"merged into {merge_shards(arguments['output'], SET_FILE)}"


def _frame_arguments(given: dict) -> dict:
    """Arguments of `render_frames` from the options given. Raises UserError for those that only crops have."""
    for option in ("size", "every", "motion", "masks", "cameras", "upright"):
        if option in given:
            raise UserError(f"--{option} given with --frames, which have none; expected options of frames")
    arguments = {name: value for name, value in given.items() if name not in ("crops", "frames", "frame_size")}
    if "frame_size" in given:
        arguments["size"] = parse_frame_size(given["frame_size"])
    return arguments | {"frames": given["crops"]}


def parse_frame_size(text: str) -> tuple[int, int]:
    """(height, width) of a size such as "228x128", width first. Raises UserError for anything else."""
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() for side in sides):
        raise UserError(f"frame-size is {text!r}; expected width x height in pixels, such as 228x128")
    return int(sides[1]), int(sides[0])


def _parser() -> argparse.ArgumentParser:
    from datasets.rendered.dataset import SPLIT_SUBJECTS, WORLDS, render_dataset
    from datasets.rendered.frames import MOST_PEOPLE
    from datasets.rendered.presets import PRESETS
    from datasets.rendered.scenes.dataset import FRAME_SIZE, render_frames
    from datasets.rendered.wild.sessions import PEOPLE

    people_per_scene = defaults_of(render_frames)["people_per_scene"]
    default = defaults_of(render_dataset)
    subjects = "; ".join(f"{split}: {', '.join(map(str, numbers))}" for split, numbers in SPLIT_SUBJECTS.items())
    # Options that are not given stay out of the namespace: `main` refuses those that a preset fixes, even with their
    # default value, and `render_dataset` fills in the defaults.
    parser = script_parser(__doc__, argument_default=argparse.SUPPRESS)
    add = parser.add_argument
    add("--output", metavar="DIR", required=True, help="folder to write: a new one, or one to resume")
    add("--preset", metavar="NAME", help=f"standard benchmark with all other options fixed: {' or '.join(PRESETS)}")
    add("--crops", type=int, metavar="N", help="number of crops, or of frames, over all cameras")
    worlds = "one room with four upright cameras, or people, rooms, cameras and boxes that differ"
    add("--world", metavar="WORLD", help=f"{' or '.join(WORLDS)}: {worlds} (default: {default['world']})")
    people = f"{PEOPLE['train']}, test: {PEOPLE['test']}; more in large sets"
    add("--people", type=int, metavar="N", help=f"people of the wild world or of frames (default: {people})")
    cameras = "calibration of a recording: the wild world's people stand where its cameras look"
    # Rodrigues vectors, YAML, and TOML in Python 3.10 are read by packages of that extra.
    add("--cameras", metavar="FILE", help=f"{cameras}; most formats need {install_extra('video')}")
    add("--upright", action="store_true", help="of --cameras: roll the crops as prepare_videos.py --upright does")
    add("--frames", action="store_true", help="write full frames of several people (version 2 of the layout)")
    counts = f"0 to {MOST_PEOPLE}, such as 2, 0-3 or 0,1,2,2"
    add("--people-per-scene", metavar="N", help=f"of frames: {counts} (default: {people_per_scene})")
    frame_size = "{1}x{0}".format(*FRAME_SIZE)
    add("--frame-size", metavar="WxH", help=f"of frames, pixels (default: {frame_size})")
    add("--masks", action="store_true", help="write masks of the person too (the wild world always does)")
    add("--size", type=int, metavar="PIXELS", help=f"side of a crop (default: {default['size']})")
    add("--seed", type=int, metavar="N", help=f"seed of motions, clothes and light (default: {default['seed']})")
    add("--split", metavar="SPLIT", help=f"subjects of {subjects} (default: {default['split']})")
    add(
        "--every",
        type=int,
        metavar="N",
        help=f"of the room: use every N-th frame of 10 Hz motions (default: {default['every']})",
    )
    add("--motion", metavar="PATH", help="folder of BVH files, or one file (default: procedural motion)")
    add("--workers", type=int, metavar="N", help="processes (default: one per core)")
    add("--device", metavar="DEVICE", help=f"cpu, or a GPU such as cuda:0 (default: {default['device']})")
    add("--shard", metavar="I/N", help="render part I of N into OUTPUT.shards/I-of-N; with the other options of all")
    add("--merge", action="store_true", help="make the set of all its shards (with --preset: both sets)")
    return parser


if __name__ == "__main__":
    run_script(main)
