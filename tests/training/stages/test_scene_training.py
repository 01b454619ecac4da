"""Stage 1 on a tiny set of scenes: what it writes and learns, how it resumes, and what it refuses."""

import numpy as np
import pytest
import torch

from configs.config_train_detect_encode_decode import config_dict as published
from configs.config_train_detect_encode_decode_pose import config_dict as published_pose
from models.checkpoints import read_checkpoint
from tests.runs import Died, die_at, losses, read_log
from tests.scenes import scene_changes, write_scenes
from training.loop.engine import make_optimizer, set_learning_rate
from training.loop.loaders import rows_of_subjects
from training.stages.novel_views import permutations
from training.stages.scene_pose import train_scene_pose
from training.stages.scenes import convolutions_of_decoder, train_scenes
from training.trained.load import open_for_views
from utils.errors import UserError


def config_of(data, output, **changes) -> dict:
    return {**published, **scene_changes(data, output), **changes}


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Pictures take longer than the training; those of the session's runs are drawn."""
    for name in ("scene_stage1", "scene_stage2"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    monkeypatch.setattr("training.stages.scenes.save_columns", lambda *_: None)


def test_stage_1_writes_the_run_folder(scene_stage1):
    assert scene_stage1.path.name.startswith("encode_scene_ResNet18_boxes2_")
    assert list(losses(scene_stage1)) == [1, 2, 3, 4, 5, 6]
    tested = read_log(scene_stage1.path / "debug_log_testing.txt")
    assert [row["iteration"] for row in tested] == ["3", "6"]
    assert {"loss", "rgb", "psnr", "psnr_background"} <= tested[0].keys() and "boxes" not in tested[0]
    assert len({row["psnr_background"] for row in tested}) == 1
    assert sorted(path.name for path in scene_stage1.images.iterdir()) == ["example_000000.png", "example_000006.png"]


def test_a_resumed_run_equals_an_unbroken_one_to_the_bit(scenes, scene_stage1, tmp_path, monkeypatch):
    config = config_of(scenes, tmp_path)
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, 5)
        train_scenes(config)
    resumed = train_scenes(config, resume=True)
    assert losses(resumed) == losses(scene_stage1)
    ours, theirs = (read_checkpoint(folder.last_network).weights for folder in (resumed, scene_stage1))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_stage_1_learns(scenes, tmp_path):
    changes = {"detector_background": True, "distinct_starts": True, "match_statistics": False, "latent_dropout": 0.0}
    changes |= {"perspectiveCorrection": True, "shuffle_fg": True, "decoder_rate": 1.0, "learning_rate": 3e-3}
    folder = train_scenes(config_of(scenes, tmp_path, num_training_iterations=30, test_every=30, **changes))
    trained = list(losses(folder).values())
    assert sum(trained[-5:]) < 0.8 * sum(trained[:5])


def test_convolutions_of_the_decoder_learn_slower(scenes, tmp_path):
    config = config_of(scenes, tmp_path, decoder_rate=0.25)
    network, _, _ = open_for_views(config)
    slow = convolutions_of_decoder(network)
    optimizer = make_optimizer(network.stage1_parameters(), config, slow, config["decoder_rate"])
    set_learning_rate(optimizer, 0.004)
    rates = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    named = dict(network.named_parameters())
    assert rates[named["decoder.to_image.weight"]] == 0.001 and len(rates) == len(named)
    assert {rates[named[name]] for name in ("decoder.from_points.0.weight", "detector.fc.weight")} == {0.004}


@pytest.mark.parametrize("other", [False, True])
def test_training_rolls_half_of_the_groups_or_all(scenes, tmp_path, other):
    config = config_of(scenes, tmp_path, target_other_view=other)
    drawn = permutations(4000, config, torch.Generator().manual_seed(0), rolls=True)
    rolled = (drawn["shuffled_pose"].view(-1, 2) == torch.arange(4000).view(-1, 2).flip(1)).all(1).float().mean()
    assert rolled == 1 if other else abs(rolled - 0.5) < 0.05
    assert torch.equal(drawn["shuffled_appearance"], torch.arange(4000))


BAD_INPUT = {
    "fewer boxes than people": ({"spatial_transformer_num": 1}, "up to 2 people .* spatial_transformer_num is 1"),
    "frame size": ({"fullFrameResolution": [80, 40]}, r"72 x 40 px, but fullFrameResolution is \[80, 40\]"),
    "training mode": ({"training_mode": "pose", "output_types": ["3D"]}, "training_mode is 'pose'; expected 'NVS'"),
    "method": ({"method": "geometry_aware"}, "'method' is 'geometry_aware'; expected 'scene'"),
    "no folder": ({"dataset_folder_train": "nowhere"}, "'nowhere' does not exist; expected a set of full frames"),
    "subject": ({"actor_subset": [3]}, "no subject 3"),
    "depths": ({"loss_weight_size": 0.1, "predict_transformer_depth": False}, "need predict_transformer_depth"),
    "one view of depths": ({"loss_weight_depth": 0.1, "shuffle_3d": False}, "predict_transformer_depth and shuffle_3d"),
    "one camera": ({"useCamBatches": 1, "target_other_view": True}, "useCamBatches is 1; expected 2 or more"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input(case, scenes, tmp_path):
    changes, message = BAD_INPUT[case]
    with pytest.raises(UserError, match=message):
        train_scenes(config_of(scenes, tmp_path, **changes))
    assert not list(tmp_path.iterdir())


def test_a_subject_that_nobody_has_is_called_by_its_key():
    labels = {"subj": np.array([[1, -1]]), "seq": np.array([1]), "frame": np.array([0])}
    with pytest.raises(UserError, match=r"label_subjects \[9\]: no subject 9; expected some of \[1\]"):
        rows_of_subjects(labels, np.arange(1), [9], "label_subjects")


def test_a_set_of_crops_is_refused(data, tmp_path):
    with pytest.raises(UserError, match=r"version 1|crops of one person"):
        train_scenes(config_of(data, tmp_path))
    assert not list(tmp_path.iterdir())


def test_weights_of_stage_2_are_refused(scenes, scene_stage2, tmp_path):
    with pytest.raises(UserError, match=r"decoder|training_mode"):
        train_scenes(config_of(scenes, tmp_path, pretrained_network_path=str(scene_stage2.path)))


def test_stage_1_goes_on_from_a_network_with_poses_without_them(scenes, scene_stage1, tmp_path):
    poses = {**published_pose, **scene_changes(scenes, tmp_path), "network_path": str(scene_stage1.path)}
    both = train_scene_pose({**poses, "training_mode": "both", "num_training_iterations": 1})
    path = str(both.path)
    folder = train_scenes(config_of(scenes, tmp_path, pretrained_network_path=path, num_training_iterations=1))
    stored = read_checkpoint(folder.last_network)
    assert stored.config["training_mode"] == "NVS"
    assert not [name for name in stored.weights if name.startswith("pose")]
    before = read_checkpoint(both.last_network).weights["detector.fc.weight"]
    assert (stored.weights["detector.fc.weight"] - before).abs().max() < 0.01


def test_groups_of_more_cameras_than_examples_are_drawn_whole(tmp_path):
    data = write_scenes(tmp_path / "data", cameras=7, sequences=3, instants=2)
    sizes = {"batch_size_train": 7, "batch_size_test": 7, "useCamBatches": 7, "useSubjectBatches": False}
    folder = train_scenes(config_of(data, tmp_path / "out", num_training_iterations=1, **sizes))
    assert read_log(folder.path / "debug_log_testing.txt")


def test_a_set_without_labels_is_enough(tmp_path):
    data = write_scenes(tmp_path / "data", labels=False, boxes=False, positions=False)
    folder = train_scenes(config_of(data, tmp_path / "out", num_training_iterations=1))
    assert np.isfinite(float(read_log(folder.path / "debug_log_testing.txt")[-1]["loss"]))
