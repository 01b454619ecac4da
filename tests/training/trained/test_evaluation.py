"""Evaluation: a network that knows the truth has no error, one that copies the background ties with it."""

import shutil

import h5py
import numpy as np
import pytest
import torch

from datasets.reader import MultiViewDataset
from tests.runs import read_log
from tests.synthetic import write_synthetic_layout
from training.loop.hardware import Hardware
from training.trained.evaluation import evaluate, evaluation_keys, motion_names
from training.trained.tables import summary_text, table_text
from utils.errors import UserError

CONFIG = {"batch_size_test": 10, "every_nth_frame": 1, "num_workers": 0, "preload_images": True, "flip_test": False}
CPU = Hardware("cpu", "float32")


@pytest.fixture(scope="module", params=[4, 3], ids=["four cameras", "three cameras"])
def layout(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("layout")
    return write_synthetic_layout(root / "set", size=32, subjects=(9, 11), instants=5, cameras=request.param)


class Stub(torch.nn.Module):
    """Gives poses and images that `answer(input_dict)` makes; the images in the frame of the target crops."""

    trust = None
    center_targets = False

    def __init__(self, answer, output_types=("3D", "img_crop")):
        super().__init__()
        self.answer, self.output_types = answer, output_types
        self.register_buffer("pose_mean", torch.full((51,), 0.1))
        self.register_buffer("pose_std", torch.full((51,), 2.0))
        self.targets = []

    def __deepcopy__(self, memo):
        return self  # the evaluation works on a copy; what that was asked is looked at here

    def forward(self, input_dict):
        self.targets.append(input_dict["shuffled_pose"])
        return {name: self.answer(name, input_dict) for name in self.output_types}

    def denormalize_pose(self, normalized):
        return normalized * self.pose_std + self.pose_mean

    def truth(self, name, input_dict):
        return (input_dict["3D"] - self.pose_mean) / self.pose_std if name == "3D" else input_dict["img_crop"]


def run(network, layout, folder=None, **changed):
    dataset = MultiViewDataset(layout, evaluation_keys(network))
    return evaluate(network, dataset, {**CONFIG, **changed}, CPU, folder)


def test_the_truth_has_no_error(layout, tmp_path):
    network = Stub(None)
    network.answer = network.truth
    table = run(network, layout, tmp_path / "run")
    overall = table[-1]
    for name in ("mpjpe_mm", "n_mpjpe_mm", "n_mpjpe_published_mm", "pa_mpjpe_mm"):
        assert overall[name] == pytest.approx(0, abs=1e-2)
        assert overall[f"mean_pose_{name}"] > 50
    assert overall["psnr"] == pytest.approx(100) and overall["ssim"] == pytest.approx(1)
    assert overall["background_psnr"] < 40 and overall["background_ssim"] < 0.99
    assert overall["background_psnr_foreground"] < overall["background_psnr"]
    written = read_log(tmp_path / "run" / "evaluation.csv")
    assert len(written) == len(table) and float(written[-1]["psnr"]) == pytest.approx(100)
    assert "| all " in (tmp_path / "run" / "evaluation.md").read_text()
    assert not [*(tmp_path / "run").glob("*.tmp"), *(tmp_path / "run").glob("*.part")]


def test_shifted_sequences_can_be_left_out(layout, tmp_path):
    network = Stub(None)
    network.answer = network.truth
    dataset = MultiViewDataset(shutil.copytree(layout, tmp_path / "set"), evaluation_keys(network))
    with pytest.raises(UserError, match=r"labels.h5 has no 'shifted'; expected a set that prepare_h36m.py made"):
        evaluate(network, dataset, CONFIG, CPU, skip_shifted=True)
    with h5py.File(tmp_path / "set" / "labels.h5", "a") as file:
        file["shifted"] = (file["subj"][()].reshape(-1) == 9).astype(np.int8)
    dataset = MultiViewDataset(tmp_path / "set", evaluation_keys(network))
    marked, everything = (evaluate(network, dataset, CONFIG, CPU, skip_shifted=skip) for skip in (True, False))
    assert {row["subject"] for row in marked} == {"11", "all"}
    assert marked[-1]["crops"] == (dataset.labels["subj"] == 11).sum() < everything[-1]["crops"] == len(dataset)


def test_every_crop_counts_once_and_is_rendered_from_another_camera(layout):
    network = Stub(None)
    network.answer = network.truth
    table = run(network, layout)
    labels = MultiViewDataset(layout, ()).labels
    assert [(row["subject"], row["motion"]) for row in table] == [
        (subject, motion) for subject in ("9", "11", "all") for motion in ("reaching", "walking", "all")
    ]
    assert table[-1]["crops"] == labels.num_rows == sum(row["crops"] for row in table if row["motion"] == "reaching")
    assert network.targets
    for target in network.targets:
        assert torch.equal(target, torch.arange(len(target)).view(-1, 2).flip(1).flatten())


def test_views_are_compared_with_centered_targets_where_a_network_was_taught_so(layout):
    seen = []

    def answer(name, inputs):
        seen.append(inputs)
        return network.truth(name, inputs)

    network = Stub(answer)
    network.center_targets = True
    overall = run(network, layout)[-1]
    assert overall["psnr"] == pytest.approx(100) and overall["mpjpe_mm"] < 1e-3
    assert all(not torch.equal(inputs["img_crop"], inputs["input_crop"]) for inputs in seen)
    # What the views are compared with has changed, and so has the score of the bare background.
    network.center_targets = False
    assert run(network, layout)[-1]["background_psnr"] != overall["background_psnr"]


def test_copying_the_background_ties_with_the_background(layout):
    network = Stub(lambda name, inputs: inputs["bg_crop"], ("img_crop",))
    overall = run(network, layout)[-1]
    assert "mpjpe_mm" not in overall
    for name in ("psnr", "ssim", "psnr_foreground"):
        assert overall[name] == overall[f"background_{name}"]


def test_the_mean_pose_ties_with_the_mean_pose(layout):
    network = Stub(lambda name, inputs: torch.zeros_like(inputs["3D"]), ("3D",))
    overall = run(network, layout)[-1]
    assert "psnr" not in overall
    assert overall["n_mpjpe_mm"] == overall["mean_pose_n_mpjpe_mm"]
    assert overall["n_mpjpe_published_mm"] == pytest.approx(overall["n_mpjpe_mm"] * 17 / 16)


def test_batch_size_does_not_change_the_numbers(layout):
    network = Stub(lambda name, inputs: torch.sin(inputs["3D"]) if name == "3D" else 0.9 * inputs["img_crop"])
    first, second = (run(network, layout, batch_size_test=size)[-1] for size in (2, 64))
    assert first == pytest.approx(second)


def test_every_nth_frame_thins(layout):
    network = Stub(lambda name, inputs: torch.sin(inputs["3D"]), ("3D",))
    whole, thinned = (run(network, layout, every_nth_frame=n)[-1]["crops"] for n in (1, 2))
    assert thinned == whole * 3 // 5


@pytest.mark.parametrize("output", ["3D", "img_crop"])
def test_nan_is_an_error_and_writes_nothing(layout, tmp_path, output):
    network = Stub(lambda name, inputs: torch.full_like(inputs[name], torch.nan), (output,))
    with pytest.raises(UserError, match="NaN"):
        run(network, layout, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_single_camera_has_poses_but_no_novel_views(tmp_path):
    layout = write_synthetic_layout(tmp_path / "set", size=32, subjects=(9,), instants=3, cameras=1)
    network = Stub(None)
    network.answer = network.truth
    table = run(network, layout)
    assert table[-1]["crops"] == 6 and table[-1]["mpjpe_mm"] == pytest.approx(0, abs=1e-2)
    assert np.isnan(table[-1]["psnr"]) and "| - " in table_text(table).replace("  ", "")
    assert "3D pose" in summary_text(table[-1]) and "novel views" not in summary_text(table[-1])
    with pytest.raises(UserError, match=r"no instant of .*set' has two cameras; expected some, since this network has"):
        run(Stub(network.truth, ("img_crop",)), layout, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_without_motion_names_sequences_are_named(layout):
    dataset = MultiViewDataset(layout, ())
    assert set(motion_names(dataset)) == {"walking", "reaching"}
    dataset.labels = {"seq": np.array([3, 3, 12])}
    assert motion_names(dataset).tolist() == ["seq 3", "seq 3", "seq 12"]
