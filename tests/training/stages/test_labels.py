"""The labels of stage 2 and their batches."""

import numpy as np
import pytest

from tests.tiny import tiny_pose_config
from training.loop.loaders import open_training_set, training_rows
from training.stages.labels import ShuffledBatches, labeled_rows
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
    with pytest.raises(UserError, match="label_subjects"):
        labeled_rows(dataset.labels, {**config, "label_subjects": [9]})


def test_batches_of_an_iteration_do_not_depend_on_where_a_run_started():
    shuffled = list(ShuffledBatches(np.arange(10, 20), 4, 0, 0, 9))
    for ours, theirs in zip(ShuffledBatches(np.arange(10, 20), 4, 0, 5, 9), shuffled[5:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(set(np.concatenate(shuffled[:2]))) == 8
