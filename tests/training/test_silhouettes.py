"""Silhouettes: what is in front of a background, and what is a shadow on it."""

import pytest
import torch

from training.silhouettes import hidden_shares, silhouettes
from utils.images import normalize_colors

HEIGHT, WIDTH = 64, 96


def shaded_scene(factor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalized frame and background (1,3,H,W) of gray-brown texture: a red person, and left of it a shadow."""
    texture = 0.2 + 0.6 * torch.rand(1, 1, HEIGHT, WIDTH, generator=torch.manual_seed(0))
    background = texture * torch.tensor([1.0, 0.8, 0.6])[:, None, None]
    frame = background.clone()
    frame[..., 20:44, 10:18] *= factor
    frame[..., 20:44, 40:48] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    return normalize_colors(frame), normalize_colors(background)


@pytest.mark.parametrize(("factor", "shown"), [(0.75, 0.0), (1.0, 0.0), (0.3, 1.0), (1.3, 1.0)])
def test_a_silhouette_is_no_shadow(factor, shown):
    found = silhouettes(*shaded_scene(factor))
    assert found.shape == (1, HEIGHT, WIDTH)
    torch.testing.assert_close(found[0, 20:44, 40:48], torch.ones(24, 8))
    torch.testing.assert_close(found[0, 20:44, 10:18].mean(), torch.tensor(shown), atol=0.02, rtol=0)
    found[0, 20:44, 40:48] = found[0, 20:44, 10:18] = 0
    assert found.amax() == 0


@pytest.mark.parametrize(("factor", "hidden"), [(0.75, 0.25), (1.0, 0.0), (0.3, 1.0), (1.3, 1.0)])
def test_a_shadow_hides_what_it_takes_of_the_light(factor, hidden):
    found = hidden_shares(*shaded_scene(factor))
    torch.testing.assert_close(found[0, 20:44, 40:48], torch.ones(24, 8))
    torch.testing.assert_close(found[0, 20:44, 10:18].mean(), torch.tensor(hidden), atol=0.02, rtol=0)
    found[0, 20:44, 40:48] = found[0, 20:44, 10:18] = 0
    assert found.amax() < 1e-3


def test_black_borders_are_no_shadow():
    black = normalize_colors(torch.zeros(1, 3, 8, 8))
    assert hidden_shares(black, black).amax() < 1e-3 and silhouettes(black, black).amax() < 1e-3
