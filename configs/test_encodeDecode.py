"""View or evaluate a trained network. Without arguments, view the packaged example.

python configs/test_encodeDecode.py [--config FILE ...] [--save FILE.png|.gif|.webp|.mp4] [--index N] [--evaluate]
                                    [--fuse] [--poses FILE.npz|FILE.csv] [--no-trust] [--skip-shifted]
                                    [--nuisances] [--photographs DIR] [--device D]
                                    [network_path=RUN_FOLDER_OR_WEIGHTS] [key=value ...]

For example, the packaged network as a rotating picture, and the errors of a run of your own on its test set:

    python configs/test_encodeDecode.py --save rotated.gif
    python configs/test_encodeDecode.py --evaluate --nuisances network_path=output/latest
"""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import check_tested, config_arguments
from utils.commands import command_for
from utils.errors import UserError, run_script

if TYPE_CHECKING:
    from training.trained.load import Trained
    from training.trained.viewing import RotatedView


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help_save = "write a .png, or a full rotation as .gif, .webp or .mp4; opens no window"
    parser.add_argument("--save", metavar="FILE", help=help_save)
    parser.add_argument("--evaluate", action="store_true", help="evaluate poses and novel views on the test set")
    help_shifted = "with --evaluate: leave out S9's shifted sequences (Human3.6M)"
    parser.add_argument("--skip-shifted", action="store_true", help=help_shifted)
    help_fuse = "with --evaluate: also fuse the cameras of each instant, weighted by trust, agreement and depth"
    parser.add_argument("--fuse", action="store_true", help=help_fuse)
    help_poses = "with --evaluate: write every pose and its trust, with --fuse also fused poses in the world frame"
    parser.add_argument("--poses", metavar="FILE", help=help_poses)
    help_trust = "do not judge poses, which takes three more encodings of each crop"
    parser.add_argument("--no-trust", dest="trust", action="store_false", help=help_trust)
    help_nuisances = (
        "with --evaluate: also poses of crops with shifted boxes, other backgrounds, noise, ..., in nuisances.*"
    )
    parser.add_argument("--nuisances", action="store_true", help=help_nuisances)
    help_photographs = "pictures for backgrounds of --nuisances (default: some in scikit-learn and scikit-image)"
    parser.add_argument("--photographs", metavar="DIR", help=help_photographs)
    parser.add_argument("--index", metavar="N", type=int, default=0, help="row of the first image in the test set")


def main() -> None:
    arguments, config, given = config_arguments(__doc__, "config_test_encodeDecode", extend=add_arguments)
    check_tested(arguments, config)
    from training.trained.load import open_network
    from training.trained.poses_file import check_poses_path
    from training.trained.robustness import check_nuisances
    from utils.viewer import check_save_path

    if (arguments.nuisances and not arguments.evaluate) or (arguments.photographs and not arguments.nuisances):
        raise UserError("--nuisances needs --evaluate, and --photographs needs --nuisances")
    needing = arguments.fuse or arguments.poses or not arguments.trust or arguments.skip_shifted
    if needing and not arguments.evaluate:
        raise UserError("--fuse, --poses, --no-trust and --skip-shifted need --evaluate")
    if arguments.poses:
        check_poses_path(arguments.poses)
    if arguments.save:
        check_save_path(arguments.save)
    trained = open_network(config, given)
    # An evaluation may take hours: what the options ask for after it is checked before it.
    if arguments.nuisances:
        check_nuisances(trained.network, arguments.photographs)
    view = open_view(trained, arguments.index) if arguments.save or not arguments.evaluate else None
    if arguments.evaluate:
        evaluate_network(trained, arguments)
    if arguments.nuisances:
        evaluate_robustness(trained, arguments)
    if view is not None:
        show_view(view, arguments.save)


def evaluate_network(trained: "Trained", arguments: argparse.Namespace) -> None:
    """Evaluate on the test set, print a summary, and write the long tables into files."""
    from training.trained.evaluation import evaluate, evaluation_keys, label_note
    from training.trained.export import result_folder
    from training.trained.load import open_test_data
    from training.trained.tables import summary_text

    network, config, hardware, _ = trained
    folder = result_folder(config)
    dataset = open_test_data(trained, evaluation_keys(network))
    options = {"fuse": arguments.fuse, "trust": arguments.trust, "poses_file": arguments.poses}
    started = time.perf_counter()
    overall = evaluate(network, dataset, config, hardware, folder, arguments.skip_shifted, **options)[-1]
    seconds = time.perf_counter() - started
    print(f"\n{summary_text(overall)}\n\n{overall['crops']} crops in {seconds:.1f} s ({hardware}), of\n{dataset.root}")
    if note := label_note(dataset):
        print(note)
    if "3D" in network.output_types and network.trust is None:
        print(f"no trust: run {command_for('calibrate_trust')} network_path={config['network_path']}")
    print(f"tables per subject and motion: evaluation.csv and evaluation.md in\n{folder}")


def evaluate_robustness(trained: "Trained", arguments: argparse.Namespace) -> None:
    """Evaluate the poses of clean and of changed crops, print the matrix, and write it into files."""
    from training.trained.export import result_folder
    from training.trained.load import open_test_data
    from training.trained.robustness import evaluate_nuisances, robustness_text

    network, config, hardware, _ = trained
    folder = result_folder(config)
    dataset = open_test_data(trained, ("img_crop", "3D"), masks=True)
    options = {"photographs": arguments.photographs, "skip_shifted": arguments.skip_shifted}
    print(f"\n{robustness_text(evaluate_nuisances(network, dataset, config, hardware, folder, **options))}")
    print(f"also in nuisances.csv and nuisances.md, with examples in nuisances.png, in\n{folder}")


def open_view(trained: "Trained", first: int) -> "RotatedView":
    """What the viewer shows, beginning with row `first` of the test set."""
    from training.trained.load import open_test_data
    from training.trained.viewing import RotatedView, viewing_keys

    dataset = open_test_data(trained, viewing_keys(trained.network), preload_images=False)
    return RotatedView(trained.network, dataset, trained.hardware, first)


def show_view(view: "RotatedView", path: str | None) -> None:
    """Show the viewer, or save its panels to `path`."""
    from utils.viewer import save, show

    if path is None:
        show(view, len(view))
    else:
        save(path, view, len(view))
        print(f"written: {path}")


if __name__ == "__main__":
    run_script(main)
