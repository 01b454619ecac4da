"""Crops of the people whom a detector finds in frames."""

import numpy as np
import pytest
import torch

from datasets import FrameDataset, MultiViewDataset
from models import build_network
from models.scene.boxes import box_matrices
from tests.scene_networks import SMALL
from tests.synthetic import ring_cameras
from tests.synthetic_frames import write_synthetic_frames
from training.loop.hardware import Hardware
from training.trained import scene_crops
from training.trained.scene_crops import KEYS, Group, crop_people, empty_boxes, follow, group_boxes
from utils.errors import UserError

PEOPLE = np.array([[0.6, 0.2, 0.9], [-0.5, -0.3, 1.1], [0.0, 0.9, 0.8]])


def _rays(people: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rays (K,C,3) from cameras (C,3) through people (K,3), in each camera in the order (C,K)."""
    _, centers = ring_cameras(order.shape[0])
    rays = people[None] - centers[:, None]
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return np.take_along_axis(rays, order[..., None], 1).swapaxes(0, 1), centers


def test_boxes_are_grouped_by_the_people_whose_rays_they_are():
    order = np.array([np.random.default_rng(camera).permutation(3) for camera in range(4)])
    rays, centers = _rays(PEOPLE, order)
    rays += np.random.default_rng(0).normal(0, 0.01, rays.shape)
    groups = group_boxes(rays, centers, np.ones((3, 4), bool))
    assert len(groups) == 3
    for group in groups:
        person = np.linalg.norm(PEOPLE - group.point, axis=1).argmin()
        assert [order[camera, box] for camera, box in enumerate(group.boxes)] == [person] * 4
        np.testing.assert_allclose(group.point, PEOPLE[person], atol=0.1)


def test_no_person_where_rays_miss_boxes_are_empty_or_two_are_one():
    order = np.tile(np.arange(2), (4, 1))
    rays, centers = _rays(PEOPLE[:2], order)
    there = np.ones((2, 4), bool)
    there[1, 2] = False
    assert [group.boxes for group in group_boxes(rays, centers, there)] == [(0, 0, 0, 0)]
    crossed = rays.copy()
    crossed[1, 2] = -crossed[1, 2]
    assert len(group_boxes(crossed, centers, np.ones((2, 4), bool))) == 1
    same, centers = _rays(PEOPLE[[0, 0]] + [[0, 0, 0], [0, 0, 0.1]], order)
    assert len(group_boxes(same, centers, np.ones((2, 4), bool))) == 1
    assert group_boxes(rays, centers, np.zeros((2, 4), bool)) == []


def test_too_many_boxes_and_cameras_are_one_line():
    with pytest.raises(UserError, match="6 boxes in 8 cameras: expected at most"):
        group_boxes(np.ones((6, 8, 3)), np.ones((8, 3)), np.ones((6, 8), bool))


def test_empty_boxes_are_one_of_each_camera():
    empty = np.array([[True, False, True], [True, True, True]])
    assert [group.boxes for group in empty_boxes(empty)] == [(0, 1, 0)]
    assert empty_boxes(empty & [[False], [False]]) == []


def test_people_keep_their_numbers_while_they_walk_and_nobody_is_somebody_else():
    at = np.arange(3)

    def group(x: float, empty: bool = False) -> Group:
        return Group((0, 0, 0), np.full(3, np.nan if empty else x), empty)

    instants = [[group(0.0), group(3.0)], [group(3.1), group(0.1)], [group(0.2), group(0, empty=True)], [group(9.0)]]
    tracks = follow((at, groups) for groups in instants)
    found = [[float(one.point[0]) for _, one in track] for track in tracks]
    np.testing.assert_equal(found, [[0.0, 0.1, 0.2], [3.0, 3.1], [np.nan], [9.0]])


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return write_synthetic_frames(tmp_path_factory.mktemp("crops") / "set", scenes=((1, 5), (5, 1), (6,)))


@pytest.fixture
def network():
    config = {**SMALL, "fullFrameResolution": [64, 48], "square_boxes": True, "detector_background": True}
    return build_network(config).eval()


def _find(dataset, labels, monkeypatch):
    """Let the network find everybody where the labels say."""
    height, width = dataset.size

    def look(network, data, rows, hardware):
        box = torch.from_numpy(np.asarray(labels["box"][rows])).movedim(1, 0)
        side = torch.nan_to_num(box[..., 3:], 4.0)
        center = torch.where(box[..., :1].isnan(), 4.0, box[..., :2] + box[..., 2:] / 2)
        scale = torch.tensor([width - 1, height - 1])
        boxes = box_matrices((side / scale).float(), (center / scale * 2 - 1).float())
        monkeypatch.setattr(network, "detect", lambda frames, backgrounds: (boxes, None))
        return original(network, data, rows, hardware)

    original = scene_crops.look
    monkeypatch.setattr(scene_crops, "look", look)


def test_everybody_becomes_a_sequence_with_crops_of_all_cameras(frames, network, tmp_path, monkeypatch):
    dataset = FrameDataset(frames, KEYS)
    labels = FrameDataset(frames).labels
    _find(dataset, labels, monkeypatch)
    counts = crop_people(network, dataset, tmp_path / "crops", Hardware("cpu", "float32"))
    crops = MultiViewDataset(tmp_path / "crops", keys=("img_crop", "bg_crop", "extrinsic_rot", "extrinsic_rot_inv"))
    assert counts.crops == len(crops) and crops.size == network.size
    ids = crops.labels
    # As many views of each instant as there are cameras, and rotations that are rotations.
    views = np.unique(np.stack([ids["seq"], ids["frame"]], 1), axis=0, return_counts=True)[1]
    assert (views == len(np.unique(labels["cam"]))).all()
    rotation = ids["extrinsic_rot"]
    np.testing.assert_allclose(
        rotation @ ids["extrinsic_rot_inv"], np.broadcast_to(np.eye(3), rotation.shape), atol=1e-5
    )
    batch = crops.__getitems__(np.arange(len(crops)))
    somebody = (batch["img_crop"] != batch["bg_crop"]).any(1).float().mean((1, 2))
    assert (somebody > 0.05).sum() >= 0.8 * len(crops)


def test_what_was_interrupted_goes_on(frames, network, tmp_path, monkeypatch):
    dataset = FrameDataset(frames, KEYS)
    _find(dataset, FrameDataset(frames).labels, monkeypatch)
    whole = crop_people(network, dataset, tmp_path / "whole", Hardware("cpu", "float32"))
    add, written = scene_crops.LayoutWriter.add, []

    def stop(self, *arguments):
        if written:
            raise KeyboardInterrupt
        written.append(add(self, *arguments))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(scene_crops.LayoutWriter, "add", stop)
        crop_people(network, dataset, tmp_path / "parts", Hardware("cpu", "float32"))
    assert crop_people(network, dataset, tmp_path / "parts", Hardware("cpu", "float32")) == whole
    first, second = ((tmp_path / name / "labels.h5").read_bytes() for name in ("whole", "parts"))
    assert first == second


def test_a_detector_that_finds_nobody_is_one_line(frames, network, tmp_path, monkeypatch):
    monkeypatch.setattr(scene_crops, "_SEEN", 2.0)
    monkeypatch.setattr(scene_crops, "_EMPTY", -1.0)
    with pytest.raises(UserError, match="nobody was found in all cameras"):
        crop_people(network, FrameDataset(frames, KEYS), tmp_path / "crops", Hardware("cpu", "float32"))
