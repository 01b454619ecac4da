"""Stage 2 on a tiny set of scenes: what it trains, whose labels it takes, how it resumes, and what it refuses."""

import types

import numpy as np
import pytest
import torch

from configs.config_train_detect_encode_decode_pose import config_dict as published
from models.checkpoints import read_checkpoint
from models.scene.boxes import box_matrices
from models.scene.published import POSE_STATISTICS, published_names
from tests.runs import Died, die_at, losses, read_log
from tests.scenes import SIZE, scene_changes, write_scenes
from training.scene_metrics import boxes_in_pixels
from training.stages.assignment import assign_boxes, of_people, person_centers
from training.stages.scene_labels import check_people
from training.stages.scene_losses import true_box_loss
from training.stages.scene_pose import pose_loss_of_people, train_scene_pose
from training.trained.load import open_for_pose, open_network, open_test_frames
from utils.errors import UserError


def config_of(data, output, network_path, **changes) -> dict:
    labels = {"label_subjects": None, "network_path": network_path}
    return {**published, **scene_changes(data, output), **labels, **changes}


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Pictures take longer than the training; those of the session's runs are drawn."""
    for name in ("scene_stage1", "scene_stage2"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    monkeypatch.setattr("training.stages.scene_pose.save_columns", lambda *_: None)


def test_stage_2_trains_the_pose_decoder_and_nothing_else(scene_stage1, scene_stage2):
    before, after = (read_checkpoint(folder.last_network).weights for folder in (scene_stage1, scene_stage2))
    before = read_checkpoint(scene_stage1.best_network).weights
    kept = [name for name in before if name.startswith(("detector.", "encoder."))]
    assert kept and all(torch.equal(before[name], after[name]) for name in kept)
    assert not [name for name in after if name.startswith("decoder.")]
    assert float(after["pose_std"].min()) < 1
    logged = list(losses(scene_stage2).values())
    assert sum(logged[-3:]) < sum(logged[:3])
    assert {"loss", "mpjpe", "n_mpjpe"} <= read_log(scene_stage2.path / "debug_log_testing.txt")[0].keys()
    assert (scene_stage2.images / "example_000000.png").stat().st_size > 0


@pytest.mark.parametrize("frozen", [True, False])
def test_a_resumed_run_equals_an_unbroken_one(scenes, scene_stage1, tmp_path, monkeypatch, frozen):
    path = str(scene_stage1.path) if frozen else None
    config = config_of(scenes, tmp_path / "a", path, freeze_encoder=frozen)
    whole = train_scene_pose(config)
    halves = {**config, "output_folder": str(tmp_path / "b")}
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, 5)
        train_scene_pose(halves)
    resumed = train_scene_pose(halves, resume=True)
    assert losses(resumed) == losses(whole)
    ours, theirs = (read_checkpoint(folder.last_network).weights for folder in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("frozen", [True, False])
def test_poses_learn_by_distances_where_the_config_says_so(scenes, scene_stage1, tmp_path, frozen):
    first = {}
    for kind in ("squared", "distance"):
        config = config_of(scenes, tmp_path / kind, str(scene_stage1.path) if frozen else None, freeze_encoder=frozen)
        folder = train_scene_pose({**config, "pose_loss": kind, "num_training_iterations": 1, "test_every": 1})
        row = read_log(folder.path / "debug_log_training.txt")[-1]
        first[kind] = float(row["loss" if frozen else "pose"])
    # Of one unit, and of an untrained network: as far from one another as means of squares and of roots are.
    assert 0.3 < first["distance"] / first["squared"] < 0.99


def test_distances_of_people_have_the_unit_of_squares():
    rng = torch.Generator().manual_seed(0)
    network = types.SimpleNamespace(pose_mean=torch.randn(51, generator=rng), pose_std=torch.ones(51))
    network.pose_std[3:] = torch.rand(48, generator=rng) + 0.1
    label = network.pose_mean + network.pose_std * torch.randn(4000, 51, generator=rng)
    label[:, :3] = network.pose_mean[:3]
    squared, distance = (
        pose_loss_of_people(network, torch.zeros_like(label), label, kind) for kind in ("squared", "distance")
    )
    assert squared.item() == pytest.approx((network.pose_std[3:].square().sum() / 51).item(), rel=0.05)
    assert 0.8 < distance / squared < 1


def test_the_supervised_baseline_learns_boxes_and_poses(scenes, tmp_path):
    config = config_of(scenes, tmp_path, None, freeze_encoder=False, num_training_iterations=80, test_every=80)
    folder = train_scene_pose({**config, "learning_rate": 3e-3})
    rows = read_log(folder.path / "debug_log_training.txt")
    first, last = (
        {name: sum(float(row[name]) for row in part) for name in ("pose", "true_boxes")}
        for part in (rows[:5], rows[-5:])
    )
    assert all(last[name] < 0.8 * first[name] for name in first)


@pytest.mark.parametrize("changes", [{"boxes": False}, {"boxes": False, "positions": False}, {"empty": 1}])
def test_stage_2_of_sets_that_lack_labels(scene_stage1, tmp_path, changes):
    data = write_scenes(tmp_path / "data", **changes)
    config = config_of(data, tmp_path / "out", str(scene_stage1.path), augment_yaw=180.0, augment_points=0.1)
    folders = [train_scene_pose({**config, "num_training_iterations": 1})]
    if "positions" in changes:
        supervised = {"freeze_encoder": False, "num_training_iterations": 1}
        folders.append(train_scene_pose(config_of(data, tmp_path / "out", None, **supervised)))
    for folder in folders:
        assert np.isfinite(float(read_log(folder.path / "debug_log_testing.txt")[-1]["n_mpjpe"]))


def test_labeled_frames_of_nobody_are_refused_before_anything_is_written(scenes, tmp_path):
    known = np.zeros((5, 2, 51))
    known[1:3], known[3, 1] = np.nan, np.nan
    check_people({"3D": known}, np.array([0]), np.array([3]))
    with pytest.raises(UserError, match=r"0 people have a pose in the 2 labeled frames to choose the best network by"):
        check_people({"3D": known}, np.array([0]), np.array([1, 2]))
    with pytest.raises(UserError, match=r"1 people have a pose in the 2 labeled frames to train on; expected 2"):
        check_people({"3D": known}, np.array([1, 3]), np.array([0]))
    data = write_scenes(tmp_path / "data", people=1)
    config = config_of(data, tmp_path / "out", None, freeze_encoder=False)
    with pytest.raises(UserError, match="batch_size_train 1 gives a process 1 person"):
        train_scene_pose({**config, "batch_size_train": 1, "spatial_transformer_num": 1})
    assert not (tmp_path / "out").exists()


def test_people_whom_no_camera_sees_are_no_labels(tmp_path):
    pose, box = np.zeros((2, 2, 51)), np.full((2, 2, 4), 5.0)
    box[1] = np.nan
    with pytest.raises(UserError, match=r"0 people have a pose and a place in the 1 labeled frames to choose"):
        check_people({"3D": pose, "box": box}, np.array([0]), np.array([1]))
    position = np.array([[[0.0, 0, 4], [0, 0, 3]], [[0, 0, -4], [0, 0, -3]]])
    places = {"position": position, "intrinsics": np.tile(np.eye(3), (2, 1, 1))}
    check_people({"3D": pose, **places}, np.array([0]), np.array([0]))
    with pytest.raises(UserError, match="0 people have a pose and a place"):
        check_people({"3D": pose, **places}, np.array([0]), np.array([1]))


def test_a_network_that_is_to_see_otherwise_than_it_learned_is_mentioned(scenes, scene_stage1, tmp_path, capsys):
    config = config_of(scenes, tmp_path, str(scene_stage1.path))
    open_for_pose(config, frozenset())
    assert "trained with" not in capsys.readouterr().out
    other = not read_checkpoint(scene_stage1.best_network).config["perspectiveCorrection"]
    _, opened, _ = open_for_pose({**config, "perspectiveCorrection": other}, frozenset({"perspectiveCorrection"}))
    assert opened["perspectiveCorrection"] is other
    assert f"perspectiveCorrection is {other}, where " in capsys.readouterr().out


def test_augmentation_without_effect_is_said(scenes, tmp_path, capsys):
    changes = {"freeze_encoder": False, "num_training_iterations": 1, "augment_yaw": 90.0, "augment_points": 0.5}
    train_scene_pose(config_of(scenes, tmp_path, None, **changes), given=frozenset({"augment_yaw"}))
    printed = capsys.readouterr().out
    assert printed.count("does nothing") == 1
    assert "augment_yaw is 90.0, but does nothing where freeze_encoder is False" in printed


def test_people_behind_the_camera_are_not_where_they_would_be_in_front_of_it():
    batch = {"position": torch.tensor([[[0.5, 0.0, 2.0], [0.5, 0.0, -2.0]]]), "intrinsics": torch.eye(3)[None]}
    centers = person_centers(batch)
    assert centers[0, 0].tolist() == [0.25, 0.0] and centers[0, 1].isnan().all()


def some_boxes() -> torch.Tensor:
    """Two boxes (2,1,2,3) in one frame: left and right."""
    size = torch.tensor([[[0.3, 0.6]], [[0.3, 0.6]]])
    return box_matrices(size, torch.tensor([[[-0.5, 0.0]], [[0.5, 0.1]]]))


def test_people_get_the_boxes_around_them_in_any_order():
    boxes = some_boxes()
    places = boxes_in_pixels(boxes, SIZE)
    centers = (places[..., :2] + (places[..., 2:] - 1) / 2).flip(1)
    assert assign_boxes(boxes, centers, SIZE, 2).tolist() == [[1, 0]]
    assert assign_boxes(boxes.flip(0), centers, SIZE, 2).tolist() == [[0, 1]]
    values = torch.tensor([[7.0], [8.0]])
    assert of_people(values, torch.tensor([[1, 0]])).tolist() == [[8.0, 7.0]]


def test_boxes_are_assigned_one_to_one():
    boxes = some_boxes()
    near_left = boxes_in_pixels(boxes, SIZE)[:, :1]
    near_left = near_left[..., :2] + (near_left[..., 2:] - 1) / 2
    both = torch.cat([near_left, near_left + torch.tensor([2.0, 0.0])], dim=1)
    # The other one would be as near to the left box, which is taken, and is not in the right one.
    assert assign_boxes(boxes, both, SIZE, 2).tolist() == [[0, -1]]
    assert assign_boxes(boxes, both, SIZE, 2, inside=False).tolist() == [[0, 1]]


def test_nobody_gets_a_box():
    centers = torch.tensor([[[torch.nan, torch.nan], [18.0, 20.0], [torch.nan, torch.nan]]])
    assert assign_boxes(some_boxes(), centers, SIZE, 3).tolist() == [[-1, 0, -1]]
    assert assign_boxes(some_boxes(), torch.full((1, 2, 2), torch.nan), SIZE, 2).tolist() == [[-1, -1]]


def test_without_places_people_are_labeled_from_left_to_right():
    assert assign_boxes(some_boxes(), None, SIZE, 2).tolist() == [[0, 1]]
    assert assign_boxes(some_boxes().flip(0), None, SIZE, 2).tolist() == [[1, 0]]
    assert assign_boxes(some_boxes(), None, SIZE, 3).tolist() == [[0, 1, -1]]


def test_centers_of_people_from_boxes_and_from_positions(scenes):
    from datasets import FrameDataset

    batch = FrameDataset(scenes).__getitems__(range(6))
    from_boxes = person_centers(batch)
    from_positions = person_centers({key: batch[key] for key in ("position", "intrinsics")})
    assert (from_boxes - from_positions).norm(dim=-1).max() < 6 and person_centers({}) is None


def test_the_loss_of_true_boxes_is_zero_for_a_square_around_the_person():
    height, width = SIZE
    true = torch.tensor([[[20.0, 10.0, 8.0, 16.0]]])
    side = 1.25 * 16 / torch.tensor([width - 1.0, height - 1.0])
    center = torch.tensor([2 * 23.5 / (width - 1) - 1, 2 * 17.5 / (height - 1) - 1])
    boxes = box_matrices(side, center)[None, None]
    chosen = torch.ones(1, 1, dtype=torch.bool)
    assert float(true_box_loss(boxes, true, SIZE, chosen)) < 1e-6
    assert float(true_box_loss(boxes + 0.1, true, SIZE, chosen)) == pytest.approx(0.1, rel=1e-4)
    assert float(true_box_loss(boxes, true, SIZE, ~chosen)) == 0


BAD_INPUT = {
    "no stage 1": ({"network_path": None}, "network_path is None, but freeze_encoder is True"),
    "training mode": ({"training_mode": "NVS", "output_types": ["img"]}, "training_mode is 'NVS'"),
    "crops": ({"pretrained_crops_path": "crops"}, "pretrained_crops_path is 'crops'; expected None: stage 2 starts"),
    "method": ({"method": "geometry_aware"}, "'method' is 'geometry_aware'; expected 'scene'"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input(case, scenes, scene_stage1, tmp_path):
    changes, message = BAD_INPUT[case]
    with pytest.raises(UserError, match=message):
        train_scene_pose({**config_of(scenes, tmp_path, str(scene_stage1.path)), **changes})


def test_weights_of_the_other_method_are_refused(scenes, stage1, tmp_path):
    with pytest.raises(UserError, match="network of the method 'geometry_aware', expected 'scene'"):
        train_scene_pose(config_of(scenes, tmp_path, str(stage1.path)))


def test_frames_without_labels_are_one_line(scene_stage1, tmp_path):
    data = write_scenes(tmp_path / "data", labels=False)
    with pytest.raises(UserError, match=r"3D|pose_mean"):
        train_scene_pose(config_of(data, tmp_path / "out", str(scene_stage1.path)))


def save_published(path, run) -> str:
    """The network of a run as the published implementation would have saved it."""
    weights = read_checkpoint(run.last_network).weights
    weights = {name: tensor for name, tensor in weights.items() if name not in ("pose_mean", "pose_std")}
    torch.save({key: weights[name] for name, key in published_names(weights, weights).items()}, path)
    return str(path)


def test_stage_2_starts_from_published_weights_of_stage_1_only(scenes, scene_stage1, scene_stage2, tmp_path):
    first, second = (save_published(tmp_path / f"{run.stage}.pth", run) for run in (scene_stage1, scene_stage2))
    folder = train_scene_pose(config_of(scenes, tmp_path, first, num_training_iterations=1))
    before, after = (read_checkpoint(run.last_network).weights for run in (scene_stage1, folder))
    assert torch.equal(before["detector.fc.weight"], after["detector.fc.weight"])
    with pytest.raises(UserError, match=r"published weights are of stage 2 \(poses\), expected those of stage 1"):
        train_scene_pose(config_of(scenes, tmp_path, second, seed=1))


def test_published_poses_are_those_of_their_own_statistics(scenes, scene_stage2, tmp_path):
    file = save_published(tmp_path / "published.pth", scene_stage2)
    config = {**read_checkpoint(scene_stage2.last_network).config, "network_path": file}
    trained = open_network({**config, "dataset_folder_test": str(scenes), "device": "cpu"})
    assert trained.trained_with is None and "pose_mean" in open_test_frames(trained).labels
    zeros = torch.zeros(1, 17, 3)
    for values, expected in zip((zeros, zeros + 1), POSE_STATISTICS, strict=True):
        poses = trained.network.denormalize_pose(values).flatten()
        torch.testing.assert_close(poses - values.flatten() * trained.network.pose_mean, torch.from_numpy(expected))


def test_supervision_starts_from_a_network_of_novel_views(scenes, scene_stage1, tmp_path):
    path = str(scene_stage1.path)
    config = config_of(scenes, tmp_path, None, freeze_encoder=False, pretrained_network_path=path)
    network, opened, has_poses = open_for_pose(config)
    theirs = read_checkpoint(scene_stage1.best_network).weights
    assert opened["training_mode"] == "pose" and network.decoder is None and not has_poses
    for name, values in network.state_dict().items():
        assert name.startswith("pose_") or torch.equal(values, theirs[name]), name
    both, _, _ = open_for_pose({**config, "training_mode": "both"})
    assert all(torch.equal(both.state_dict()[name], values) for name, values in theirs.items())
    folder = train_scene_pose({**config, "num_training_iterations": 1})
    assert read_checkpoint(folder.last_network).config["output_types"] == ["3D"]


def test_the_image_decoder_may_stay(scenes, scene_stage1, tmp_path):
    path = str(scene_stage1.path)
    folder = train_scene_pose(config_of(scenes, tmp_path, path, training_mode="both", num_training_iterations=1))
    before, after = (read_checkpoint(file).weights for file in (scene_stage1.best_network, folder.last_network))
    assert all(torch.equal(before[name], after[name]) for name in before)
