"""Composing a frame: people at their depths over the background.

As published, each person is a Gaussian blob of density along the ray of a pixel, with standard deviation 1/sqrt(2)
around the person's depth, and as strong as the mask. Transmittance, and with it who hides whom, follows in closed form.
A mask of 1 then lets 13.5 % of the background pass. Opaque people hide what their mask says instead.
"""

from typing import NamedTuple

import torch

EPSILON = 1e-4


class Layers(NamedTuple):
    """How much each person contributes to a pixel (K,B,1,H,W), and how much of the background passes (B,1,H,W).

    `passing` (K,B,1,H,W): how much of what a person shows is not hidden; radiance is that of the mask.
    """

    radiance: torch.Tensor
    background: torch.Tensor
    passing: torch.Tensor


def layers_by_depth(masks: torch.Tensor, depths: torch.Tensor) -> Layers:
    """Masks (K,B,1,H,W) in 0..1 and depths (K,B) -> layers: what is in front hides what is behind."""
    # Density in front of the center of blob q: all of a blob far in front counts twice its mask, its own half once.
    in_front = torch.erf(depths[:, None] - depths[None]) + 1
    transmittance = torch.exp(-torch.einsum("qtb,tbchw->qbchw", in_front, masks))
    background = torch.exp(-2 * masks.sum(0))
    visible = transmittance * masks
    # Shares of what the background does not get, so that all of them sum to one.
    share = (1 - background) / (EPSILON + visible.sum(0))
    return Layers(visible * share, background, transmittance * share)


def opaque_layers(masks: torch.Tensor, depths: torch.Tensor) -> Layers:
    """Masks (K,B,1,H,W) in 0..1 and depths (K,B) -> layers of people who hide as much as their mask says.

    With depths far apart this is alpha compositing from front to back; people at equal depths share what they hide.
    """
    # How surely blob t is in front of blob q; nobody hides themselves.
    hiding = (torch.erf(depths[:, None] - depths[None]) + 1) / 2
    hiding = hiding * (1 - torch.eye(len(depths), dtype=depths.dtype, device=depths.device))[..., None]
    passing = 1 - hiding[..., None, None, None] * masks[None]
    passing = passing.prod(1)
    visible = masks * passing
    background = (1 - masks).prod(0)
    # Three at equal depths hide each other more than once. Two never do: their factor is exactly 1.
    share = (EPSILON + 1 - background) / (EPSILON + visible.sum(0))
    return Layers(visible * share, background, passing * share)


def layers_side_by_side(masks: torch.Tensor) -> Layers:
    """Masks (K,B,1,H,W) -> layers without depths: where masks sum to more than 1, people share the pixel."""
    total = masks.sum(0).clamp(min=1)
    radiance = masks / total
    return Layers(radiance, 1 - radiance.sum(0), (1 / total).expand_as(masks))


def compose(
    images: torch.Tensor, radiance: torch.Tensor, background: torch.Tensor, passing: torch.Tensor | None = None
) -> torch.Tensor:
    """Images (K,B,3,H,W), their radiance (K,B,1,H,W), and background (B,3,H,W) -> frames (B,3,H,W).

    With `passing` (K,B,1,H,W) images are what people add: their colors times their masks.
    """
    return ((radiance if passing is None else passing) * images).sum(0) + (1 - radiance.sum(0)) * background


def depth_map(layers: Layers, depths: torch.Tensor) -> torch.Tensor:
    """Expected depth (B,1,H,W), without gradient; the background is one unit behind the last person. Depths (K,B)."""
    depths = depths.detach()[:, :, None, None, None]
    return (depths.amax(0) + 1) * layers.background.detach() + (depths * layers.radiance.detach()).sum(0)


def weaken_dense(radiance: torch.Tensor, crop_masks: torch.Tensor) -> torch.Tensor:
    """Radiance (K,B,1,H,W), less of it the more a person's mask (K,B,1,R,R) covers of its crop."""
    density = crop_masks.sum((2, 3, 4), keepdim=True)
    return radiance * (density.amin(0) / (EPSILON + density))


def color_code(radiance: torch.Tensor) -> torch.Tensor:
    """Radiance (K,B,1,H,W) -> an image (B,3,H,W) to look at, a color channel per person in turn; (B,1,H,W) for one."""
    people = radiance.squeeze(2)
    if len(people) == 1:
        return people.transpose(0, 1)
    channels = [people[first::3].sum(0) if first < len(people) else torch.zeros_like(people[0]) for first in range(3)]
    return torch.stack(channels, dim=1)
