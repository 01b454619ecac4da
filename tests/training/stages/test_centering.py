"""Centered targets: one person in boxes that are off gives one view, whatever the box."""

import pytest
import torch

from training.silhouettes import silhouettes
from training.stages.augmentation.geometry import place_by, warp
from training.stages.centering import centered, placements_around, targets_of
from utils.images import normalize_colors

SIDE = 64


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Crop and background (1,3,R,R), colors in 0..1: a red person of 16 x 40 px, left of the center."""
    columns = torch.linspace(0.2, 0.5, SIDE).expand(1, 3, SIDE, SIDE)
    background = columns * torch.tensor([1.0, 0.8, 0.6])[:, None, None]
    crop = background.clone()
    crop[..., 10:50, 14:30] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    return crop, background


def in_box(factor: float, shift: tuple[float, float]) -> dict[str, torch.Tensor]:
    """The scene in another box: `factor` times as large, moved by `shift` crops; normalized."""
    placement = place_by(torch.eye(3)[None], torch.tensor([factor]), 2 * torch.tensor([shift]))
    crop, background = (normalize_colors(warp(picture, placement)) for picture in scene())
    return {"img_crop": crop, "bg_crop": background, "extrinsic_rot": torch.eye(3)[None]}


def extent(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """First and last row and column of the person, pixels."""
    shown = silhouettes(inputs["img_crop"], inputs["bg_crop"])[0] > 0.5
    rows, columns = (torch.nonzero(shown.any(dim))[:, 0] for dim in (1, 0))
    return torch.stack([rows[0], rows[-1], columns[0], columns[-1]]).float()


@pytest.mark.parametrize(("factor", "shift"), [(1.0, (0.1, 0.05)), (0.7, (-0.05, 0.1)), (1.3, (0.1, 0.0))])
def test_the_same_person_is_seen_in_every_box(factor, shift):
    true, moved = (centered(in_box(*box)) for box in ((1.0, (0.0, 0.0)), (factor, shift)))
    torch.testing.assert_close(extent(moved), extent(true), atol=1.5, rtol=0)
    top, bottom, left, right = extent(true)
    assert abs(top + bottom - SIDE) < 3 and abs(left + right - SIDE) < 3
    assert 0.75 < (bottom - top) / SIDE < 0.9


def test_the_encoder_still_sees_its_box_and_all_else_stays():
    inputs = in_box(0.7, (0.1, 0.0))
    changed = centered(inputs)
    assert changed["input_crop"] is inputs["img_crop"] and changed["extrinsic_rot"] is inputs["extrinsic_rot"]
    assert changed["img_crop"].shape == changed["bg_crop"].shape == inputs["img_crop"].shape
    augmented = torch.zeros_like(inputs["img_crop"])
    assert centered({**inputs, "input_crop": augmented})["input_crop"] is augmented


def test_where_nobody_is_seen_the_crop_stays():
    inputs = in_box(1.0, (0.0, 0.0))
    empty = {**inputs, "img_crop": inputs["bg_crop"]}
    torch.testing.assert_close(centered(empty)["img_crop"], empty["img_crop"], atol=1e-5, rtol=1e-5)


def test_specks_do_not_move_the_person():
    shown = torch.zeros(2, SIDE, SIDE)
    shown[:, 10:50, 14:30] = 1
    shown[1, 60:62, 60:62] = 1
    clean, with_speck = placements_around(shown)
    torch.testing.assert_close(with_speck, clean, atol=0.05, rtol=0)


def test_only_networks_that_were_taught_so_center():
    inputs = in_box(0.7, (0.1, 0.0))
    network = torch.nn.Module()
    network.center_targets, network.output_types = False, ("img_crop",)
    assert targets_of(network, inputs) is inputs
    network.center_targets = True
    assert not torch.equal(targets_of(network, inputs)["img_crop"], inputs["img_crop"])
    network.output_types = ("3D",)
    assert targets_of(network, inputs) is inputs
