"""`pretrained_network_path`: where trained weights go in each stage, and what must agree with them."""

from pathlib import Path

import pytest
import torch

from models import build_network
from models.checkpoints import read_checkpoint, save_weights
from tests.models.test_efficientnet import weights_of_the_package
from tests.tiny import tiny_config, tiny_pose_config
from training.loop.identity import BEST_NETWORK, network_file, weights_digest
from training.stages.novel_views import train_novel_views
from training.stages.pose import train_pose
from training.trained.load import open_for_pose, open_for_views, weights_file
from utils.errors import UserError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights with a pose decoder, with statistics of their own; as they are packaged."""
    folder = tmp_path_factory.mktemp("trained")
    config = tiny_config("", "", output_types=["img_crop", "3D"], latent_3d=36)
    torch.manual_seed(5)
    network = build_network(config)
    network.set_pose_statistics(torch.full((51,), 0.25), torch.full((51,), 0.5))
    path = folder / "weights.safetensors"
    save_weights(path, network, config)
    return str(path)


def same(first: dict, second: dict, part: str) -> bool:
    names = [name for name in first if name.startswith(part)]
    assert names
    return all(torch.allclose(first[name], second[name], rtol=0, atol=1e-20) for name in names)


def test_stage_1_starts_from_all_of_the_weights(data, trained, tmp_path):
    # Its learning rate is too small to change a weight: what is left is what was loaded.
    config = tiny_config(data, tmp_path, pretrained_network_path=trained, learning_rate=1e-30)
    run = train_novel_views(config)
    ours, theirs = read_checkpoint(run.last_network), read_checkpoint(trained)
    assert ours.config["latent_3d"] == 36
    for name, values in theirs.weights.items():
        if "running" not in name and "batches" not in name:
            torch.testing.assert_close(ours.weights[name], values, rtol=0, atol=1e-20, msg=name)


@pytest.mark.parametrize("freeze", [True, False])
def test_stage_2_starts_from_their_pose_decoder_and_its_statistics(data, trained, tmp_path, freeze):
    views = train_novel_views(tiny_config(data, tmp_path, latent_3d=36))
    changes = {"pretrained_network_path": trained, "freeze_encoder": freeze}
    network, _, keeps = open_for_pose(tiny_pose_config(data, tmp_path, str(views.path), **changes))
    ours, theirs, stage1 = network.state_dict(), *(read_checkpoint(f).weights for f in (trained, views.best_network))
    assert keeps and same(ours, theirs, "to_pose.") and same(ours, theirs, "pose_") and same(ours, stage1, "encoder.")
    run = train_pose(tiny_pose_config(data, tmp_path, str(views.path), **changes))
    assert same(read_checkpoint(run.last_network).weights, theirs, "pose_")


def test_supervision_starts_from_all_of_the_weights(data, trained, tmp_path):
    config = tiny_pose_config(data, tmp_path, None, pretrained_network_path=trained, freeze_encoder=False)
    network, _, keeps = open_for_pose(config)
    ours, theirs = network.state_dict(), read_checkpoint(trained).weights
    assert keeps and all(same(ours, theirs, part) for part in ("encoder.", "decoder.", "to_pose.", "pose_"))


def test_a_pose_decoder_that_trains_on_is_not_replaced(data, trained, tmp_path, capsys):
    changes = {"pretrained_network_path": trained, "freeze_encoder": False}
    network, _, keeps = open_for_pose(tiny_pose_config(data, tmp_path, trained, **changes))
    assert keeps and same(network.state_dict(), read_checkpoint(trained).weights, "to_pose.")
    line = f"pretrained_network_path {trained!r} is not used: {trained!r} has a trained pose decoder, which trains on"
    assert line in capsys.readouterr().out
    open_for_pose(tiny_pose_config(data, tmp_path, trained, freeze_encoder=False))
    assert "pretrained_network_path" not in capsys.readouterr().out


def test_weights_without_a_trained_pose_decoder_give_a_new_one(data, stage1, tmp_path, capsys):
    path = str(stage1.path)
    network, _, keeps = open_for_pose(tiny_pose_config(data, tmp_path, path, pretrained_network_path=path))
    assert not keeps and "has no trained pose decoder: a new one is trained" in capsys.readouterr().out
    assert not same(network.state_dict(), read_checkpoint(stage1.best_network).weights, "to_pose.")
    assert open_for_views(tiny_config(data, tmp_path, pretrained_network_path=path))[2] is False


def test_architectures_must_agree(data, trained, tmp_path):
    config = tiny_config(data, tmp_path, pretrained_network_path=trained)
    with pytest.raises(UserError, match=r"^latent_3d is 30, but '.*weights.safetensors' was trained with 36; leave"):
        train_novel_views(config, given=frozenset({"latent_3d"}))
    with pytest.raises(UserError, match=r"^pretrained_network_path 'gone' has no network"):
        train_novel_views({**config, "pretrained_network_path": "gone"})
    assert not list(tmp_path.iterdir())


def test_stage_1_goes_on_with_the_targets_that_the_weights_learned(data, tmp_path, capsys):
    config = tiny_config("", "", center_targets=True)
    path = tmp_path / "centered.safetensors"
    save_weights(path, build_network(config), config)
    config = tiny_config(data, tmp_path, pretrained_network_path=str(path))
    network, opened, _ = open_for_views(config)
    assert network.center_targets and opened["center_targets"] and not capsys.readouterr().out
    network, opened, _ = open_for_views(config, frozenset({"center_targets"}))
    assert not network.center_targets and not opened["center_targets"]
    assert capsys.readouterr().out == f"center_targets is False, where {str(path)!r} was trained with True\n"


def test_stage_1_of_several_people_chooses_frames_and_matching_anew():
    from configs.config_scene_small import config_dict as scenes

    chosen = {"fullFrameResolution": [320, 180], "target_other_view": False, "pretrained_crops_path": None}
    _, opened, _ = open_for_views({**scenes, **chosen, "pretrained_network_path": "scenes"})
    assert {key: opened[key] for key in chosen} == chosen


def test_packaged_weights_have_names(tmp_path, monkeypatch):
    packaged = weights_file("wild128")
    assert packaged.is_file() and network_file("wild128") == packaged == weights_file(str(packaged))
    assert weights_digest("wild128") == weights_digest(str(packaged))
    message = r"'wild'.* is missing\); expected a run .* of packaged ones: 'benchmark64', 'scenes', 'wild128'$"
    for name in ("wild", "examples/weights/wild128", "../weights/wild128"):
        with pytest.raises(UserError, match=message if name == "wild" else "has no network"):
            weights_file(name)
    # What has the name here is meant: a run, or a file.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wild128").mkdir()
    assert network_file("wild128") == packaged
    (tmp_path / "wild128" / "models").mkdir()
    assert network_file("wild128") == Path("wild128") / BEST_NETWORK
    (tmp_path / "benchmark64").write_bytes(b"")
    assert weights_file("benchmark64") == Path("benchmark64")


def test_a_pretrained_encoder_stays_as_frozen_in_stage_2(data, tmp_path):
    file = tmp_path / "efficientnet-lite0-0.pth"
    torch.save(weights_of_the_package(), file)
    changes = {"encoderType": "EfficientNetLite0", "encoder_weights": str(file), "encoder_frozen_stages": 2}
    views = train_novel_views(tiny_config(data, tmp_path, **changes))
    file.unlink()
    tuned = {"freeze_encoder": False, "encoder_weights": None}
    run = train_pose(tiny_pose_config(data, tmp_path, str(views.path), **tuned))
    before, after = (read_checkpoint(each.last_network).weights for each in (views, run))
    assert same(before, after, "encoder.trunk.stem.")
    assert same(before, after, "encoder.trunk.stages.1.") and not same(before, after, "encoder.trunk.stages.2.")
    statistics = [name for name in before if "trunk" in name and "running" in name]
    assert statistics and all(torch.equal(before[name], after[name]) for name in statistics)
