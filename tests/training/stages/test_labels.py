"""The labels of stage 2 and their batches."""

import numpy as np
import pytest
import torch

from models import build_network
from tests.tiny import tiny_pose_config
from training.loop.hardware import Hardware
from training.loop.loaders import open_training_set, training_rows
from training.stages.labels import LABEL_KEYS, CachedLatents, ShuffledBatches, labeled_rows
from utils.errors import UserError


def test_labels_are_a_seeded_fraction_of_the_chosen_subjects(data):
    config = tiny_pose_config(data, data, None, label_fraction=0.25, label_subjects=[5])
    dataset = open_training_set(config, ("3D", "img_crop"))
    train, held_out = labeled_rows(dataset.labels, config)
    all_train, all_held_out = training_rows(dataset.labels, config)
    assert set(dataset.labels["subj"][train]) == {5}
    assert set(train) <= set(all_train) and set(held_out) <= set(all_held_out)
    subject = dataset.labels["subj"] == 5
    assert len(train) == round(0.25 * subject[all_train].sum())
    assert not set(dataset.labels["seq"][train]) & set(dataset.labels["seq"][held_out])
    np.testing.assert_array_equal(train, labeled_rows(dataset.labels, config)[0])
    assert set(train) != set(labeled_rows(dataset.labels, {**config, "seed": 1})[0])
    thinned, _ = labeled_rows(dataset.labels, {**config, "every_nth_frame": 2, "label_fraction": 1.0})
    assert 0 < len(thinned) <= 0.5 * subject[all_train].sum() + len(np.unique(dataset.labels["seq"]))
    with pytest.raises(UserError, match="label_subjects"):
        labeled_rows(dataset.labels, {**config, "label_subjects": [9]})


@pytest.mark.parametrize(("key", "choose"), [("label_subjects", labeled_rows), ("actor_subset", training_rows)])
def test_subjects_of_few_sequences_are_split_by_themselves_where_all_or_none_are_held_out(key, choose):
    """As 3DHP: two sequences of each of seven people, of all of whom one or two are held out."""
    labels = {"subj": np.repeat(np.arange(1, 8), 20), "seq": np.tile(np.repeat([1, 2], 10), 7)}
    labels |= {"frame": np.arange(140), "cam": np.zeros(140, int)}
    config = {"actor_subset": None, "label_subjects": None, "label_fraction": 1.0, "every_nth_frame": 1}
    config |= {"validation_fraction": 0.1, "dataset_folder_train": "3dhp"}
    for seed in range(8):
        for subject in range(1, 8):
            train, held_out = choose(labels, {**config, "seed": seed, key: [subject]})
            assert set(labels["subj"][train]) == set(labels["subj"][held_out]) == {subject}
            assert len(train) == len(held_out) == 10
            assert len(set(labels["seq"][train]) | set(labels["seq"][held_out])) == 2
        train, held_out = choose(labels, {**config, "seed": seed, key: [1, 2, 3, 4, 5, 6, 7]})
        parts = training_rows(labels, {**config, "seed": seed})
        assert np.array_equal(train, parts[0]) and np.array_equal(held_out, parts[1])


def test_no_subject_is_dropped_in_silence(capsys):
    labels = {"subj": np.repeat([1, 2, 3], 20), "seq": np.tile(np.repeat([1, 2], 10), 3), "frame": np.arange(60)}
    labels |= {"cam": np.zeros(60, int)}
    config = {"actor_subset": [1, 5, 6, 7, 8], "label_subjects": None, "label_fraction": 1.0, "every_nth_frame": 1}
    config |= {"validation_fraction": 0.3, "dataset_folder_train": "set", "seed": 0}
    train, _ = training_rows(labels, config)
    assert set(labels["subj"][train]) == {1}
    line = "left out of 'set': subjects 2, 3, not in actor_subset [1, 5, 6, 7, 8]\n"
    assert capsys.readouterr().out == line
    for subjects in (None, [1, 2]):
        training_rows(labels, {**config, "actor_subset": subjects})
    assert not capsys.readouterr().out
    with pytest.raises(UserError, match=r"^actor_subset \[1, 99\]: no subject 99; expected some of \[1 2 3\]$"):
        training_rows(labels, {**config, "actor_subset": [1, 99]})
    with pytest.raises(UserError, match=r"^label_subjects \[1, 99\]: no subject 99"):
        labeled_rows(labels, {**config, "label_subjects": [1, 99]})


def test_one_sequence_cannot_be_split():
    labels = {"subj": np.repeat([1, 2, 3], 10), "seq": np.repeat([1, 2, 3], 10), "frame": np.arange(30)}
    labels |= {"cam": np.zeros(30, int)}
    config = {"actor_subset": None, "label_subjects": [1], "label_fraction": 1.0, "every_nth_frame": 1, "seed": 0}
    config |= {"validation_fraction": 0.1, "dataset_folder_train": "set"}
    with pytest.raises(UserError, match=r"label_subjects \[1\] .* of two or more sequences"):
        labeled_rows(labels, config)
    with pytest.raises(UserError, match=r"actor_subset \[1\]"):
        training_rows(labels, {**config, "actor_subset": [1]})


def test_batches_of_an_iteration_do_not_depend_on_where_a_run_started():
    shuffled = list(ShuffledBatches(np.arange(10, 20), 4, 0, 0, 9))
    for ours, theirs in zip(ShuffledBatches(np.arange(10, 20), 4, 0, 5, 9), shuffled[5:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(set(np.concatenate(shuffled[:2]))) == 8


def test_changed_copies_of_each_label_are_encoded_beside_the_clean_crops(data):
    config = tiny_pose_config(data, data, None, augment_roll=40.0, augment_noise=0.2, augment_copies=3)
    dataset = open_training_set(config, LABEL_KEYS)
    network, hardware, rows = build_network(config).eval(), Hardware("cpu", "float32"), np.arange(12)
    latents = CachedLatents(network, dataset, rows, hardware, config, changed=rows[:8])
    again = CachedLatents(network, dataset, rows, hardware, config, changed=rows[:8])
    plain = CachedLatents(network, dataset, rows, hardware, config)
    assert len(latents) == 12 + 3 * 8 and len(plain) == 12
    for name, values in latents.tensors.items():
        assert torch.equal(values[:12], plain.tensors[name]) and torch.equal(values, again.tensors[name])
    # Rolls leave the depth of each joint, and its height above the ground; no two copies are alike.
    copies = {name: latents.tensors[name][12:].unflatten(0, (3, 8)) for name in ("points", "3D", "vertical")}
    joints, vertical = copies["3D"].unflatten(2, (17, 3)), copies["vertical"]
    clean = plain.tensors["3D"][:8].unflatten(1, (17, 3))
    torch.testing.assert_close(joints[..., 2], clean[..., 2].expand(3, -1, -1))
    heights = torch.einsum("nbjc,nbc->nbj", joints, vertical)
    expected = torch.einsum("bjc,bc->bj", clean, plain.tensors["vertical"][:8])
    torch.testing.assert_close(heights, expected.expand(3, -1, -1))
    for name in ("points", "3D"):
        assert not torch.allclose(copies[name][0], copies[name][1], atol=1e-3)
