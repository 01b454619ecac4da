"""Normalization of crops: what it is, and the colors that it refuses to divide twice."""

import pytest
import torch

from training.loop.loaders import normalize_batch
from training.trained.inference import read_crops
from utils.errors import UserError
from utils.images import denormalize, normalize

CROPS = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


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
