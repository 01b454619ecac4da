"""Evaluation on full frames: a perfect and a blind network, which files and tables it writes, and its laws."""

import numpy as np
import pytest
import torch
from torch import nn

from datasets import FrameDataset
from models import build_network
from models.scene.boxes import left_to_right
from models.scene.network import DetectEncodeDecode
from tests.runs import read_log
from tests.scene_networks import move_boxes
from tests.synthetic_frames import write_synthetic_frames
from tests.trained_scenes import SIZE, scene_network_config
from training.loop.hardware import Hardware
from training.scene_metrics import crops_around
from training.stages.scenes import scene_inputs
from training.trained.scene_evaluation import evaluate_scenes, scene_outputs, see_frames
from training.trained.scene_tables import scene_summary, scene_table, scene_text
from training.trained.scene_viewing import SceneView
from utils.errors import UserError
from utils.images import normalize

SCENES = ((1, 5), (5,), (), (6, 1))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_frames(tmp_path_factory.mktemp("scenes"), SIZE, SCENES, instants=2)


@pytest.fixture(scope="module")
def dataset(data):
    return FrameDataset(data, progress=False)


class Oracle(nn.Module):
    """Outputs what the labels say, with the people of each frame in the order `order`."""

    depths = True
    decoder = pose_decoder = True

    def __init__(self, dataset, order=(0, 1)):
        super().__init__()
        self.batches = {}
        batch = dataset.__getitems__(list(range(len(dataset))))
        for row, place in enumerate(zip(*(batch[key].tolist() for key in ("seq", "frame", "cam")), strict=True)):
            self.batches[place] = {key: values[row] for key, values in batch.items()}
        self.pose_mean, self.order = torch.zeros(51), list(order)

    def denormalize_pose(self, poses):
        return poses

    def forward(self, inputs):
        places = zip(*(inputs[key].tolist() for key in ("seq", "frame", "cam")), strict=True)
        rows = [self.batches[place] for place in places]
        masks = torch.stack([torch.stack([row["mask"] == person + 1 for person in self.order]) for row in rows])
        poses = torch.stack([row["3D"][self.order].view(-1, 17, 3) for row in rows]).nan_to_num()
        boxes = torch.zeros(len(self.order), len(rows), 2, 3)
        boxes[..., 0, 2] = torch.arange(len(self.order))[:, None]  # in the order from left to right
        outputs = {
            "spatial_transformer": boxes,
            "latent_fg": torch.zeros(len(self.order), len(rows), 1),
            "latent_3d": torch.zeros(len(self.order) * len(rows), 1, 3),
            "radiance_normalized": 0.9 * masks.transpose(0, 1)[:, :, None].float(),
            "masks": masks.transpose(0, 1)[:, :, None].float(),
            "ST_depth": torch.stack([row["position"][self.order, 2] for row in rows], dim=1).nan_to_num(),
            "3D": poses,
            "img": normalize(torch.stack([row["img"] for row in rows])),
        }
        return {name: outputs[name] for name in self.output_types}


class CropOracle(Oracle):
    """A perfect network without an image decoder: its boxes are those of crops around people."""

    decoder = None

    def forward(self, inputs):
        outputs = super().forward(inputs)
        places = zip(*(inputs[key].tolist() for key in ("seq", "frame", "cam")), strict=True)
        people = torch.stack([self.batches[place]["box"][self.order] for place in places], dim=1)
        outputs["spatial_transformer"] = boxes = crops_around(people, SIZE).nan_to_num()
        order = left_to_right(boxes).T[..., None, None].expand_as(outputs["3D"])
        return {**outputs, "3D": outputs["3D"].gather(1, order)}


def evaluate(network, dataset, folder=None, **changes):
    config = {"batch_size_test": 4, "every_nth_frame": 1, "num_workers": 0, "preload_images": False}
    config |= {"flip_test": False, **changes}
    return evaluate_scenes(network, dataset, config, Hardware("cpu", "float32"), folder)


def test_a_perfect_network_and_the_order_of_its_boxes(dataset):
    table = evaluate(Oracle(dataset), dataset)
    overall = table[-1]
    assert overall["group"] == "all" and overall["frames"] == len(dataset) == 24
    for name in ("recall", "box_iou", "mask_iou", "depth_order"):
        assert overall[name] == 1, name
    for name in ("missed", "false", "mpjpe_mm", "n_mpjpe_mm", "pa_mpjpe_mm"):
        assert overall[name] == pytest.approx(0, abs=1e-3), name
    assert overall["pairs"] > 0 and overall["mean_pose_mpjpe_mm"] > 100
    assert overall["psnr"] == pytest.approx(100, abs=1) and overall["background_psnr"] < 40
    for name, value in evaluate(Oracle(dataset, order=(1, 0)), dataset, batch_size_test=30)[-1].items():
        assert value == overall[name] if name == "group" else value == pytest.approx(overall[name], abs=1e-4), name


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_boxes_of_a_perfect_network_without_masks_are_crops(dataset, order):
    overall = evaluate(CropOracle(dataset, order), dataset)[-1]
    assert overall["recall"] == 1 and overall["box_iou"] == pytest.approx(1, abs=1e-5)
    # Every box counts as a person, in frames with fewer people, too.
    assert overall["missed"] == 0 and overall["false"] > 0 and "mask_iou" not in overall
    assert overall["mpjpe_mm"] == pytest.approx(0, abs=1e-3) and overall["depth_order"] == 1


def test_a_network_that_sees_nobody(dataset):
    oracle = Oracle(dataset)
    for row in oracle.batches.values():
        row["mask"] = torch.zeros_like(row["mask"])
    overall = evaluate(oracle, dataset)[-1]
    people = np.isfinite(dataset.labels["box"]).all(-1).sum() / len(dataset)
    assert overall["recall"] == overall["mask_iou"] == overall["false"] == 0
    assert overall["missed"] == pytest.approx(people, abs=0.1) and np.isnan(overall["n_mpjpe_mm"])
    assert overall["pairs"] == 0 and np.isnan(overall["depth_order"])


def test_rows_are_by_number_of_people_and_by_occlusion(dataset, tmp_path):
    table = evaluate(Oracle(dataset), dataset, tmp_path / "run")
    groups = [row["group"] for row in table]
    assert {"0 people", "1 person", "2 people", "hidden below 5%"} < set(groups) and groups[-1] == "all"
    counts = [row for row in table if row["group"].endswith(("people", "person"))]
    assert sum(row["frames"] for row in counts) == table[-1]["frames"]
    assert sum(row["people"] for row in counts) == table[-1]["people"]
    hidden = [row for row in table if row["group"].startswith("hidden")]
    assert sum(row["people"] for row in hidden) == table[-1]["people"]
    stored = read_log(tmp_path / "run" / "evaluation.csv")
    assert [row["group"] for row in stored] == groups and float(stored[-1]["recall"]) == 1
    text = (tmp_path / "run" / "evaluation.md").read_text()
    assert text == scene_text(table) and text.count("## ") == 3
    summary = scene_summary(table)
    assert max(map(len, summary.splitlines())) <= 80 and "composed frames" in summary


def test_a_camera_alone_has_no_composed_frame(tmp_path):
    folder = write_synthetic_frames(tmp_path / "one", SIZE, ((1, 5),), instants=2, cameras=1)
    dataset = FrameDataset(folder, progress=False)
    table = evaluate(Oracle(dataset), dataset)
    assert np.isnan(table[-1]["psnr"]) and table[-1]["recall"] == 1 and table[-1]["frames"] == 2
    assert "composed" not in scene_summary(table) and "Composed" not in scene_text(table)


@pytest.mark.parametrize("mode", ["NVS", "pose", "both"])
def test_networks_of_both_stages(dataset, data, mode):
    torch.manual_seed(0)
    network = build_network(scene_network_config(mode, data)).eval()
    move_boxes(network)
    overall = evaluate(network, dataset, every_nth_frame=2)[-1]
    assert np.isfinite(overall["recall"]) and overall["frames"] == 12
    assert ("psnr" in overall) == ("mask_iou" in overall) == (mode != "pose")
    assert ("mpjpe_mm" in overall) == (mode != "NVS")
    flipped = evaluate(network, dataset, every_nth_frame=2, flip_test=True)[-1]
    assert flipped.keys() == overall.keys() and flipped["box_iou"] != overall["box_iou"]
    assert not network.flip_test


def test_what_cannot_be_evaluated(data, dataset):
    network = build_network(scene_network_config("both", data)).eval()
    nowhere = FrameDataset(data, keys=("img", "bg", "subj", "extrinsic_rot_inv", "3D"), progress=False)
    with pytest.raises(UserError, match="neither boxes nor masks"):
        evaluate(network, nowhere)
    views = build_network(scene_network_config("NVS", data)).eval()
    overall = evaluate(views, nowhere, every_nth_frame=2)[-1]
    assert np.isfinite(overall["psnr"]) and "recall" not in overall
    with torch.no_grad():
        network.detector.fc.bias.fill_(torch.nan)
    with pytest.raises(UserError, match="box contains NaN"):
        evaluate(network, dataset)


def test_frames_without_labels_have_their_composed_frames(tmp_path):
    folder = write_synthetic_frames(tmp_path / "two", SIZE, ((1, 5),), instants=2, cameras=2)
    keys = ("img", "bg", "subj", "extrinsic_rot_inv")
    unlabeled, network = FrameDataset(folder, keys=keys, progress=False), scene_network_config("both", folder)
    overall = evaluate(build_network(network).eval(), unlabeled)[-1]
    assert np.isfinite(overall["psnr"]) and not {"recall", "mpjpe_mm"} & set(overall)
    assert "composed frames" in scene_summary([overall])
    poses = build_network(scene_network_config("pose", folder)).eval()
    alone = write_synthetic_frames(tmp_path / "one", SIZE, ((1, 5),), instants=2, cameras=1)
    for nothing, of in ((poses, unlabeled), (build_network(network).eval(), FrameDataset(alone, keys=keys))):
        with pytest.raises(UserError, match="neither boxes nor masks"):
            evaluate(nothing, of)


@pytest.mark.parametrize("flip_test", [False, True])
def test_frames_are_seen_once(dataset, data, flip_test, monkeypatch):
    network = build_network(scene_network_config("both", data)).eval()
    move_boxes(network)
    inputs = scene_inputs(dataset.__getitems__(range(4)))
    network.flip_test = flip_test
    with torch.no_grad():
        seen, target = see_frames(network, inputs), torch.tensor([1, 0, 3, 2])
        expected = scene_outputs(network, inputs, ["img", "masks"], target)
        monkeypatch.setattr(network, "encode", None)
        monkeypatch.setattr(network, "detect", None)
        outputs = scene_outputs(network, {**inputs, "seen": seen}, ["img", "masks"], target)
        for name, values in expected.items():
            torch.testing.assert_close(outputs[name], values)
        with pytest.raises(UserError, match="output_types has '3D', which 'seen' does not tell"):
            scene_outputs(network, {**inputs, "seen": seen}, ["3D"], target)


def test_an_evaluation_encodes_frames_once(dataset, data, monkeypatch):
    calls, encode = [], DetectEncodeDecode.encode
    monkeypatch.setattr(DetectEncodeDecode, "encode", lambda *values: calls.append(1) or encode(*values))
    network = build_network(scene_network_config("both", data)).eval()
    evaluate(network, dataset, batch_size_test=48)
    assert len(calls) == 1
    view = SceneView(network, dataset, Hardware("cpu"))
    first, second = view(0, 0.3), view(0, 1.3)
    assert len(calls) == 2 and not np.array_equal(first.output_image, second.output_image)


def test_means_of_a_table_by_hand():
    table = scene_table(
        {"people": np.array([1, 2]), "occlusion": np.array([0.0, 0.6]), "missed": np.array([0.0, 1.0])},
        {
            "people": np.array([1, 2, 2]),
            "occlusion": np.array([0.0, 0.0, 0.6]),
            "box_iou": np.array([0.8, 0.4, 0.0]),
        },
        {"people": np.array([2]), "occlusion": np.array([0.6]), "depth_order": np.array([1.0])},
    )
    rows = {row["group"]: row for row in table}
    assert rows["2 people"]["box_iou"] == pytest.approx(0.2) and rows["1 person"]["missed"] == 0
    assert rows["hidden below 5%"]["box_iou"] == pytest.approx(0.6) and rows["hidden above 50%"]["box_iou"] == 0
    assert rows["all"]["missed"] == 0.5 and rows["all"]["pairs"] == 1 and np.isnan(rows["1 person"]["depth_order"])
    assert "hidden 5% to 50%" not in rows
