"""Everything at once on rendered people: render, train both stages, evaluate, paint pictures.

python configs/demo.py [--output DIR]     (`make demo` does this)
Whatever is finished is kept, and an interrupted demo goes on where it stopped.
"""

import argparse
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.config_demo import DEMO
from configs.config_demo import config_dict as stage1_config
from configs.config_demo_pose import config_dict as stage2_config
from configs.config_demo_supervised import config_dict as supervised_config
from configs.config_test_encodeDecode import config_dict as test_config
from utils.commands import command_for
from utils.errors import run_script

TRAIN_CROPS, TEST_CROPS = 28_000, 2_400
EVERY = 8  # instants of the 10 Hz motions; neighbours are alike, and a small set should hold many different ones


def main() -> None:
    about, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=about, epilog=usage)
    parser.add_argument("--output", metavar="DIR", default=str(DEMO), help=f"default: {DEMO}")
    output = Path(parser.parse_args().output)
    started = time.perf_counter()
    poses, supervised = render_and_train(output)
    with step("5/5 testing on unseen subjects, painting pictures"):
        text = summary(test(poses), test(supervised))
        paint(output, poses)
        (output / "results.md").write_text(text + "\n")
    print(f"\n{text}\n\npictures and results.md are in {output}")
    print(f"{(time.perf_counter() - started) / 60:.1f} minutes in all")
    print(f"look around: {command_for('test_encodeDecode')} network_path={poses.path}")


def render_and_train(output: Path) -> tuple:
    """Render both sets, train stage 1, stage 2 and the comparison; return the run folders of the last two."""
    from datasets.rendered.dataset import render_dataset
    from training.stages.novel_views import train_novel_views
    from training.stages.pose import train_pose

    folders = {
        "dataset_folder_train": str(output / "train"),
        "dataset_folder_test": str(output / "test"),
        "output_folder": str(output),
    }
    size = stage1_config["inputDimension"]
    with step("1/5 rendering people"):
        render_dataset(output / "train", TRAIN_CROPS, size, split="train", every=EVERY)
        render_dataset(output / "test", TEST_CROPS, size, split="test", every=EVERY)
    with step("2/5 stage 1: novel views, without labels"):
        views = train_novel_views({**stage1_config, **folders}, resume=True)
    with step("3/5 stage 2: poses from 1 % of the labels, encoder frozen"):
        poses = train_pose({**stage2_config, **folders, "network_path": str(views.path)}, resume=True)
    with step("4/5 for comparison: the same encoder trained on these labels alone"):
        supervised = train_pose({**supervised_config, **folders}, resume=True)
    return poses, supervised


def open_run(run):
    """A run's trained network, for poses and, where they are trained, novel views."""
    from training.trained.load import open_network

    config = {**test_config, "network_path": str(run.path), "preload_images": True}
    return open_network(config, frozenset({"network_path"}))


def test(run) -> dict[str, float]:
    """Evaluate a run on the test subjects; return the scores over all of them."""
    from training.trained.evaluation import evaluate, evaluation_keys
    from training.trained.load import open_test_data

    trained = open_run(run)
    dataset = open_test_data(trained, evaluation_keys(trained.network))
    return evaluate(trained.network, dataset, trained.config, trained.hardware, run.path)[-1]


def paint(output: Path, run) -> None:
    """Novel views of test subjects, the viewer's panels, and a turning gif."""
    from training.stages.novel_views import plot_views
    from training.trained.load import open_test_data
    from training.trained.viewing import VIEW_KEYS, RotatedView
    from utils.viewer import save

    trained = open_run(run)
    network, hardware = trained.network, trained.hardware
    dataset = open_test_data(trained, VIEW_KEYS, preload_images=False)
    rows = np.linspace(0, len(dataset) // 4 - 1, 8).astype(int)[:, None] * 4 + [0, 1]
    plot_views(network, dataset, rows.ravel(), hardware, output / "novel_views.png")
    view = RotatedView(network, dataset, hardware, first=int(rows[2, 0]))
    save(output / "viewer.png", view, len(view))
    save(output / "turn.gif", view, len(view))


def summary(ours: dict[str, float], supervised: dict[str, float]) -> str:
    """The figures that the README states, as Markdown."""
    labels = f"1 % of the labels of {TRAIN_CROPS:,} crops"
    lines = [
        f"| 3D pose of unseen subjects, {labels} | N-MPJPE | MPJPE | PA-MPJPE (mm) |",
        "| --- | ---: | ---: | ---: |",
        _pose_line("features learned without labels (stage 1 + 2)", ours, ""),
        _pose_line("the same encoder trained on these labels alone", supervised, ""),
        _pose_line("mean pose of the training set", ours, "mean_pose_"),
        "",
        "| novel views of unseen subjects | PSNR | of the person | SSIM |",
        "| --- | ---: | ---: | ---: |",
        _view_line("painted by the network", ours, ""),
        _view_line("copy of the background", ours, "background_"),
        "",
        f"N-MPJPE over supervised: {ours['n_mpjpe_mm'] / supervised['n_mpjpe_mm']:.2f}; "
        f"over mean pose: {ours['n_mpjpe_mm'] / ours['mean_pose_n_mpjpe_mm']:.2f}; "
        f"novel views: {ours['psnr'] - ours['background_psnr']:+.1f} dB over the background.",
    ]
    return "\n".join(lines)


def _pose_line(name: str, row: dict[str, float], prefix: str) -> str:
    values = (row[f"{prefix}{metric}_mm"] for metric in ("n_mpjpe", "mpjpe", "pa_mpjpe"))
    return " | ".join([f"| {name}", *(f"{value:.0f}" for value in values)]) + " |"


def _view_line(name: str, row: dict[str, float], prefix: str) -> str:
    values = [row[f"{prefix}{metric}"] for metric in ("psnr", "psnr_foreground", "ssim")]
    return f"| {name} | {values[0]:.1f} dB | {values[1]:.1f} dB | {values[2]:.3f} |"


@contextmanager
def step(title: str):
    """Announce a step, and say how long it took."""
    print(f"\n=== {title}", flush=True)
    started = time.perf_counter()
    yield
    print(f"    {(time.perf_counter() - started) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    run_script(main)
