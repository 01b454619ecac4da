"""View or evaluate a trained network of several people in full frames.

python configs/test_detect_encode_decode.py network_path=RUN_FOLDER_OR_WEIGHTS [--config FILE ...]
    [--save FILE.png|FILE.gif|FILE.webp|FILE.mp4] [--index N] [--evaluate] [--device D] [key=value ...]

For example, a scene as a rotating picture, and the scores of a run of your own on its test set:

    python configs/test_detect_encode_decode.py network_path=output/latest --save scene.gif
    python configs/test_detect_encode_decode.py network_path=output/latest --evaluate
"""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import check_tested, config_arguments
from utils.errors import run_script

if TYPE_CHECKING:
    from training.trained.load import Trained
    from training.trained.scene_viewing import SceneView


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help_save = "write a .png, or a .gif, .webp or .mp4 of a full rotation of the people; opens no window"
    parser.add_argument("--save", metavar="FILE", help=help_save)
    help_evaluate = "evaluate boxes, masks, depth order, poses and composed frames on the test set"
    parser.add_argument("--evaluate", action="store_true", help=help_evaluate)
    parser.add_argument("--index", metavar="N", type=int, default=0, help="row of the first image in the test set")


def main() -> None:
    arguments, config, given = config_arguments(__doc__, "config_test_detect_encode_decode", extend=add_arguments)
    check_tested(arguments, config)
    from training.trained.load import open_network
    from utils.viewer import check_save_path

    if arguments.save:
        check_save_path(arguments.save)
    trained = open_network(config, given)
    # Before the evaluation, which may take hours and does not need it.
    view = open_view(trained, arguments.index) if arguments.save or not arguments.evaluate else None
    if arguments.evaluate:
        evaluate_network(trained)
    if view is not None:
        show_view(view, arguments.save)


def evaluate_network(trained: "Trained") -> None:
    """Evaluate on the test set, print a summary, and write the long tables into files."""
    from training.trained.evaluation import label_note
    from training.trained.export import result_folder
    from training.trained.load import open_test_frames
    from training.trained.scene_evaluation import evaluate_scenes
    from training.trained.scene_tables import scene_summary

    network, config, hardware, _ = trained
    folder, dataset = result_folder(config), open_test_frames(trained)
    started = time.perf_counter()
    table = evaluate_scenes(network, dataset, config, hardware, folder)
    seconds = time.perf_counter() - started
    frames = f"{table[-1]['frames']} frames in {seconds:.1f} s ({hardware}), of\n{dataset.root}"
    print(f"\n{scene_summary(table)}\n\n{frames}")
    if note := label_note(dataset):
        print(note)
    print(f"by number of people and by occlusion: evaluation.csv and evaluation.md in\n{folder}")


def open_view(trained: "Trained", first: int) -> "SceneView":
    """What the viewer shows, beginning with row `first` of the test set."""
    from training.trained.load import open_test_frames
    from training.trained.scene_viewing import SceneView

    trained = trained._replace(config={**trained.config, "preload_images": False})
    return SceneView(trained.network, open_test_frames(trained), trained.hardware, first)


def show_view(view: "SceneView", path: str | None) -> None:
    """Show the viewer, or save its panels to `path`."""
    from utils.scene_viewer import SceneViewer
    from utils.viewer import save, show

    if path is None:
        show(view, len(view), panels=SceneViewer)
    else:
        save(path, view, len(view), panels=SceneViewer)
        print(f"written: {path}")


if __name__ == "__main__":
    run_script(main)
