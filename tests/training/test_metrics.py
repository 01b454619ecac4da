"""Laws of the pose errors, and agreement with the published numbers and with Ignite."""

import numpy as np
import pytest
import roma
import torch
from ignite.metrics import PSNR, SSIM
from torch.nn import functional

from tests.tiny import ROOT
from training.metrics import foreground_mask, mpjpe, n_mpjpe, p_mpjpe, psnr, published_n_mpjpe, ssim
from utils.errors import UserError

DATA = ROOT / "tests" / "data"


@pytest.fixture
def poses():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(8, 17, 3, generator=generator)
    predicted = target + 0.3 * torch.randn(8, 17, 3, generator=generator)
    return predicted - predicted[:, :1], target - target[:, :1]


def test_agrees_with_the_published_numbers():
    with np.load(DATA / "pose_losses.npz", allow_pickle=False) as archive:
        reference = {name: torch.from_numpy(values) for name, values in archive.items()}
    torch.testing.assert_close(mpjpe(reference["pred"], reference["label"]).mean(), reference["mpjpe_pred_label"])
    predicted = reference["pred"] * reference["pose_std"] + reference["pose_mean"]
    test_loss = published_n_mpjpe(predicted, reference["label"]).mean()
    torch.testing.assert_close(test_loss, reference["test_loss_nmpjpe"])


def test_known_distances():
    target = torch.zeros(2, 17, 3)
    predicted = target.clone()
    predicted[0, 3] = torch.tensor([3.0, 4.0, 0.0])  # one joint of 17 is 5 away
    torch.testing.assert_close(mpjpe(predicted, target), torch.tensor([5 / 17, 0.0]))


def test_flat_and_shaped_poses_are_the_same(poses):
    for metric in (mpjpe, n_mpjpe, p_mpjpe):
        torch.testing.assert_close(metric(*poses), metric(*(pose.flatten(1) for pose in poses)))
    sequence = [pose.reshape(2, 4, 51) for pose in poses]
    assert p_mpjpe(*sequence).shape == (2, 4)


def test_wrong_shape_is_named():
    with pytest.raises(UserError, match=r"\(4, 16, 3\)"):
        mpjpe(torch.zeros(4, 16, 3), torch.zeros(4, 16, 3))


def test_n_mpjpe_ignores_scale_per_frame_and_never_rotation(poses):
    predicted, target = poses
    factors = torch.linspace(0.2, 5, len(predicted))[:, None, None]
    torch.testing.assert_close(n_mpjpe(factors * predicted, target), n_mpjpe(predicted, target))
    torch.testing.assert_close(n_mpjpe(factors * target, target), torch.zeros(8), atol=1e-5, rtol=0)
    rotated = target @ roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 1.0]))
    assert (n_mpjpe(rotated, target) > 0.1).all()


def test_n_mpjpe_uses_the_least_squares_scale(poses):
    predicted, target = poses
    squared = [(s * predicted - target).square().sum((1, 2)) for s in torch.linspace(0, 2, 2001)]
    best = torch.stack(squared).argmin(0) / 1000
    torch.testing.assert_close(
        n_mpjpe(predicted, target), mpjpe(best[:, None, None] * predicted, target), atol=1e-3, rtol=1e-3
    )


def test_p_mpjpe_ignores_similarities_but_no_reflection(poses):
    predicted, target = poses
    rotation = roma.random_rotmat(8)
    moved = 0.7 * predicted @ rotation + torch.randn(8, 1, 3)
    torch.testing.assert_close(p_mpjpe(moved, target), p_mpjpe(predicted, target), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(p_mpjpe(0.3 * target @ rotation, target), torch.zeros(8).double(), atol=1e-5, rtol=0)
    mirrored = target * torch.tensor([-1.0, 1.0, 1.0])
    assert (p_mpjpe(mirrored, target) > 0.1).all()


def test_a_prediction_without_extent_is_no_perfect_score(poses):
    _, target = poses
    nothing = torch.zeros_like(target)
    torch.testing.assert_close(n_mpjpe(nothing, target), mpjpe(nothing, target))
    centered = (target - target.mean(1, keepdim=True)).double()
    torch.testing.assert_close(p_mpjpe(nothing, target), mpjpe(nothing.double(), centered))


def test_psnr_agrees_with_ignite():
    target = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    output = (target + 0.2 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    reference = PSNR(1.0)
    reference.update((output, target))
    assert psnr(output, target).shape == (3,)
    assert psnr(output, target).mean().item() == pytest.approx(reference.compute(), rel=1e-6)


@pytest.mark.parametrize("size", [12, 33, 64])
def test_ssim_of_each_crop_is_that_of_ignite(size):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(6, 3, size, size, generator=generator)
    target[1] = functional.avg_pool2d(target[1], 5, stride=1, padding=2)  # smooth
    target[2] = 0.7  # flat: what differs is lost in differences of squares, by Ignite too
    noise = torch.linspace(0, 0.5, 6)[:, None, None, None] * torch.randn(target.shape, generator=generator)
    output = (target + noise).clamp(0, 1)
    expected = []
    for pair in zip(output.split(1), target.split(1), strict=True):
        reference = SSIM(1.0)
        reference.update(pair)
        expected.append(reference.compute())
    assert expected[0] == pytest.approx(1) and min(expected) < 0.5 and len(set(expected)) == 6
    for autocast in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            values = ssim(output, target).tolist()
        assert values.pop(2) == pytest.approx(expected[2], abs=1e-4)
        assert values == pytest.approx(expected[:2] + expected[3:], abs=1e-5)


def test_psnr_of_some_pixels():
    background = torch.full((2, 3, 16, 16), 0.5)
    image = background.clone()
    image[0, :, 4:8, 4:8] = 1.0
    mask = foreground_mask(image, background)
    assert mask.sum((1, 2)).tolist() == [16, 0]
    values = psnr(background, image, mask)
    assert values[0].item() == pytest.approx(10 * np.log10(1 / 0.25), abs=1e-4)
    assert values[1].isnan()
