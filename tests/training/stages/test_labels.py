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
