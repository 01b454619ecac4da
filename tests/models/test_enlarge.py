"""Enlargement as two products is what `nn.Upsample` computes, forward and backward."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from models import build_network
from models.parts.enlarge import Enlarge, enlarge, enlargement
from tests.tiny import tiny_config


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [1, 2, 5, 8, 32, 64])
def test_two_products_are_bilinear_upsampling(side, layout):
    generator = torch.Generator().manual_seed(side)
    x = torch.randn(3, 5, side, side, generator=generator).contiguous(memory_format=layout)
    theirs_in, ours_in = (x.clone().requires_grad_() for _ in range(2))
    theirs = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)(theirs_in)
    ours = enlarge(ours_in, enlargement(side))
    assert ours.shape == theirs.shape
    # a single pixel has both layouts
    assert side == 1 or ours.is_contiguous(memory_format=layout)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    gradient = torch.randn(theirs.shape, generator=generator).contiguous(memory_format=layout)
    for result in (ours, theirs):
        result.backward(gradient)
    assert ours_in.grad.abs().max() > 0.5
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, rtol=1e-6, atol=1e-6)


def test_the_decoder_learns_the_same_from_products(monkeypatch):
    torch.manual_seed(0)
    decoder = build_network(tiny_config("", "", latent_dropout=0.0)).decoder
    sides = [level.up[0].matrix.shape[1] for level in decoder.levels]
    assert len(sides) > 1 and all(fine == 2 * coarse for coarse, fine in pairwise(sides))
    assert not any("matrix" in name for name in decoder.state_dict())
    inputs = torch.randn(2, 16), torch.randn(2, 10, 3), torch.randn(2, 3, 32, 32)

    def learn():
        image = decoder(*inputs)
        decoder.zero_grad()
        image.square().mean().backward()
        return image.detach(), decoder.from_points[0].weight.grad

    image, gradient = learn()
    monkeypatch.setattr(Enlarge, "forward", lambda self, x: enlarge(x, self.matrix))
    for ours, theirs in zip(learn(), (image, gradient), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
