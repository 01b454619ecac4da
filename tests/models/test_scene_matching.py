"""Matching boxes one to one, and taking a person's appearance from another instant."""

import itertools

import pytest
import torch

from models import build_network
from models.scene.matching import (
    best_assignments,
    best_matches,
    mix,
    permutation_matrices,
    soft_assignments,
    soft_matches,
)
from tests.scene_networks import SMALL, move_boxes, some_frames
from utils.errors import UserError


def cosines(boxes, frames=5, seed=0):
    return 2 * torch.rand(boxes, boxes, frames, generator=torch.Generator().manual_seed(seed)) - 1


def build(**changes):
    torch.manual_seed(0)
    network = build_network({**SMALL, "spatial_transformer_num": 3, **changes})
    move_boxes(network)
    return network


@pytest.mark.parametrize("boxes", [1, 2, 3, 4])
def test_assignments_are_the_best_permutations(boxes):
    similar = cosines(boxes)
    weights = best_assignments(similar, permutation_matrices(len(similar)))
    for sums in (weights.sum(0), weights.sum(1)):
        assert torch.equal(sums, torch.ones(boxes, 5))
    for frame in range(5):
        totals = [
            sum(similar[t, s, frame] for t, s in enumerate(order)) for order in itertools.permutations(range(boxes))
        ]
        assert (weights * similar).sum((0, 1))[frame].item() == pytest.approx(float(max(totals)))


def test_two_targets_no_longer_take_the_same_source():
    similar = torch.tensor([[0.9, 0.1], [0.8, 0.7]])[..., None]
    assert best_matches(similar)[..., 0].argmax(1).tolist() == [0, 0]
    assert best_assignments(similar, permutation_matrices(len(similar)))[..., 0].argmax(1).tolist() == [0, 1]
    soft = soft_assignments(similar, permutation_matrices(len(similar)), 10.0)[..., 0]
    assert soft[0, 0] == soft[1, 1] > 0.99 and soft_matches(similar, 10.0)[1, 0, 0] > 0.7


@pytest.mark.parametrize("boxes", [2, 3, 4])
def test_soft_assignments_sum_to_one_both_ways_and_follow_their_boxes(boxes):
    similar = cosines(boxes).requires_grad_()
    weights = soft_assignments(similar, permutation_matrices(len(similar)), 10.0)
    torch.testing.assert_close(weights.sum(1), torch.ones(boxes, 5))
    torch.testing.assert_close(weights.sum(0), torch.ones(boxes, 5))
    targets, sources = torch.randperm(boxes), torch.randperm(boxes)
    moved = soft_assignments(similar[targets][:, sources], permutation_matrices(boxes), 10.0)
    torch.testing.assert_close(moved, weights[targets][:, sources])
    weights[0, 0].sum().backward()
    # More like the right one, or less like the wrong ones: both help.
    assert (similar.grad[0, 0] > 0).all() and (similar.grad[0, 1] < 0).all() and (similar.grad[1, 0] < 0).all()


@pytest.mark.parametrize("training", [True, False])
def test_a_network_matches_one_to_one_only_if_asked(training):
    batch, sums = some_frames(), {}
    for one_to_one in (False, True):
        network = build(match_one_to_one=one_to_one, output_types=["similarity_matrix"], similarity_bandwidth=100.0)
        weights = network.train(training)(batch)["similarity_matrix"]
        torch.testing.assert_close(weights.sum(1), torch.ones(3, 4))
        sums[one_to_one] = (weights.sum(0) - 1).abs().max()
    assert sums[False] > 0.5 and sums[True] < 1e-5
    with pytest.raises(UserError, match=r"spatial_transformer_num = 7, expected at most 6 with match_one_to_one"):
        build(match_one_to_one=True, spatial_transformer_num=7)


def test_appearance_of_another_instant_is_of_the_matched_box():
    batch = some_frames()
    # The other instant shows the same frames, with its boxes in another order.
    batch = {name: value[[0, 1, 0, 1]] for name, value in batch.items()}
    order, network = torch.tensor([2, 0, 1]), build(output_types=["spatial_transformer"]).eval()
    with torch.no_grad():
        boxes = network(batch)["spatial_transformer"]
    boxes[:, 2:] = boxes[order][:, 2:]
    given = {**batch, "spatial_transformer": boxes.transpose(0, 1).flatten(0, 1)}
    other = {**given, "shuffled_appearance": torch.tensor([2, 3, 0, 1])}
    images = {}
    for matched in (False, True):
        network = build(
            shuffle_fg=True, match_appearance=matched, match_one_to_one=True, output_types=["img_crop"]
        ).eval()
        with torch.no_grad():
            images[matched] = network(other)["img_crop"], network(given)["img_crop"]
    torch.testing.assert_close(images[True][0], images[True][1])
    torch.testing.assert_close(images[True][1], images[False][1])
    assert (images[False][0] - images[False][1]).abs().max() > 1e-3


def test_mixed_values_may_have_any_shape():
    weights = soft_matches(cosines(3), 5.0)
    values = torch.randn(3, 5, 2, 4)
    torch.testing.assert_close(mix(values, weights)[..., 1, 2], mix(values[..., 1, 2], weights))
