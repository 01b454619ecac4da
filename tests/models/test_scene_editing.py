"""Taking frames apart and putting them together again: what it keeps, and what it changes."""

import pytest
import torch

from models import build_network
from models.scene.editing import put_together, take_apart
from tests.scene_networks import SMALL, move_boxes, some_frames


def opened(**changes):
    torch.manual_seed(0)
    network = build_network({**SMALL, "output_types": ["img", "radiance_normalized", "depth_map"], **changes}).eval()
    move_boxes(network)
    inputs = some_frames(2)
    own = torch.arange(2)
    intrinsics = torch.tensor([[40.0, 0, 35.5], [0, 40.0, 19.5], [0, 0, 1]]).expand(2, 3, 3)
    return network, {**inputs, "intrinsics": intrinsics, "shuffled_pose": own, "shuffled_appearance": own}


@pytest.mark.parametrize(
    "changes", [{}, {"opaque_masks": True, "empty_masks": True}, {"perspectiveCorrection": True}], ids=str
)
@torch.no_grad()
def test_together_again_is_what_the_network_composes(changes):
    network, inputs = opened(**changes)
    expected = network(inputs)
    again = put_together(network, take_apart(network, inputs["img"], inputs["bg"]), inputs["bg"])
    for name, values in expected.items():
        torch.testing.assert_close(again[name], values, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_without_one_person_and_without_any():
    network, inputs = opened()
    people = take_apart(network, inputs["img"], inputs["bg"])
    alone = put_together(network, people.only([1]), inputs["bg"])
    assert alone["radiance_normalized"].shape[0] == 1
    both = put_together(network, people, inputs["bg"])
    assert (alone["radiance_normalized"][0] >= both["radiance_normalized"][1] - 1e-4).all()  # nobody hides it
    assert torch.equal(put_together(network, people.only([]), inputs["bg"])["img"], inputs["bg"])


@torch.no_grad()
def test_moved_and_dressed():
    network, inputs = opened()
    people = take_apart(network, inputs["img"], inputs["bg"])
    moved = people.moved(0, right=0.1, down=-0.05)
    offsets = (moved.boxes - people.boxes)[..., 2]
    torch.testing.assert_close(offsets[0], torch.tensor([0.2, -0.1]).expand(2, 2))
    assert not offsets[1].any() and torch.equal(moved.boxes[..., :2], people.boxes[..., :2])
    dressed = people.dressed_as(0, 1)
    assert torch.equal(dressed.appearance[0], people.appearance[1]) and torch.equal(dressed.points, people.points)
    assert not torch.equal(dressed.appearance[0], people.appearance[0])
