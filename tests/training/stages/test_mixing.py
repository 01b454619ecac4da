"""A recording and rendered people in one training: whose crops, labels and backgrounds come together."""

import numpy as np
import pytest
import torch

from datasets import MultiViewDataset
from datasets.joined import JoinedDataset
from models.checkpoints import read_checkpoint
from tests.runs import Died, die_at, losses, read_log
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config, tiny_pose_config
from training.loop.loaders import TrainingBatches, grouped_sampler, normalize_batch
from training.loop.mixing import (
    JoinedBatches,
    batch_sizes,
    draw_backgrounds,
    open_training_sets,
    put_on_backgrounds,
    training_parts,
)
from training.stages.augmentation.background import person_masks
from training.stages.novel_views import train_novel_views
from training.stages.pose import train_pose
from utils.errors import UserError

KEYS = ("img_crop", "bg_crop", "subj", "seq", "frame", "cam", "extrinsic_rot")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """One sequence of one person."""
    root = tmp_path_factory.mktemp("recording") / "train"
    return write_synthetic_layout(root, SIZE, subjects=(1,), sequences_per_subject=1, instants=10, seed=7)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("rendered") / "train", SIZE, masks=True)


@pytest.fixture(scope="module")
def joined(recording, rendered):
    first = MultiViewDataset(recording, KEYS, preload=True, progress=False)
    return JoinedDataset(first, MultiViewDataset(rendered, (*KEYS, "3D", "mask_crop"), preload=True, progress=False))


def mixed(recording, rendered, output, **changes) -> dict:
    return tiny_config(recording, output, **{"dataset_folder_mixed": str(rendered), **changes})


def test_rows_are_those_of_the_sets(joined):
    rows = np.array([45, 3, 40, 39, 3])
    batch, taken = joined.__getitems__(rows), joined.take(torch.from_numpy(rows))
    assert batch.keys() == taken.keys() == set(joined.keys) and len(joined) == 40 + 96
    for key in KEYS:
        expected = [(joined.second[row - 40] if row >= 40 else joined.first[row])[key] for row in rows]
        assert torch.equal(batch[key], torch.stack(expected)) and torch.equal(taken[key], batch[key])
    for values in (batch, taken):
        assert torch.isfinite(values["3D"]).all(1).tolist() == [True, False, True, False, False]
        assert torch.equal(values["3D"][0], joined.second[5]["3D"])
        assert (values["mask_crop"] == 255).flatten(1).all(1).tolist() == [False, True, False, True, True]
    assert torch.equal(joined[45]["img_crop"], batch["img_crop"][0])


def test_chosen_rows_of_both_sets_are_preloaded(joined, recording, rendered):
    rows = np.array([45, 3, 40, 7])
    few = JoinedDataset(MultiViewDataset(recording, KEYS), MultiViewDataset(rendered, (*KEYS, "3D", "mask_crop")))
    few.preload(progress=False, rows=rows)
    for batch in (few.__getitems__(rows), few.take(torch.from_numpy(rows))):
        for key, value in joined.__getitems__(rows).items():
            torch.testing.assert_close(batch[key], value, equal_nan=True, rtol=0, atol=0)
    for row in (8, 46):
        with pytest.raises(IndexError):
            few[row]


def test_negative_rows_count_from_the_end(joined):
    batch, same = joined.__getitems__([-1, -136, -97]), joined.__getitems__([135, 0, 39])
    assert all(torch.equal(batch[key], same[key]) for key in ("img_crop", "frame", "cam", "subj"))
    assert torch.equal(joined[-1]["img_crop"], joined[len(joined) - 1]["img_crop"])
    for row in (-137, 136):
        with pytest.raises(IndexError):
            joined[row]


def test_groups_are_of_one_instant_and_parts_of_one_set(joined, recording, rendered):
    config = mixed(recording, rendered, "", mixed_fraction=0.5)
    parts, held_out = training_parts(joined, config, unit=4)
    samplers = [grouped_sampler(p.labels, p.rows, {**config, "batch_size_train": p.batch_size}, True) for p in parts]
    batches = JoinedBatches([TrainingBatches(sampler, 3, 240) for sampler in samplers], [part.first for part in parts])
    seen = list(batches)
    assert len(seen) == len(batches) == 237
    for rows in seen:
        assert (rows < 40).tolist() == [True] * 4 + [False] * 4
        batch = joined.__getitems__(rows)
        instants = torch.stack([batch[key] for key in ("subj", "seq", "frame")], 1).view(4, 2, 3)
        assert torch.equal(instants[:, 0], instants[:, 1]) and (batch["cam"].view(4, 2).diff(dim=1) != 0).all()
    # Of one sequence the last instants are held out; nothing of the rendered set is.
    assert held_out.tolist() == list(range(24, 40)) and not set(held_out) & set(np.concatenate(seen).tolist())
    assert set(np.concatenate(seen).tolist()) > set(range(40, 136))


def test_batches_are_divided_in_whole_groups():
    config = {"batch_size_train": 32, "dataset_folder_mixed": "x", "mixed_fraction": 0.4}
    assert batch_sizes(config) == [19, 13] and batch_sizes(config, 4) == [20, 12]
    assert batch_sizes({**config, "dataset_folder_mixed": None, "mixed_fraction": 0.5}, 4) == [32]
    with pytest.raises(UserError, match=r"^mixed_fraction 0.01 of batch_size_train 32 leaves nothing .* expected 4 or"):
        batch_sizes({**config, "mixed_fraction": 0.01}, 4)


def test_rendered_people_are_put_on_backgrounds_of_the_recording(joined):
    batch = joined.__getitems__(np.r_[0:4, 40:44])
    drawn = draw_backgrounds(8, 4, {"mixed_background": 1.0}, torch.Generator().manual_seed(0))
    donors = drawn["background_from"]
    assert donors[:4].tolist() == [0, 1, 2, 3] and donors[4:].max() < 4
    changed = put_on_backgrounds(normalize_batch(batch) | drawn)
    before = normalize_batch(batch)
    for key in ("img_crop", "bg_crop"):
        assert torch.equal(changed[key][:4], before[key][:4])
    assert torch.equal(changed["bg_crop"][4:], before["bg_crop"][donors[4:]])
    person = (batch["mask_crop"][4:] > 0).expand(-1, 3, -1, -1)
    assert torch.equal(changed["img_crop"][4:][person], before["img_crop"][4:][person])
    assert torch.equal(changed["img_crop"][4:][~person], changed["bg_crop"][4:][~person])
    kept = draw_backgrounds(8, 4, {"mixed_background": 0.0}, torch.Generator().manual_seed(0))
    assert torch.equal(put_on_backgrounds(before | batch | kept | before)["img_crop"], before["img_crop"])


@pytest.mark.parametrize("recorded_masks", [False, True])
def test_people_of_the_recording_are_found_beside_rendered_ones_with_masks(rendered, tmp_path, recorded_masks):
    size = {"subjects": (1,), "sequences_per_subject": 1, "instants": 2}
    recording = write_synthetic_layout(tmp_path / "train", SIZE, masks=recorded_masks, **size)
    changes = {"augment_background": 1.0, "augment_person_color": 1.0}
    dataset = open_training_sets(mixed(recording, rendered, "", **changes), ("img_crop",), labeled=False, masks=True)
    batch = dataset.__getitems__(np.r_[0:4, 8:12])
    found, true = person_masks(normalize_batch(batch)), (batch["img_crop"] != batch["bg_crop"]).any(1, keepdim=True)
    exact = slice(0 if recorded_masks else 4, 8)
    assert torch.equal(found[exact], true[exact].float())
    # A person's faint border may not show.
    assert 0.3 < (found[:4] > 0.5).float().mean() / true[:4].float().mean() < 1.1


def test_a_recording_that_does_not_show_where_its_person_is_is_refused(rendered, tmp_path):
    recording = write_synthetic_layout(tmp_path / "train", SIZE, background=False, instants=2)
    for changes, keys in (
        ({"augment_background": 0.5}, "augment_background"),
        ({"mixed_background": 0.5}, "mixed_background"),
        ({"augment_person_color": 0.5, "mixed_background": 0.5}, "augment_person_color and mixed_background"),
    ):
        message = f"train' has neither masks nor backgrounds that both sets have; expected either, or {keys} of 0$"
        with pytest.raises(UserError, match=message):
            open_training_sets(mixed(recording, rendered, "", **changes), ("img_crop",), labeled=True, masks=True)


def test_stage_1_learns_poses_of_the_rendered_people_only(recording, rendered, tmp_path, monkeypatch, capsys):
    config = mixed(recording, rendered, tmp_path, loss_weight_3d=1.0, mixed_background=0.5, batch_size_train=16)
    seen = []
    monkeypatch.setattr(
        "training.stages.novel_views.known_pose_loss",
        lambda output, label, *_: seen.append(torch.isfinite(label).all(1).tolist()) or output.square().mean(),
    )
    run = train_novel_views(config)
    assert seen == [[False] * 8 + [True] * 8] * 6
    tested = read_log(run.path / "debug_log_testing.txt")[-1]
    assert np.isfinite(float(tested["loss"])) and "n_mpjpe" not in tested
    # It has poses already, and stage 2 would begin them anew.
    assert f"next: python configs/test_encodeDecode.py --evaluate network_path={run.path}" in capsys.readouterr().out


def test_poses_of_the_recording_learn_to_agree(recording, rendered, tmp_path):
    changes = {"loss_weight_3d": 1.0, "num_training_iterations": 120, "test_every": 120, "print_every": 1}
    config = mixed(recording, rendered, tmp_path, **changes, batch_size_train=16)
    spread = {}
    for weight in (1e-6, 5.0):
        run = train_novel_views({**config, "loss_weight_agreement": weight, "name": f"weight{weight}"})
        logged = [float(row["agreement"]) / weight for row in read_log(run.path / "debug_log_training.txt")]
        spread[weight] = np.mean(logged[-20:])
        # The part of agreement helps to choose the best network.
        tested = read_log(run.path / "debug_log_testing.txt")[-1]
        assert float(tested["loss"]) == pytest.approx(float(tested["rgb"]) + float(tested["agreement"]), rel=1e-5)
        assert float(tested["agreement"]) > 0
    assert spread[5.0] < 0.7 * spread[1e-6]
    with pytest.raises(UserError, match="loss_weight_agreement needs loss_weight_3d, which is 0"):
        train_novel_views({**config, "loss_weight_3d": 0.0, "loss_weight_agreement": 1.0})


def test_a_mixed_run_resumes_to_the_bit(recording, rendered, tmp_path, monkeypatch):
    changes = {"loss_weight_3d": 1.0, "mixed_background": 0.5, "loss_weight_agreement": 0.5}
    whole = train_novel_views(mixed(recording, rendered, tmp_path / "whole", **changes))
    config = mixed(recording, rendered, tmp_path / "broken", **changes)
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, 5)
        train_novel_views(config)
    resumed = train_novel_views(config, resume=True)
    assert losses(resumed) == losses(whole)
    ours, theirs = (read_checkpoint(run.last_network).weights for run in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("freeze", [True, False])
def test_stage_2_mixes_the_labels_of_both(recording, rendered, stage1, tmp_path, capsys, freeze):
    config = tiny_pose_config(recording, tmp_path, str(stage1.path), dataset_folder_mixed=str(rendered))
    run = train_pose({**config, "freeze_encoder": freeze, "label_fraction": 0.5})
    assert "12 and 96 labels to train on, 8 to choose the best" in capsys.readouterr().out
    assert np.isfinite(list(losses(run).values())).all()


def test_the_mixed_set_is_part_of_what_a_run_is(recording, rendered, data, tmp_path):
    from training.loop.identity import run_identity

    plain, one, other = (
        run_identity(tiny_config(recording, tmp_path, dataset_folder_mixed=folder), "encode")
        for folder in (None, str(rendered), str(data))
    )
    assert "dataset_folder_mixed" not in plain and one["dataset_folder_mixed"] != other["dataset_folder_mixed"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset_folder_mixed": "nowhere"}, "dataset_folder_mixed 'nowhere' does not exist"),
        ({"dataset_folder_mixed": __file__}, "test_mixing.py' is not a folder"),
        ({"mixed_background": 0.5, "dataset_folder_mixed": None}, "mixed_background needs dataset_folder_mixed"),
        ({"mixed_background": 0.5, "skip_background": False}, "mixed_background needs skip_background or"),
        ({"mixed_fraction": 0.4, "dataset_folder_mixed": None}, "mixed_fraction needs dataset_folder_mixed"),
        ({"mixed_fraction": 0.1}, "mixed_fraction 0.1 of batch_size_train 8 leaves nothing"),
    ],
)
def test_bad_input_is_one_line(recording, rendered, tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        train_novel_views(mixed(recording, rendered, tmp_path, **{"dataset_folder_mixed": str(rendered), **changes}))
    assert not list(tmp_path.iterdir())
