"""Normalization of crops: what it is, and the colors that it refuses to divide twice."""

import pytest
import torch
from torchvision.transforms.v2 import functional

from training.loop.loaders import normalize_batch
from training.trained.inference import read_crops
from utils.errors import UserError
from utils.images import denormalize, normalize, resize

CROPS = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("side", "size"), [(64, 128), (300, 128), (129, 128), (17, 64), (200, 37)])
def test_sizes_are_changed_as_torchvision_does(side, size):
    pixels = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(side))
    pixels = pixels.movedim(-1, 1)
    expected = functional.resize(pixels, [size, size], antialias=True)
    difference = (resize(pixels, size).int() - expected.int()).abs()
    # where torchvision computes in floats, on a processor without AVX2, a color in the middle is rounded otherwise
    assert difference.max() <= 1 and difference.float().mean() < 0.1


def test_floats_in_0_to_255_are_normalized_as_bytes_are():
    torch.testing.assert_close(normalize(CROPS.float()), normalize(CROPS))
    torch.testing.assert_close(denormalize(normalize(CROPS)), CROPS / 255)
    black = torch.zeros(1, 3, 8, 8)
    torch.testing.assert_close(normalize(black), normalize(black.to(torch.uint8)))


@pytest.mark.parametrize("wrong", [CROPS / 255, CROPS.double() / 255, normalize(CROPS), CROPS.float() * float("nan")])
def test_colors_in_another_range_are_refused(wrong):
    for entry in (normalize, lambda crops: normalize_batch({"img_crop": crops})):
        with pytest.raises(
            UserError, match=r"colors are torch.float.. from \S+ to \S+; expected uint8, or floats in 0.."
        ):
            entry(wrong)


def test_crops_of_a_user_in_0_to_1_are_refused():
    for crops in (CROPS / 255, (CROPS / 255).permute(0, 2, 3, 1).numpy()):
        with pytest.raises(UserError, match="float32; expected uint8 RGB"):
            read_crops(crops, 8)
