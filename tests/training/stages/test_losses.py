"""Laws of the training losses. Agreement with the published numbers is in test_published.py."""

import numpy as np
import pytest
import roma
import torch
from torch.nn import functional

from tests.models.test_efficientnet import weights_of_the_package
from tests.networks import PUBLISHED
from training.metrics import mpjpe
from training.stages.losses import ImageLoss, agreement_loss, known_pose_loss, pose_loss, sobel
from training.trained.fusion import DEPTH, _weighted_mean
from utils.errors import UserError
from utils.geometry import rotation_about

PLAIN = {**PUBLISHED, "loss_weight_imageNet": 0.0}


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, 32, 32, generator=generator), torch.randn(4, 3, 32, 32, generator=generator)


@pytest.fixture(scope="module", params=[None, "efficientnet-lite0"])
def perceptual(request, tmp_path_factory):
    file = tmp_path_factory.mktemp("package") / "efficientnet-lite0-0.pth"
    torch.save(weights_of_the_package(), file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.parts.efficientnet.package_file", lambda key: file)
        return ImageLoss({**PUBLISHED, "loss_weight_gradient": 0.5, "perceptual_weights": request.param})


def test_zero_for_equal_images(perceptual, images):
    assert all(value == 0 for value in perceptual(images[0], images[0]).values())


def test_parts_add_up(perceptual, images):
    parts = perceptual(*images)
    assert set(parts) == {"loss", "rgb", "gradient", "imageNet"}
    torch.testing.assert_close(parts["loss"], parts["rgb"] + parts["gradient"] + parts["imageNet"])


def test_absolute_and_squared_pixels(images):
    output, target = images
    torch.testing.assert_close(ImageLoss(PLAIN)(output, target)["loss"], (output - target).abs().mean())
    squared = ImageLoss({**PLAIN, "MAE": False, "loss_weight_rgb": 3.0})
    torch.testing.assert_close(squared(output, target)["loss"], 3 * (output - target).square().mean())


def test_gradients_reach_the_output_only(perceptual, images):
    output, target = (image.clone().requires_grad_() for image in images)
    perceptual(output, target)["loss"].backward()
    assert output.grad.abs().sum() > 0 and target.grad is None
    assert not list(filter(lambda parameter: parameter.requires_grad, perceptual.parameters()))


def test_comparing_leaves_no_trace(perceptual, images):
    before = {name: buffer.clone() for name, buffer in perceptual.state_dict().items()}
    perceptual.train()
    first = perceptual(*images)["loss"]
    assert torch.equal(first, perceptual(*images)["loss"])
    assert all(torch.equal(before[name], buffer) for name, buffer in perceptual.state_dict().items())


def test_random_features_are_the_same_in_every_run_and_leave_the_seed_alone(images):
    torch.manual_seed(1)
    one = ImageLoss(PUBLISHED)(*images)["loss"]
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(2)
    assert torch.equal(one, ImageLoss(PUBLISHED)(*images)["loss"])


def test_sobel_sees_slopes_and_no_constants():
    ramp = torch.arange(8.0).expand(1, 3, 8, 8)
    gradients = sobel(ramp)
    assert gradients.shape == (1, 6, 8, 8)
    torch.testing.assert_close(gradients[:, 0::2, 1:-1, 1:-1], torch.ones(1, 3, 6, 6))
    torch.testing.assert_close(gradients[:, 1::2], torch.zeros(1, 3, 8, 8))
    assert sobel(torch.full((1, 3, 8, 8), 7.0)).abs().max() < 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sobel(ramp), gradients)


def test_pose_loss_agrees_with_the_published_number():
    from tests.training.test_metrics import DATA

    with np.load(DATA / "pose_losses.npz", allow_pickle=False) as archive:
        reference = {name: torch.from_numpy(values) for name, values in archive.items()}
    names = ("pred", "label", "pose_mean", "pose_std")
    torch.testing.assert_close(pose_loss(*(reference[name] for name in names)), reference["train_loss"])


def random_poses(count=6):
    """Normalized poses (count,51) of a network, labels, and the mean and deviations of training poses, meters."""
    rng = torch.Generator().manual_seed(0)
    mean, std = torch.randn(51, generator=rng), torch.rand(51, generator=rng) + 0.1
    label = mean + std * torch.randn(count, 51, generator=rng)
    # The root joint never varies.
    std[:3], mean[:3], label[:, :3] = 1, 0, 0
    return torch.randn(count, 51, generator=rng), label, mean, std


def test_the_distance_of_poses_is_their_mpjpe_in_a_unit_of_the_training_set():
    output, label, mean, std = random_poses()
    distance = mpjpe(output * std + mean, label).mean()
    unit = std[3:].square().sum().div(17).sqrt()
    loss = pose_loss(output, label, mean, std, "distance")
    assert loss.item() == pytest.approx((distance / unit).item(), rel=0.03)
    # Coordinates count in meters, however much each of them varies.
    other = torch.rand(51, generator=torch.Generator().manual_seed(1)) + 0.1
    again = pose_loss((output * std) / other, label, mean, other, "distance")
    torch.testing.assert_close(again * other[3:].norm(), loss * std[3:].norm())
    # The mean pose is wrong by as much as poses vary.
    many = mean + std * torch.randn(5000, 51, generator=torch.Generator().manual_seed(2))
    many[:, :3] = 0
    assert 0.8 < pose_loss(torch.zeros(5000, 51), many, mean, std, "distance") < 1


def test_one_joint_far_away_counts_as_far_and_no_more():
    _, label, mean, std = random_poses(1)
    exact = ((label - mean) / std).requires_grad_()
    loss = pose_loss(exact, label, mean, std, "distance")
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-3) and torch.isfinite(exact.grad).all()
    far = label.unflatten(1, (17, 3)).repeat(2, 1, 1)
    far[0, 5, 0] += 1
    far[1, 5, 0] += 3
    errors = [pose_loss((one.flatten()[None] - mean) / std, label, mean, std, "distance").item() for one in far]
    assert errors[1] == pytest.approx(3 * errors[0], rel=0.02)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss_weight_rgb": -1}, "'loss_weight_rgb' is -1; expected float \\(at least 0\\)"),
        ({"loss_weight_rgb": 0.0, "loss_weight_imageNet": 0}, "all of loss_weight_rgb"),
        ({"perceptual_weights": "no/such.pth"}, "no such file: 'no/such.pth'"),
    ],
)
def test_bad_configurations_are_named(changes, words):
    with pytest.raises(UserError, match=words):
        ImageLoss({**PUBLISHED, **changes})


@pytest.mark.parametrize("absolute", [True, False])
def test_gradients_of_the_losses_keep_channels_last(absolute):
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    output = images.to(memory_format=torch.channels_last).requires_grad_()
    layouts = []
    output.register_hook(lambda gradient: layouts.append(gradient.is_contiguous(memory_format=torch.channels_last)))
    loss = ImageLoss({**PLAIN, "MAE": absolute})(output, images.flip(0).contiguous())["loss"]
    wanted = (functional.l1_loss if absolute else functional.mse_loss)(output, images.flip(0))
    torch.testing.assert_close(loss, wanted)
    (expected,) = torch.autograd.grad(wanted, output)
    layouts.clear()
    loss.backward()
    assert layouts == [True]
    torch.testing.assert_close(output.grad, expected)


@pytest.mark.parametrize("kind", ["squared", "distance"])
def test_rows_without_labels_teach_no_pose(kind):
    output, label, mean, std = random_poses(4)
    output.requires_grad_()
    label[1], label[2, 7] = torch.nan, torch.nan
    loss = known_pose_loss(output, label, mean, std, kind)
    assert loss.item() == pytest.approx(pose_loss(output[[0, 3]], label[[0, 3]], mean, std, kind).item(), rel=1e-6)
    loss.backward()
    assert torch.isfinite(output.grad).all() and not output.grad[1:3].any() and output.grad[0].any()
    assert known_pose_loss(output, torch.full((4, 51), torch.nan), mean, std, kind).item() == 0


def test_agreement_is_the_spread_of_the_poses_of_unlabeled_instants_in_the_world():
    rng = torch.Generator().manual_seed(0)
    mean, std = torch.randn(51, generator=rng), torch.rand(51, generator=rng) + 0.5
    # Two cameras side by side, so that none of them tells more than the other of anything.
    to_world = roma.random_rotmat(3).repeat_interleave(2, 0)
    worlds = torch.randn(3, 17, 3, generator=rng).repeat_interleave(2, 0)
    unknown = torch.full((6, 51), torch.nan)

    def agreement(worlds: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        output = ((worlds @ to_world).flatten(1) - mean) / std
        return agreement_loss(output, to_world, label, 2, mean, std)

    assert agreement(worlds, unknown) < 1e-10
    output = ((worlds @ to_world).flatten(1) - mean) / std
    with torch.autocast("cpu", torch.bfloat16):
        assert agreement_loss(output, to_world, unknown, 2, mean, std) < 1e-10
    moved = worlds.clone()
    moved[2:, :, 0] += torch.tensor([0.1, -0.1, 0.3, -0.3])[:, None]
    scale = 17 / std.square().sum()
    torch.testing.assert_close(agreement(moved, unknown), scale * (2 * 0.01 + 2 * 0.09) / 6)
    # An instant whose poses are known does not count.
    label = unknown.clone()
    label[4:] = 0
    torch.testing.assert_close(agreement(moved, label), scale * 2 * 0.01 / 4)
    assert agreement(moved, torch.zeros(6, 51)) == 0


@pytest.mark.parametrize("cameras", [2, 4])
def test_agreement_is_with_the_mean_that_fusing_cameras_begins_with(cameras):
    rng = torch.Generator().manual_seed(0)
    count = 3 * cameras
    to_world = roma.random_rotmat(count, dtype=torch.float64)
    worlds = torch.randn(count, 17, 3, generator=rng, dtype=torch.float64)
    forward = to_world[:, :, 2].numpy()
    index = np.repeat(np.arange(3), cameras)
    precision = np.eye(3) - (1 - DEPTH**-2) * forward[:, :, None] * forward[:, None]
    fused, _ = _weighted_mean(worlds.numpy(), precision, index, np.ones(count))
    spread = np.square(worlds.numpy() - fused[index]).sum((1, 2)).mean()
    loss = agreement_loss(
        (worlds @ to_world).flatten(1),
        to_world,
        torch.full((count, 51), torch.nan),
        cameras,
        torch.zeros(51),
        torch.ones(51),
    )
    assert loss.item() == pytest.approx(spread / 51, rel=1e-5)


def test_a_camera_learns_its_depth_from_one_that_looks_from_the_side():
    # The second camera is turned by 90 degrees: its depth is the x of the first one, which is the world's.
    to_world = torch.stack([torch.eye(3), rotation_about("y", torch.tensor(torch.pi / 2))])
    output = torch.zeros(2, 51).requires_grad_()
    moved = torch.zeros(2, 17, 3)
    moved[0] += torch.tensor([0.1, 0.1, 0.1])
    unknown = torch.full((2, 51), torch.nan)
    loss = agreement_loss(output + moved.flatten(1), to_world, unknown, 2, torch.zeros(51), torch.ones(51))
    (gradient,) = torch.autograd.grad(loss, output)
    across, upward, depth = gradient[0].unflatten(0, (17, 3)).mean(0)
    # Both tell how high joints are equally well, the second one tells depth better, and the first one what is across.
    assert depth / upward == pytest.approx(2 * DEPTH**2 / (1 + DEPTH**2), rel=1e-4)
    assert across / upward == pytest.approx(2 / (1 + DEPTH**2), rel=1e-4)
