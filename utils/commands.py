"""The project's commands: `geometry-aware-pose NAME` runs a script of configs/."""

import sys
from typing import NamedTuple

from utils.paths import IN_CHECKOUT

PROGRAM = "geometry-aware-pose"


class Command(NamedTuple):
    script: str
    summary: str
    arguments: tuple[str, ...] = ()  # come before the user's


class MethodScripts(NamedTuple):
    stage2: str  # it has all of the method's keys
    test: str


#: The scripts of each method that go on from stage 1 and from stage 2.
METHOD_SCRIPTS = {
    "geometry_aware": MethodScripts("train_encodeDecode_pose", "test_encodeDecode"),
    "scene": MethodScripts("train_detect_encode_decode_pose", "test_detect_encode_decode"),
}
COMMANDS = {
    "demo": Command("demo", "render people, train both stages, evaluate; 10 to 25 minutes on two CPU cores"),
    "train": Command("train_encodeDecode", "stage 1: learn novel views from multi-view video, without labels"),
    "pose": Command("train_encodeDecode_pose", "stage 2: learn 3D poses from few labels on stage 1's features"),
    "test": Command("test_encodeDecode", "measure a trained network's poses and novel views", ("--evaluate",)),
    "view": Command("test_encodeDecode", "rotate people of the test set in a window, or save pictures"),
    "train-scenes": Command(
        "train_detect_encode_decode", "stage 1 of several people: learn novel views of full frames, without labels"
    ),
    "pose-scenes": Command("train_detect_encode_decode_pose", "stage 2 of several people: 3D poses from few labels"),
    "test-scenes": Command(
        "test_detect_encode_decode", "measure what a trained network finds in full frames", ("--evaluate",)
    ),
    "view-scenes": Command("test_detect_encode_decode", "look at scenes of several people, or save pictures"),
    "browse": Command("view_in_browser", "look at people in a browser, in 3D, or write a page of them"),
    "browse-scenes": Command("view_in_browser", "look at scenes of several people in a browser", ("--scenes",)),
    "export": Command("export_weights", "write a trained network to one small file"),
    "calibrate-trust": Command("calibrate_trust", "let a trained network say how far to trust each of its poses"),
    "estimate": Command("estimate_poses", "poses from videos and pictures: npz, CSV, TRC, C3D, BVH and an mp4"),
    "coverage": Command("coverage", "measure how near the poses of one set are to those of another"),
    "experiments": Command("experiments", "run a suite of trainings and write its report"),
    "render": Command("render_dataset", "render a training set of procedurally animated people"),
    "prepare-h36m": Command("prepare_h36m", "convert Human3.6M to the training layout"),
    "prepare-3dhp": Command("prepare_3dhp", "convert MPI-INF-3DHP to the training layout"),
    "prepare-ski": Command("prepare_ski", "convert the Ski-Pose PTZ-Camera dataset to the training layout"),
    "prepare-videos": Command("prepare_videos", "convert your own synchronized, calibrated videos"),
    "calibrate-cameras": Command("calibrate_cameras", "calibrate cameras with a chessboard or ChArUco board"),
    "synchronize": Command("synchronize_videos", "find the offsets between videos from people's motion or from sound"),
    "validate": Command("validate_dataset", "check a folder in the training layout"),
    "pack": Command("pack_dataset", "pack the images of a training layout into one file per kind, for speed"),
}


def as_started(text: str) -> str:
    """A script's docstring, which its --help shows, with the command in place of the script if that was started."""
    program, _, name = sys.argv[0].partition(" ") if sys.argv else ("", "", "")
    if program != PROGRAM:
        return text
    script = COMMANDS[name].script
    text = text.replace(f"python configs/{script}.py", f"{PROGRAM} {name}")
    return text.replace(f"configs/{script}.py", f"-m geometry_aware_pose {name}")  # after torchrun


def install_extra(name: str) -> str:
    """How a user installs an extra of setup here, for messages about missing packages."""
    return f'pip install -e ".[{name}]"' if IN_CHECKOUT else f'pip install "{PROGRAM}[{name}]"'


def command_for(script: str, *arguments: str) -> str:
    """How a user starts configs/<script>.py here, for messages: a checkout's script, or the installed command."""
    if IN_CHECKOUT:
        return " ".join(["python", f"configs/{script}.py", *arguments])
    (name,) = (name for name, command in COMMANDS.items() if (command.script, command.arguments) == (script, arguments))
    return f"{PROGRAM} {name}"
