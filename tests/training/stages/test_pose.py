"""Stage 2 on a tiny set: what it trains, what it leaves alone, and how it resumes."""

import numpy as np
import pytest
import torch

from configs.config_robust import AUGMENTATION
from configs.config_test_encodeDecode import config_dict as TEST_CONFIG
from datasets import MultiViewDataset
from models import build_network
from models.checkpoints import read_checkpoint, save_weights
from tests.runs import Died, die_at, losses, read_log
from tests.tiny import tiny_config, tiny_pose_config
from training.stages.losses import pose_loss
from training.stages.pose import train_pose
from training.stages.pose_run import NUM_EXAMPLES
from training.trained.load import open_network
from utils.errors import UserError


def test_stage_2_trains_the_pose_decoder_and_nothing_else(data, stage1, tmp_path):
    folder = train_pose(tiny_pose_config(data, tmp_path, str(stage1.path), num_training_iterations=30, test_every=10))
    before, after = (read_checkpoint(f.last_network if f is folder else f.best_network) for f in (stage1, folder))
    for name, value in before.weights.items():
        changed = not torch.equal(value, after.weights[name])
        if name.startswith(("encoder.", "decoder.")):  # running statistics of batch norm included
            assert not changed, name
    assert any(not torch.equal(v, after.weights[n]) for n, v in before.weights.items() if n.startswith("to_pose."))
    assert sorted(path.name for path in folder.images.iterdir()) == ["example_000000.png", "example_000030.png"]
    assert after.weights["pose_std"].min() > 0 and after.weights["pose_mean"].abs().sum() > 0
    logged = list(losses(folder).values())
    assert np.mean(logged[-5:]) < np.mean(logged[:5])


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "supervised"])
@pytest.mark.parametrize("kind", ["squared", "distance"])
def test_the_loss_is_of_the_kind_that_the_config_says(data, stage1, tmp_path, frozen, kind, monkeypatch):
    seen = []
    monkeypatch.setattr("training.stages.pose.pose_loss", lambda *given: seen.append(given) or pose_loss(*given))
    config = tiny_pose_config(data, tmp_path, str(stage1.path) if frozen else None, freeze_encoder=frozen)
    folder = train_pose({**config, "pose_loss": kind, "num_training_iterations": 1, "test_every": 1})
    assert len(seen) >= 2 and {given[-1] for given in seen} == {kind}
    row = read_log(folder.path / "debug_log_training.txt")[-1]
    assert float(row["loss"]) == pytest.approx(pose_loss(*seen[0]).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output_types": ["img_crop"]}, "expected 3D, which stage 2 learns"),
        ({"batch_size_train": 1}, "batch_size_train 1 gives a process 1 person; expected 2 or more"),
    ],
    ids=["a config of stage 1", "batch"],
)
def test_what_could_not_train_poses_is_refused_before_anything_is_written(data, stage1, tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        train_pose(tiny_pose_config(data, tmp_path, str(stage1.path), **changes))
    assert not list(tmp_path.iterdir())


def test_labels_that_give_a_process_one_are_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr("training.stages.labels.world_size", lambda: 2)
    config = tiny_pose_config(data, tmp_path, None, freeze_encoder=False, label_fraction=0.03)
    with pytest.raises(UserError, match=r"^3 labels give a process 1 person; expected 2 or more, because the pose"):
        train_pose(config)
    assert not list(tmp_path.iterdir())


def test_stage_2_draws_held_out_poses(data, stage1, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("training.stages.pose.save_examples", lambda *_, **poses: drawn.append(poses))
    train_pose(tiny_pose_config(data, tmp_path, str(stage1.path)))
    before, after = drawn  # before the first and after the last iteration
    assert before["true_pose"].shape == before["predicted_pose"].shape == (NUM_EXAMPLES, 51)
    assert torch.equal(before["true_pose"], after["true_pose"]) and before["true_pose"].abs().sum() > 0
    assert not torch.equal(before["predicted_pose"], after["predicted_pose"])


def test_stage_2_reads_each_crop_once(data, stage1, tmp_path, monkeypatch):
    read = []
    original = MultiViewDataset.__getitems__
    monkeypatch.setattr(MultiViewDataset, "__getitems__", lambda self, rows: read.extend(rows) or original(self, rows))
    train_pose(tiny_pose_config(data, tmp_path, str(stage1.path), num_training_iterations=40))
    # and those of the two pictures once more for each
    assert len(set(read)) == 144 and len(read) == 144 + 2 * NUM_EXAMPLES


@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_running_variances_of_the_pose_decoder_stay_above_the_floor(data, stage1, tmp_path, floor):
    config = tiny_pose_config(data, tmp_path, str(stage1.path), num_training_iterations=60, pose_variance_floor=floor)
    weights = read_checkpoint(train_pose(config).last_network).weights
    variances = [weights[name] for name in weights if "to_pose" in name and name.endswith("running_var")]
    assert len(variances) == 2 and (min(map(torch.min, variances)) >= 0.5) == (floor == 0.5)


def test_stage_2_resumes_and_repeats(data, stage1, tmp_path, monkeypatch):
    config = tiny_pose_config(data, tmp_path / "a", str(stage1.path), num_training_iterations=8)
    whole = train_pose(config)
    halves = {**config, "output_folder": str(tmp_path / "b")}
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, 5)
        train_pose(halves)
    assert losses(train_pose(halves, resume=True)) == losses(whole)


def test_supervised_baseline_trains_the_encoder(data, tmp_path):
    config = tiny_pose_config(data, tmp_path, None, freeze_encoder=False)
    # So small a rate leaves all weights as the seed made them.
    before, after = (
        read_checkpoint(train_pose({**config, "learning_rate": rate}).last_network).weights for rate in (1e-30, 1e-3)
    )
    moved = {name.split(".")[0] for name in before if "weight" in name and not torch.equal(before[name], after[name])}
    assert moved == {"encoder", "to_pose"}
    with pytest.raises(UserError, match="network_path"):
        train_pose({**config, "freeze_encoder": True})


def test_a_second_stage_2_has_the_views_of_the_first(data, stage1, tmp_path):
    """An encoder that learned from labels has left its image decoder behind, whatever trains on top of it."""
    first = {"views": (str(stage1.path), {}), "no views": (None, {"freeze_encoder": False})}
    for name, (start, changes) in first.items():
        config = tiny_pose_config(data, tmp_path / name, start, num_training_iterations=2, **changes)
        for _ in range(3):
            folder = train_pose(config)
            config |= {"network_path": str(folder.path), "freeze_encoder": True}
        outputs = open_network({**TEST_CONFIG, "network_path": str(folder.path), "device": "cpu"}).network.output_types
        assert outputs == (("img_crop", "3D") if name == "views" else ("3D",))


def test_views_that_stage_2_does_not_have_are_refused(data, stage1, tmp_path):
    """What is stored as an output counts as trained."""
    path, views = str(stage1.path), {"output_types": ["3D", "img_crop"], "num_training_iterations": 1}
    supervised = str(train_pose(tiny_pose_config(data, tmp_path, None, freeze_encoder=False)).path)
    for start, freeze in ((path, False), (None, False), (supervised, True)):
        with pytest.raises(UserError, match=r"^output_types is \['3D', .*, but img_crop .*; expected 3D alone$"):
            train_pose(tiny_pose_config(data, tmp_path, start, freeze_encoder=freeze, **views))
    train_pose(tiny_pose_config(data, tmp_path, path, **views))


def test_stage_2_takes_the_architecture_from_stage_1_unless_the_user_contradicts(data, stage1, tmp_path):
    config = {**tiny_pose_config(data, tmp_path, str(stage1.path)), "latent_fg": 8, "encoderType": "ResNet"}
    train_pose(config)
    with pytest.raises(UserError, match="latent_fg"):
        train_pose({**config, "seed": 3}, given=frozenset({"latent_fg"}))


@pytest.mark.parametrize("freeze_encoder", [True, False])
def test_stage_2_trains_with_mirrored_labels(data, tmp_path, freeze_encoder):
    network_path = None
    if freeze_encoder:
        config, network_path = tiny_config(data, tmp_path), str(tmp_path / "stage1.pth")
        save_weights(network_path, build_network(config), config)
    config = tiny_pose_config(data, tmp_path, network_path, freeze_encoder=freeze_encoder)
    mirrored = losses(train_pose({**config, "augment_mirror": True}))
    assert np.isfinite(list(mirrored.values())).all() and mirrored != losses(train_pose(config))


def test_the_supervised_baseline_rotates_crops_and_labels_together(data, tmp_path):
    config = tiny_pose_config(data, tmp_path, None, freeze_encoder=False)
    plain, rolled = (losses(train_pose({**config, "augment_rotation": angle})) for angle in (0.0, 180.0))
    assert np.isfinite(list(rolled.values())).all() and plain != rolled


def test_fine_tuning_resumes_from_the_trained_pose_decoder(data, stage1, tmp_path):
    stage2 = train_pose(tiny_pose_config(data, tmp_path, str(stage1.path)))
    tuning = {"freeze_encoder": False, "learning_rate": 1e-30, "width_to3Dpose": 64}
    tuned = train_pose(tiny_pose_config(data, tmp_path, str(stage2.path), **tuning))
    before, after = (read_checkpoint(file).weights for file in (stage2.best_network, tuned.last_network))
    learned = [name for name in before if name.endswith("weight")]
    assert all(torch.equal(before[name], after[name]) for name in learned)
    # a frozen encoder gets a new pose decoder, of the size that is asked for
    anew = train_pose(tiny_pose_config(data, tmp_path, str(stage2.path), width_to3Dpose=64))
    weights = read_checkpoint(anew.last_network).weights
    assert weights["to_pose.layers.0.weight"].shape[0] == 64
    assert torch.equal(weights["encoder.fc.weight"], before["encoder.fc.weight"])


@pytest.mark.parametrize(("freeze_encoder", "unused"), [(True, "augment_color"), (False, "augment_yaw")])
def test_augmentation_without_effect_is_said_where_the_user_gave_it(
    data, stage1, tmp_path, capsys, freeze_encoder, unused
):
    changes = {"augment_color": 0.3, "augment_yaw": 90.0, "num_training_iterations": 1}
    config = tiny_pose_config(data, tmp_path, str(stage1.path), freeze_encoder=freeze_encoder, **changes)
    train_pose(config, given=frozenset({"augment_color", "augment_yaw"}))
    printed = capsys.readouterr().out
    assert printed.count("does nothing") == 1
    assert f"{unused} is {changes[unused]}, but does nothing where freeze_encoder is {freeze_encoder}" in printed
    train_pose({**config, "seed": 1})
    assert "does nothing" not in capsys.readouterr().out


@pytest.mark.parametrize("freeze_encoder", [True, False])
def test_both_kinds_of_stage_2_change_the_input_view(data, stage1, tmp_path, freeze_encoder):
    changes = {**AUGMENTATION, "augment_mirror": True, "freeze_encoder": freeze_encoder, "num_training_iterations": 8}
    config = tiny_pose_config(data, tmp_path, str(stage1.path) if freeze_encoder else None, **changes)
    ours, others = (losses(train_pose({**config, "augment_copies": copies})) for copies in (2, 3))
    assert np.isfinite(list(ours.values())).all()
    # Without a frozen encoder nothing is encoded before, and each step changes crops anew.
    assert (ours == others) != freeze_encoder
