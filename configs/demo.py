"""The whole method on rendered people: render, train both stages and a supervised baseline, test, save pictures.

python configs/demo.py [--output DIR]     (`make demo` does this)

Finished steps are kept: an interrupted demo resumes where it stopped. For example, beside an older result:

    python configs/demo.py --output output/demo2
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.command_line import script_parser
from configs.config_demo import DEMO
from configs.config_demo import config_dict as stage1_config
from configs.config_demo_pose import config_dict as stage2_config
from configs.config_demo_supervised import config_dict as supervised_config
from configs.config_test_encodeDecode import config_dict as test_config
from utils.commands import command_for
from utils.errors import run_script
from utils.files import write_text
from utils.locks import writing

if TYPE_CHECKING:
    from training.loop.run_folder import RunFolder
    from training.trained.load import Trained

TRAIN_CROPS, TEST_CROPS = 28_000, 2_400
# Of the motions' 10 frames a second: neighbors look alike, and a small set should hold many different ones.
EVERY = 8


def main(argv: Sequence[str] | None = None) -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--output", metavar="DIR", default=str(DEMO), help="folder of data, runs and pictures")
    output = Path(parser.parse_args(argv).output)
    started = time.perf_counter()
    with writing(output):
        poses, supervised = render_and_train(output)
        with step("4/4 test on unseen subjects, save pictures"):
            trained = open_run(poses)
            text = summary(test(trained, poses), test(open_run(supervised), supervised))
            save_pictures(output, trained)
            write_text(output / "results.md", text + "\n")
    print(f"\n{text}\n\npictures and results.md are in {output}")
    print(f"{(time.perf_counter() - started) / 60:.1f} minutes in total")
    print(f"to look around: {command_for('test_encodeDecode')} network_path={poses.path}")


def render_and_train(output: Path) -> tuple["RunFolder", "RunFolder"]:
    """Render both sets, train both stages and the baseline; return the run folders of stage 2 and of the baseline."""
    from datasets.layout.workers import beside
    from datasets.rendered.dataset import render_dataset
    from training.stages.novel_views import train_novel_views
    from training.stages.pose import train_pose

    folders = {f"dataset_folder_{split}": str(output / split) for split in ("train", "test")}
    folders["output_folder"] = str(output)
    render = partial(render_dataset, size=stage1_config["inputDimension"], every=EVERY)
    test_set = partial(render, output / "test", TEST_CROPS, split="test")
    with step("1/4 render people"):
        render(output / "train", TRAIN_CROPS, split="train")
    with step("2/4 stage 1: novel views, without labels"):
        # One core reads the crops; the other one renders those to test on meanwhile.
        with beside(output / "test.log", partial(test_set, workers=1)):
            views = train_novel_views({**stage1_config, **folders}, resume=True)
        # It is there; or else, whatever kept it from that, it is rendered now.
        test_set()
    baseline = {**supervised_config, **folders}
    with step("3/4 stage 2: poses from 1 % of the labels, encoder frozen; and the same encoder on these labels alone"):
        train_baseline = partial(train_pose, baseline, resume=True)
        with beside(output / "supervised.log", train_baseline) if leaves_cores(baseline) else nullcontext():
            poses = train_pose({**stage2_config, **folders, "network_path": str(views.path)}, resume=True)
        return poses, train_baseline()


def leaves_cores(config: dict) -> bool:
    """Whether two trainings by `config` have enough threads side by side, as those of small crops usually have."""
    import torch

    from training.loop.threads import training_threads

    return 2 * training_threads(config) <= torch.get_num_threads()


def open_run(run: "RunFolder") -> "Trained":
    """A run's trained network, for poses and, where they are trained, novel views."""
    from training.trained.load import open_network

    config = {**test_config, "network_path": str(run.path), "preload_images": True}
    return open_network(config, frozenset({"network_path"}))


def test(trained: "Trained", run: "RunFolder") -> dict[str, float]:
    """Evaluate on the test subjects, with the tables in the run folder; return the scores over all crops."""
    from training.trained.evaluation import evaluate, evaluation_keys
    from training.trained.load import open_test_data

    dataset = open_test_data(trained, evaluation_keys(trained.network))
    return evaluate(trained.network, dataset, trained.config, trained.hardware, run.path)[-1]


def save_pictures(output: Path, trained: "Trained") -> None:
    """Save novel views of test subjects, the viewer's panels, and a gif of a full rotation."""
    import numpy as np

    from training.loop.loaders import VIEW_KEYS
    from training.stages.novel_views import plot_views
    from training.trained.load import open_test_data
    from training.trained.viewing import RotatedView
    from utils.viewer import save

    dataset = open_test_data(trained, VIEW_KEYS, preload_images=False)
    # Two cameras of eight frames, spread over the set; the rows of a frame's four cameras are neighbors.
    rows = np.linspace(0, len(dataset) // 4 - 1, 8).astype(int)[:, None] * 4 + [0, 1]
    plot_views(trained.network, dataset, rows.ravel(), trained.hardware, output / "novel_views.png")
    view = RotatedView(trained.network, dataset, trained.hardware, first=int(rows[2, 0]))
    save(output / "viewer.png", view, len(view))
    save(output / "turn.gif", view, len(view))


def summary(method: Mapping[str, float], supervised: Mapping[str, float]) -> str:
    """The scores over all test crops as Markdown: poses, novel views, and the ratios to the baselines."""
    from training.trained.tables import POSE_SUMMARY, VIEW_SUMMARY, markdown_table

    def line(name: str, scores: Mapping[str, float], columns: Mapping[str, str], prefix: str = "") -> list[str]:
        digits = {"psnr": 1, "psnr_foreground": 1, "ssim": 3}
        return [name, *(f"{scores[prefix + column]:.{digits.get(column, 0)}f}" for column in columns)]

    poses = [
        line("**learned without labels (stage 1 + 2)**", method, POSE_SUMMARY),
        line("supervised: the same encoder trained on these labels alone", supervised, POSE_SUMMARY),
        line("mean pose of the training set", method, POSE_SUMMARY, "mean_pose_"),
    ]
    views = [
        line("**rendered by the network**", method, VIEW_SUMMARY),
        line("background only", method, VIEW_SUMMARY, "background_"),
    ]
    labels = f"1 % of the labels of {TRAIN_CROPS:,} crops, error in mm"
    ratios = [method["n_mpjpe_mm"] / error for error in (supervised["n_mpjpe_mm"], method["mean_pose_n_mpjpe_mm"])]
    return "\n\n".join(
        [
            markdown_table([f"3D pose of unseen subjects, {labels}", *POSE_SUMMARY.values()], poses, left=1),
            markdown_table(["novel views of unseen subjects", *VIEW_SUMMARY.values()], views, left=1),
            f"Ratio to the supervised baseline: {ratios[0]:.2f}; to the mean pose: {ratios[1]:.2f}. "
            f"Novel views: {method['psnr'] - method['background_psnr']:+.1f} dB compared with background only.",
        ]
    )


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print the title of a step, and at its end how long it took."""
    print(f"\n=== {title}", flush=True)
    started = time.perf_counter()
    yield
    print(f"    {(time.perf_counter() - started) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    run_script(main)
