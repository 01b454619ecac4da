"""How runs begin: from the run that `latest` means, again and again; and what is refused before images are read."""

import json
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch

from configs.config_train_detect_encode_decode import config_dict as SCENE_STAGE1
from configs.config_train_detect_encode_decode_pose import config_dict as SCENE_STAGE2
from datasets.reader import LayoutDataset
from models.checkpoints import read_checkpoint
from tests.runs import interrupt_at, losses
from tests.scenes import scene_changes
from tests.tiny import tiny_config, tiny_pose_config
from training.loop.latest import resolve_latest
from training.stages.novel_views import train_novel_views
from training.stages.pose import train_pose
from training.stages.scene_pose import train_scene_pose
from training.stages.scenes import train_scenes
from utils.errors import UserError


class Method(NamedTuple):
    stage1: Callable
    stage2: Callable
    views: dict
    poses: dict


@pytest.fixture(params=["one person", "scenes"])
def method(request, data, tmp_path):
    """The stages of a method, with configs whose runs go to `tmp_path`; stage 2 begins with `latest`."""
    output, latest = tmp_path / "output", str(tmp_path / "output" / "latest")
    few = {"num_training_iterations": 5, "test_every": 4, "precision": "float32"}
    if request.param == "one person":
        views, poses = tiny_config(data, output, **few), tiny_pose_config(data, output, latest, **few)
        return Method(train_novel_views, train_pose, views, poses)
    changes = scene_changes(request.getfixturevalue("scenes"), output) | few
    poses = {**SCENE_STAGE2, **changes, "network_path": latest, "label_subjects": None}
    return Method(train_scenes, train_scene_pose, {**SCENE_STAGE1, **changes}, poses)


def interrupted(monkeypatch, train, config, iteration):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="continue with --resume"):
        interrupt_at(patch, iteration)
        train(config)


def assert_equal(ours, theirs):
    assert losses(ours) == losses(theirs) and len(losses(ours)) == 5
    weights = [read_checkpoint(run.last_network).weights for run in (ours, theirs)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


@pytest.mark.parametrize("iteration", [3, 4], ids=["before the first evaluation", "after it"])
def test_a_stage_2_that_began_with_the_latest_run_is_resumed_by_the_same_command(
    method, tmp_path, monkeypatch, iteration
):
    stage1 = method.stage1(method.views)
    unbroken = {**method.poses, "network_path": str(stage1.path), "output_folder": str(tmp_path / "unbroken")}
    interrupted(monkeypatch, method.stage2, method.poses, iteration)
    with pytest.raises(UserError, match=r"latest' is .*, a run of this stage, which began with .*--resume"):
        method.stage2(method.poses)
    resumed = method.stage2(method.poses, resume=True)
    assert_equal(resumed, method.stage2(unbroken))
    runs = {path.name for path in resumed.path.parent.iterdir()}
    assert runs == {stage1.path.name, resumed.path.name, "latest"}
    assert json.loads(resumed.config_file.read_text())["network_path"] == str(stage1.path)


def test_a_training_on_top_of_the_latest_network_goes_on_and_does_not_begin_again(data, stage1, tmp_path, monkeypatch):
    (tmp_path / "latest").symlink_to(stage1.path)
    tuning = {"freeze_encoder": False, "num_training_iterations": 5, "test_every": 2}
    config = tiny_pose_config(data, tmp_path, str(tmp_path / "latest"), **tuning)
    interrupted(monkeypatch, train_pose, config, 3)
    unbroken = {**config, "network_path": str(stage1.path), "output_folder": str(tmp_path / "unbroken")}
    resumed = train_pose(config, resume=True)
    assert_equal(resumed, train_pose(unbroken))
    with pytest.raises(UserError, match="a run of this stage"):
        train_pose(config)


def test_a_stage_1_that_began_with_the_latest_run_is_resumed(data, tmp_path, monkeypatch, capsys):
    first = train_novel_views(tiny_config(data, tmp_path, num_training_iterations=2, test_every=2))
    config = tiny_config(data, tmp_path, num_training_iterations=5, test_every=2, seed=1)
    config["pretrained_network_path"] = str(tmp_path / "latest")
    interrupted(monkeypatch, train_novel_views, config, 3)
    assert f"pretrained_network_path: '{first.path}', by '{tmp_path / 'latest'}'" in capsys.readouterr().out
    assert len(losses(train_novel_views(config, resume=True))) == 5
    assert len([path for path in tmp_path.iterdir() if not path.is_symlink()]) == 2


def test_what_is_no_link_stays_as_it_is(tmp_path):
    (tmp_path / "latest").mkdir()
    config = {"network_path": str(tmp_path / "latest"), "pretrained_network_path": None}
    assert resolve_latest(config, "pose", resume=False) == config
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "latest").symlink_to("one")
    file = {"pretrained_crops_path": str(tmp_path / "runs" / "latest" / "models" / "x.pth")}
    expected = {"pretrained_crops_path": str(tmp_path / "runs" / "one" / "models" / "x.pth")}
    assert resolve_latest(file, "encode", resume=True) == expected


def test_a_run_without_a_state_is_begun_and_that_is_said(data, tmp_path, capsys):
    folder = train_novel_views(tiny_config(data, tmp_path, num_training_iterations=1), resume=True)
    assert f"nothing to resume in {folder.path}: it begins at iteration 0" in capsys.readouterr().out


def test_images_are_read_when_all_else_is_checked(method, tmp_path, monkeypatch, capsys):
    views = {**method.views, "preload_images": True}
    stage1 = method.stage1(views)
    poses = {**method.poses, "network_path": str(stage1.path)}
    runs = [(method.stage1, views, stage1), (method.stage2, poses, method.stage2(poses))]
    capsys.readouterr()

    def read(*_, **__):
        raise AssertionError("images are read")

    monkeypatch.setattr(LayoutDataset, "__getitems__", read)
    monkeypatch.setattr(LayoutDataset, "_preload", read)
    for train, config, run in runs:
        assert train(config, resume=True).path == run.path
        lines = capsys.readouterr().out.splitlines()
        assert lines[-3] == f"{run.path} is trained already"
        assert lines[-2].startswith("best held-out ") and lines[-1].startswith("next: ")
        with pytest.raises(UserError, match="holds a run of this config; give --resume"):
            train(config)
        with pytest.raises(UserError, match="tracker is 'trackio', which is not installed"):
            train({**config, "tracker": "trackio", "seed": 1})
        (run.path / "debug_log_testing.txt").write_text("a,b\n1,2\n")
        with pytest.raises(UserError, match="no column 'iteration'"):
            train(config, resume=True)
        run.state_file.write_bytes(b"PK")
        with pytest.raises(UserError, match="cannot resume"):
            train(config, resume=True)
    for (train, config, _), key in zip(runs, ("actor_subset", "label_subjects"), strict=True):
        with pytest.raises(UserError, match=rf"{key} \[9\]"):
            train({**config, key: [9], "seed": 1})
    if method.stage2 is train_pose:
        nowhere = {"augment_background": 0.5, "augment_background_folder": "nowhere", "seed": 1}
        for train, config, _ in runs:
            with pytest.raises(UserError, match="photographs 'nowhere' does not exist"):
                train({**config, **nowhere})


def test_a_batch_that_processes_cannot_share_is_refused_before_images_are_read(data, stage1, tmp_path, monkeypatch):
    monkeypatch.setattr("training.stages.pose_run.world_size", lambda: 3)
    with pytest.raises(UserError, match=r"^batch_size_train 8 cannot be divided over 3 processes"):
        train_pose(tiny_pose_config(data, tmp_path, str(stage1.path)))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_not_made_to_ask_about_it(data, tmp_path, monkeypatch):
    # Of several processes one may end the others meanwhile, and an empty folder would stay.
    monkeypatch.setattr("training.loop.beginning.writing", lambda folder: pytest.fail(f"{folder} is made"))
    assert len(losses(train_novel_views(tiny_config(data, tmp_path / "output")))) == 6
