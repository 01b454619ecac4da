"""Options of the method of several people that mend what the release gets wrong: each does what it says."""

import pytest
import torch

from models import build_network, training_permutations
from models.scene.boxes import box_matrices, box_sizes
from models.scene.compositing import opaque_layers
from models.scene.detector import reduce_frames
from models.scene.network import _Between0And1
from tests.scene_networks import SMALL, move_boxes, some_frames
from training.stages.scene_losses import FrameLoss, box_prior
from utils.errors import UserError


def build(**changes):
    torch.manual_seed(0)
    return build_network({**SMALL, **changes})


def start_gradients(**changes):
    """Gradients of the detector's last layer, (K,5) or (K,4), of a new network's first step."""
    network = build(**changes).train()
    batch = some_frames()
    loss = FrameLoss({**SMALL, "loss_weight_imageNet": 0.0})(network(batch)["img"], batch["img"])["loss"]
    loss.backward()
    return network.detector.fc.bias.grad.unflatten(0, (network.boxes, -1))


def test_distinct_starts_break_the_tie_of_boxes():
    tied, broken = start_gradients(), start_gradients(distinct_starts=True)
    torch.testing.assert_close(tied[0], tied[1])
    assert not tied[:, 4].abs().max() > 1e-6 * tied.abs().max()
    assert (broken[0] - broken[1])[:4].abs().min() > 0.01 * broken.abs().max()
    assert broken[:, 4].abs().min() > 100 * tied[:, 4].abs().max()
    boxes, _ = build(distinct_starts=True, spatial_transformer_num=3).eval().detect(some_frames()["img"])
    torch.testing.assert_close(boxes[:, 0, 0, 2], 0.8 * torch.tensor([-2 / 3, 0, 2 / 3]))
    assert not boxes[:, :, 1, 2].any()


def test_the_prior_of_distinct_boxes_leaves_them_on_their_sides():
    sides = torch.tensor([[[-0.5, 0.0]], [[0.5, 0.0]]])
    boxes = box_matrices(torch.tensor([0.4 / 1.5, 0.4]).expand(2, 1, 2), sides)
    assert box_prior(boxes, 1.0).item() > 0.1
    assert box_prior(boxes, 1.0, together=True).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("size", [(40, 72), (72, 40), (48, 48)])
def test_square_boxes_are_square_in_pixels(size):
    network = build(square_boxes=True).eval()
    move_boxes(network)
    boxes, depths = network.detect(torch.randn(4, 3, *size))
    sides = box_sizes(boxes) * (torch.tensor([size[1], size[0]]) - 1)
    torch.testing.assert_close(sides[..., 0], sides[..., 1])
    heights = box_sizes(boxes)[..., 1]
    assert 0.2 <= heights.min() < heights.max() <= 1 and depths.unique().numel() == 8


def test_the_prior_of_square_boxes_is_of_their_height():
    boxes = box_matrices(torch.tensor([0.9, 0.4]).expand(2, 3, 2), torch.zeros(2, 3, 2))
    assert box_prior(boxes, 1.0).item() > 0.1
    assert box_prior(boxes, 1.0, square=True).item() == pytest.approx(0, abs=1e-9)
    config = {**SMALL, "square_boxes": True, "loss_weight_imageNet": 0.0}
    losses = FrameLoss(config)(torch.zeros(3, 3, 8, 8), torch.zeros(3, 3, 8, 8), boxes)
    assert losses["boxes"] < 1e-9


def test_the_detector_sees_what_differs_from_the_background():
    network = build(detector_background=True).eval()
    move_boxes(network)
    batch = some_frames()
    network.output_types = ["spatial_transformer"]
    with torch.no_grad():
        before = network(batch)["spatial_transformer"]
        assert not torch.equal(network({**batch, "bg": batch["bg"].flip(0)})["spatial_transformer"], before)
        # With nobody there the three new channels say nothing, whatever their weights.
        empty = {**batch, "bg": batch["img"]}
        nobody = network(empty)["spatial_transformer"]
        network.detector.conv1.weight[:, 3:] *= 7
        torch.testing.assert_close(network(empty)["spatial_transformer"], nobody)
    with pytest.raises(UserError, match=r"^input 'bg' is missing, expected .* for detector_background"):
        network({"img": batch["img"]})
    network.output_types = ["img_downscaled"]
    assert list(network({"img": batch["img"]})) == ["img_downscaled"]


def test_a_smooth_reduction_keeps_what_is_thin():
    stripes = torch.zeros(1, 3, 512, 512)
    stripes[..., ::8, :] = 1
    rough, smooth = (reduce_frames(stripes, smooth=smooth)[0, 0, 2:-2].mean(1) for smooth in (False, True))
    assert rough.max() - rough.min() > 0.7
    assert smooth.std() < 0.5 * rough.std() and smooth.mean().item() == pytest.approx(1 / 8, rel=0.05)
    shift = torch.tensor([[0.05, -0.05]])
    ramp = torch.linspace(-1, 1, 512).expand(1, 3, 512, 512)
    moved = reduce_frames(ramp, shift, smooth=True)[0, 0, 64, 10:-10] - torch.linspace(-1, 1, 128)[10:-10]
    torch.testing.assert_close(moved, torch.full_like(moved, 0.05), rtol=0, atol=6e-3)
    assert moved.mean().item() == pytest.approx(0.05, abs=1e-3)
    kept = build(smooth_detector_input=True, output_types=["img_downscaled"])({"img": stripes})["img_downscaled"]
    assert torch.equal(kept, reduce_frames(stripes, smooth=True))


def test_masks_may_be_empty():
    batch = some_frames()
    network = build(output_types=["radiance_normalized"]).eval()
    assert network(batch)["radiance_normalized"].amax() > 0.4
    network = build(output_types=["radiance_normalized", "img"], empty_masks=True).eval()
    torch.nn.init.constant_(network.decoder.to_image.bias, -20.0)
    outputs = network(batch)
    assert outputs["radiance_normalized"].amax() < 1e-3
    torch.testing.assert_close(outputs["img"], batch["bg"], rtol=0, atol=0.05)


def test_opaque_people_hide_what_is_behind():
    masks = torch.tensor([1.0, 0.3, 0.8]).view(3, 1, 1, 1, 1)
    for depths, shares in (([0.0, 9, 18], [1, 0, 0]), ([18.0, 0, 9], [0.14, 0.3, 0.56]), ([9.0, 0, 18], [0.7, 0.3, 0])):
        layers = opaque_layers(masks, torch.tensor(depths)[:, None])
        torch.testing.assert_close(layers.radiance.flatten(), torch.tensor(shares).float(), rtol=0, atol=1e-6)
        assert not layers.background.any()
    alone = opaque_layers(masks[1:2], torch.zeros(1, 1))
    torch.testing.assert_close(alone.radiance.flatten(), torch.tensor([0.3]))
    # Whatever the depths, all that is not people is background; equal people at equal depths share.
    masks, depths = torch.rand(4, 2, 1, 5, 5), torch.randn(4, 2)
    layers = opaque_layers(masks, depths)
    torch.testing.assert_close(layers.radiance.sum(0) + layers.background, torch.ones(2, 1, 5, 5), rtol=0, atol=2e-4)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(opaque_layers(masks[order], depths[order]).radiance, layers.radiance[order])
    same = opaque_layers(torch.ones(3, 1, 1, 1, 1), torch.zeros(3, 1)).radiance.flatten()
    torch.testing.assert_close(same, torch.full((3,), 1 / 3), rtol=0, atol=2e-4)


def test_opaque_people_move_to_the_front_by_their_gradient():
    depths = torch.tensor([[0.1], [0.0]], requires_grad=True)
    opaque_layers(torch.ones(2, 1, 1, 1, 1), depths).radiance[0].sum().backward()
    assert depths.grad[0] < -0.1 and depths.grad[1] > 0.1
    masks = torch.zeros(2, 1, 1, 3, 3, requires_grad=True)
    opaque_layers(masks, torch.zeros(2, 1)).radiance.sum().backward()
    torch.testing.assert_close(masks.grad, torch.ones_like(masks), rtol=0, atol=1e-3)
    empty = build(opaque_masks=True, empty_masks=True)
    empty(some_frames())["img"].square().mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in empty.parameters())


def test_brightness_counts_where_statistics_are_not_matched():
    target = torch.randn(2, 3, 32, 48)
    for weights in ({"loss_weight_imageNet": 0.0}, {"loss_weight_rgb": 0.0}):
        free, tied = (FrameLoss({**SMALL, **weights, "match_statistics": match}) for match in (True, False))
        brighter = target + 0.5
        assert free(target, target)["loss"] < 1e-9 and tied(target, target)["loss"] < 1e-9
        assert tied(brighter, target)["loss"] > 1e-3
    assert tied.match_statistics is False
    pixels = FrameLoss({**SMALL, "loss_weight_imageNet": 0.0, "match_statistics": False})
    assert pixels(brighter, target)["loss"].item() == pytest.approx(0.25)


def test_published_targets_roll_or_stay_and_others_always_roll():
    generator, stayed = torch.Generator().manual_seed(0), []
    for _ in range(50):
        pose, appearance = training_permutations(16, 4, True, generator, rolls=True)
        for groups, rest in ((pose.view(4, 4), torch.arange(16)), (appearance.view(4, 4), torch.arange(16) ^ 4)):
            rest = rest.view(4, 4)
            assert all(torch.equal(a, b) or torch.equal(a, b.roll(1)) for a, b in zip(groups, rest, strict=True))
        stayed.append((pose == torch.arange(16)).float().mean())
        assert training_permutations(4, 2, True, generator, rolls=True, other_view=True)[0].tolist() == [1, 0, 3, 2]
    assert 0.4 < torch.stack(stayed).mean() < 0.6


@pytest.mark.parametrize("changes", [{}, {"MAE": True, "match_statistics": False}])
def test_losses_around_a_box_of_the_frame_are_those_of_the_frame(changes):
    output, target = torch.randn(2, 2, 3, 32, 32).requires_grad_()
    whole, around = (FrameLoss({**SMALL, "loss_around_boxes": here, **changes}).eval() for here in (False, True))
    boxes = box_matrices(torch.full((1, 2, 2), 0.8), torch.zeros(1, 2, 2))
    expected, found = whole(output, target, boxes), around(output, target, boxes)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
    # Tests have no boxes, and compare whole frames.
    torch.testing.assert_close(around(output, target)["rgb"], expected["rgb"])


def test_losses_around_boxes_are_as_large_as_those_of_whole_frames_and_leave_boxes_alone():
    background, person = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 20, 20)
    output = background.clone()
    output[..., 20:40, 10:30] = person
    output.requires_grad_()
    center = 2 * torch.tensor([19.5, 29.5]) / 63 - 1
    boxes = box_matrices(torch.full((1, 2, 2), 0.4), center.expand(1, 2, 2)).requires_grad_()
    # Square errors of noise would be smoothed away by resampling: crops have the resolution of the frame here.
    config = {**SMALL, "loss_weight_imageNet": 0.0, "loss_weight_boxes": 0.0, "match_statistics": False}
    whole = FrameLoss(config)(output, background, boxes)["loss"]
    around = FrameLoss({**config, "loss_around_boxes": True, "inputDimension": 256})(output, background, boxes)["loss"]
    assert 0.3 * whole < around < 1.1 * whole
    around.backward()
    assert boxes.grad is None and output.grad[..., 25:35, 15:25].abs().min() > 0
    assert not output.grad[..., 48:].any()


def test_shares_outside_of_0_and_1_can_come_back_and_go_no_further():
    values = torch.tensor([-1.0, -1.0, 0.5, 0.5, 2.0, 2.0], requires_grad=True)
    clamped = _Between0And1.apply(values)
    torch.testing.assert_close(clamped.detach(), torch.tensor([0.0, 0.0, 0.5, 0.5, 1.0, 1.0]))
    # Descent moves against the gradient: it raises the first, third and fifth, and lowers the others.
    (clamped * torch.tensor([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])).sum().backward()
    assert values.grad.tolist() == [-1.0, 0.0, -1.0, 1.0, 0.0, 1.0]
