"""Batches have the published structure, and an epoch is what its documentation says."""

import numpy as np
import pytest

from datasets.sampler import GroupedBatchSampler, select_rows, split_validation
from training.loop.loaders import grouped_sampler
from utils.errors import UserError


def made_up_labels(shuffled=True, cameras=4):
    """Three subjects with three sequences each, of 4 to 20 instants; frame numbers count by 5, from anywhere."""
    rng = np.random.default_rng(3)
    columns = []
    for seq in range(9):
        frames = 5 * np.arange(rng.integers(4, 21)) + rng.integers(0, 100)
        for frame in frames:
            columns += [(seq // 3 * 4 + 1, seq, frame, cam) for cam in range(cameras)]
    table = np.array(columns)
    table = rng.permutation(table) if shuffled else table
    return dict(zip(("subj", "seq", "frame", "cam"), table.T, strict=True))


def instant_of(labels, rows):
    return np.stack([labels[name][rows] for name in ("subj", "seq", "frame")], axis=-1)


def distinct(labels, rows):
    return set(map(tuple, instant_of(labels, np.asarray(rows)).reshape(-1, 3)))


@pytest.fixture
def labels():
    return made_up_labels()


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("cams", [1, 2, 3])
def test_pairs_of_instants_seen_by_several_cameras(labels, cams, shuffle):
    sampler = GroupedBatchSampler(labels, 4 * cams, cams, True, shuffle=shuffle)
    for batch in sampler:
        sub_batches = batch.reshape(4, cams)
        instants = instant_of(labels, sub_batches)
        assert (instants == instants[:, :1]).all(), "a sub-batch is one instant"
        assert all(len(set(row)) == cams for row in labels["cam"][sub_batches]), "cameras differ"
        first, second = instants[0::2, 0], instants[1::2, 0]
        assert (first[:, :2] == second[:, :2]).all(), "a pair is of one sequence"
        assert (first[:, 2] != second[:, 2]).all(), "a pair is of two instants"


def test_an_epoch_has_every_instant_once_as_the_first_of_a_pair(labels):
    sampler = GroupedBatchSampler(labels, 4, 2, True)
    first = np.concatenate([instant_of(labels, batch[:1]) for batch in sampler])
    everything = distinct(labels, np.arange(len(labels["subj"])))
    assert len(sampler) == len(first) == len(everything)
    assert set(map(tuple, first)) == everything


def test_an_epoch_without_pairs_has_every_instant_once(labels):
    first = np.concatenate([instant_of(labels, batch[::2]) for batch in GroupedBatchSampler(labels, 2, 2, False)])
    everything = distinct(labels, np.arange(len(labels["subj"])))
    assert len(first) == len(everything) and set(map(tuple, first)) == everything


def test_choices_are_even(labels):
    """Cameras, orders of cameras and partners are drawn uniformly."""
    sampler = GroupedBatchSampler(labels, 4, 2, True)
    pairs, partners = np.zeros((4, 4)), []
    for epoch in range(60):
        sampler.set_epoch(epoch)
        rows = np.stack(list(sampler))
        np.add.at(pairs, tuple(labels["cam"][rows[:, :2]].T), 1)
        np.add.at(pairs, tuple(labels["cam"][rows[:, 2:]].T), 1)
        partners.append(rows[:, 2])
    assert (np.diag(pairs) == 0).all()
    chosen = pairs[~np.eye(4, dtype=bool)] / pairs.sum()
    np.testing.assert_allclose(chosen, 1 / 12, rtol=0.1)
    counts = np.unique(instant_of(labels, np.concatenate(partners)), axis=0, return_counts=True)[1]
    assert counts.min() > 30 and counts.max() < 100  # 60 each, on average


def test_order_depends_on_seed_and_epoch_only(labels):
    def epoch(number, seed=0):
        sampler = GroupedBatchSampler(labels, 8, seed=seed)
        list(sampler)  # iterating leaves no trace
        sampler.set_epoch(number)
        return np.stack(list(sampler))

    np.testing.assert_array_equal(epoch(3), epoch(3))
    assert (epoch(3) != epoch(4)).any()
    assert (epoch(3) != epoch(3, seed=1)).any()
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    epoch(1)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_resuming_in_the_middle_of_an_epoch(labels):
    sampler = GroupedBatchSampler(labels, 8)
    sampler.set_epoch(2)
    whole = np.stack(list(sampler))
    sampler.set_epoch(2, start_batch=5)
    np.testing.assert_array_equal(np.stack(list(sampler)), whole[5:])
    sampler.set_epoch(2)
    assert len(list(sampler)) == len(sampler) == len(whole)


@pytest.mark.parametrize("drop_last", [True, False])
def test_ranks_share_every_batch_in_whole_groups(labels, drop_last):
    alone = list(GroupedBatchSampler(labels, 24, drop_last=drop_last))
    ranks = [list(GroupedBatchSampler(labels, 24, drop_last=drop_last, rank=rank, world_size=3)) for rank in range(3)]
    for joined, *shares in zip(alone, *ranks, strict=True):
        np.testing.assert_array_equal(np.concatenate(shares), joined)
        assert all(len(share) % 4 == 0 for share in shares)
        assert len(joined) < 24 or [len(share) for share in shares] == [8, 8, 8]


def test_incomplete_batch_is_dropped_or_kept(labels):
    instants = len(distinct(labels, np.arange(len(labels["subj"]))))
    per_batch = next(count for count in range(3, 10) if instants % count)
    dropped = list(GroupedBatchSampler(labels, 4 * per_batch))
    assert [len(batch) for batch in dropped] == [4 * per_batch] * (instants // per_batch)
    kept = list(GroupedBatchSampler(labels, 4 * per_batch, drop_last=False))
    assert len(kept) == len(dropped) + 1 and len(kept[-1]) == 4 * (instants % per_batch)


def test_instants_with_too_few_cameras_are_left_out(labels):
    rows = np.arange(len(labels["subj"]))
    blind = np.flatnonzero(~((labels["frame"] % 2 == 0) & (labels["cam"] > 0)))
    sampler = GroupedBatchSampler(labels, 4, rows=blind)
    assert distinct(labels, np.concatenate(list(sampler))) == distinct(labels, rows[labels["frame"] % 2 == 1])


def test_a_lone_instant_is_its_own_partner():
    labels = {"subj": np.ones(4), "seq": np.ones(4), "frame": np.zeros(4), "cam": np.arange(4)}
    labels = {name: values.astype(int) for name, values in labels.items()}
    for shuffle in (True, False):
        batches = list(GroupedBatchSampler(labels, 4, shuffle=shuffle))
        assert len(batches) == 1 and all(len(set(half)) == 2 for half in batches[0].reshape(2, 2))


def test_fixed_order_sees_every_crop_once(labels):
    rows = np.concatenate(list(GroupedBatchSampler(labels, 10, 2, False, shuffle=False, drop_last=False)))
    assert sorted(rows) == list(range(len(labels["subj"])))
    table = np.stack([labels[name][rows] for name in ("subj", "seq", "frame", "cam")])
    assert (np.lexsort(table[::-1]) == np.arange(len(rows))).all()


def test_fixed_order_with_pairs_sees_every_crop(labels):
    rows = np.concatenate(list(GroupedBatchSampler(labels, 12, 2, True, shuffle=False, drop_last=False)))
    assert set(rows) == set(range(len(labels["subj"]))) and len(rows) == len(set(rows))
    odd = np.concatenate(list(GroupedBatchSampler(labels, 6, 3, True, shuffle=False, drop_last=False)))
    assert distinct(labels, odd) == distinct(labels, rows)


def test_fixed_order_does_not_depend_on_the_order_of_rows():
    seen = []
    for shuffled in (False, True):
        labels = made_up_labels(shuffled)
        rows = np.concatenate(list(GroupedBatchSampler(labels, 8, shuffle=False, seed=int(shuffled))))
        seen.append(np.stack([labels[name][rows] for name in ("seq", "frame", "cam")]))
    np.testing.assert_array_equal(*seen)


def test_actor_subset_and_every_nth_frame(labels):
    rows = select_rows(labels, actor_subset=[1, 9], every_nth_frame=3)
    assert set(labels["subj"][rows]) == {1, 9}
    for seq in np.unique(labels["seq"][rows]):
        frames = np.unique(labels["frame"][labels["seq"] == seq])
        assert np.unique(labels["frame"][rows][labels["seq"][rows] == seq]).tolist() == frames[::3].tolist()
    assert len(rows) == 4 * len(distinct(labels, rows)), "all cameras of an instant stay"
    sampler = GroupedBatchSampler(labels, 4, actor_subset=[1, 9], every_nth_frame=3)
    assert set(np.concatenate(list(sampler))) <= set(rows)
    assert len(sampler) == len(distinct(labels, rows))
    np.testing.assert_array_equal(select_rows(labels), np.arange(len(labels["subj"])))
    np.testing.assert_array_equal(select_rows(labels, [5], rows=rows), [])


@pytest.mark.parametrize(("fraction", "sequences"), [(0.2, 1), (0.3, 1), (0.6, 2), (0.99, 2)])
def test_validation_split_holds_out_sequences_of_every_subject(labels, fraction, sequences):
    train, validation = split_validation(labels, fraction, seed=1)
    assert sorted([*train, *validation]) == list(range(len(labels["subj"])))
    assert not set(labels["seq"][train]) & set(labels["seq"][validation])
    for subject in (1, 5, 9):
        assert len(set(labels["seq"][validation][labels["subj"][validation] == subject])) in (1, sequences)
        assert subject in labels["subj"][train]


def test_validation_split_is_seeded(labels):
    np.testing.assert_array_equal(split_validation(labels, 0.3, 1)[1], split_validation(labels, 0.3, 1)[1])
    assert len({tuple(split_validation(labels, 0.3, seed)[1]) for seed in range(8)}) > 1
    assert len(split_validation(labels, 0.0, 1)[1]) == 0


def test_validation_split_comes_near_its_fraction():
    """1000 sequences of one subject: about a tenth of the rows, not of a sequence more."""
    length = np.random.default_rng(0).integers(1, 60, 1000)
    labels = {"seq": np.repeat(np.arange(1000), length), "subj": np.ones(length.sum(), dtype=int)}
    assert len(split_validation(labels, 0.1)[1]) == pytest.approx(0.1 * length.sum(), abs=60)


def test_validation_split_comes_near_its_fraction_with_few_sequences_of_many_subjects():
    """One to four sequences of each of 300 people, and 20 of another one, who is split alone."""
    people = np.concatenate([np.repeat(np.arange(300), np.arange(300) % 4 + 1), np.full(20, 999)])
    labels = {"subj": np.repeat(people, 10), "seq": np.repeat(np.arange(len(people)), 10)}
    train, validation = split_validation(labels, 0.1)
    assert len(validation) == pytest.approx(0.1 * len(labels["subj"]), abs=20)
    assert (labels["subj"][validation] == 999).sum() == 20
    assert not set(labels["seq"][train]) & set(labels["seq"][validation])


def test_one_sequence_is_held_out_where_no_subject_has_two():
    labels = {"subj": np.repeat([1, 5, 6], 4), "seq": np.repeat([0, 1, 2], 4)}
    train, validation = split_validation(labels, 0.1)
    assert len(validation) == 4 and len(set(labels["seq"][validation])) == 1
    assert set(train) | set(validation) == set(range(12))


def test_a_batch_of_no_whole_groups_is_named_as_the_user_knows_it(labels):
    config = {"batch_size_train": 36, "batch_size_test": 32, "useCamBatches": 3, "useSubjectBatches": True, "seed": 0}
    rows = np.arange(len(labels["subj"]))
    with pytest.raises(UserError, match=r"batch_size_test is 32; expected a multiple of 3 \(useCamBatches 3\)"):
        grouped_sampler(labels, rows, config, shuffle=False)
    with pytest.raises(UserError, match=r"batch_size_train is 32; .* 6 \(useCamBatches 3, useSubjectBatches True\)"):
        grouped_sampler(labels, rows, {**config, "batch_size_train": 32}, shuffle=True)


def test_bad_requests_are_one_line(labels):
    with pytest.raises(UserError, match="batch_size is 30; expected a multiple of 4"):
        GroupedBatchSampler(labels, 30)
    with pytest.raises(UserError, match="batch_size is 32; expected a multiple of 4 for each of 3 processes"):
        GroupedBatchSampler(labels, 32, world_size=3)
    with pytest.raises(UserError, match="batch_size is 0"):
        GroupedBatchSampler(labels, 0)
    with pytest.raises(UserError, match="no subject 7"):
        GroupedBatchSampler(labels, 4, actor_subset=[1, 7])
    with pytest.raises(UserError, match="make no batch of 4000"):
        GroupedBatchSampler(labels, 4000)
    with pytest.raises(UserError, match="0 instants with 5 or more cameras"):
        GroupedBatchSampler(labels, 10, 5)
    with pytest.raises(UserError, match="every_nth_frame is 0"):
        GroupedBatchSampler(labels, 4, every_nth_frame=0)
    with pytest.raises(UserError, match="fraction is 1"):
        split_validation(labels, 1.0)
    with pytest.raises(UserError, match="only one sequence"):
        split_validation({"subj": np.ones(3, int), "seq": np.ones(3, int)}, 0.1)


def test_large_and_negative_ids():
    labels = made_up_labels()
    plain = np.stack(list(GroupedBatchSampler(labels, 8, shuffle=False)))
    labels["seq"] = labels["seq"] * 10**9 - 5 * 10**9
    np.testing.assert_array_equal(np.stack(list(GroupedBatchSampler(labels, 8, shuffle=False))), plain)
