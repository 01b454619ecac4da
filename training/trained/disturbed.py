"""Pictures that calibrate trust: crops disturbed as cameras and detectors do, and pictures without a whole person."""

import math

import torch
from torch.nn import functional

from training.trained.copies import move_crops
from utils.images import normalize

PATCHES = 4  # a side, of crops whose patches are shuffled


def disturbed(crops: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalized crops (B,3,R,R), each moved, scaled, rolled, recolored, covered and made noisy, more or less.

    Also returns by how much each was rolled clockwise, radians (B,), because its pose is rolled with it.
    """

    def draw(limit: float) -> torch.Tensor:
        # A strength of its own per crop and change: most crops have a few strong changes, not all of them.
        strength = torch.rand(len(crops), generator=generator) ** 2
        return limit * strength * (2 * torch.rand(len(crops), generator=generator) - 1)

    rolls = draw(0.7)
    moved = move_crops(crops, draw(0.2), draw(0.2), draw(0.4).exp(), roll=rolls)
    gain, channel_gain = draw(0.8).exp(), torch.stack([draw(0.6).exp() for _ in range(3)], dim=1)
    colored = moved * (gain[:, None] * channel_gain)[..., None, None] + draw(1.0)[:, None, None, None]
    swapped = torch.rand(len(crops), generator=generator) < 0.1
    colored = torch.where(swapped[:, None, None, None], colored.roll(1, dims=1), colored)
    noisy = colored + draw(0.8)[:, None, None, None] * torch.randn(colored.shape, generator=generator)
    return _covered(noisy, generator), rolls


def _covered(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A third of the crops with a gray rectangle of up to half the side somewhere."""
    size = crops.shape[-1]
    side, center = 0.25 * torch.rand(2, len(crops), generator=generator), torch.rand(2, len(crops), generator=generator)
    chosen = torch.rand(len(crops), generator=generator) < 0.33
    pixels = (torch.arange(size) + 0.5) / size
    down, right = ((pixels - center[axis, :, None]).abs() < side[axis, :, None] for axis in (0, 1))
    hidden = (down[:, :, None] & right[:, None, :])[:, None] & chosen[:, None, None, None]
    return torch.where(hidden, 0.0, crops)


def without_person(
    crops: torch.Tensor, backgrounds: torch.Tensor | None, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Kinds of pictures that show no whole, upright person, made of normalized `crops`; as many of each kind.

    `backgrounds`: the empty rooms of the same crops, where a set has them.
    """
    count, size = len(crops), crops.shape[-1]

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    coarse = torch.randn(count, 3, 1 + size // 8, 1 + size // 8, generator=generator)
    white = torch.randint(0, 256, crops.shape, generator=generator, dtype=torch.uint8)
    # The part at (right, down) from the center comes into the middle, enlarged.
    right, down, scale = uniform(-0.15, 0.15), uniform(0.1, 0.35), uniform(2.2, 3.5)
    pictures = {
        "noise": normalize(white) * uniform(0.3, 1)[:, None, None, None],
        "smooth noise": functional.interpolate(coarse, size=(size, size), mode="bicubic"),
        "shuffled patches": _shuffled(crops, generator),
        "a leg": move_crops(crops, -scale * right, -scale * down, scale),
        "upside down": move_crops(crops, 0, 0, roll=uniform(0.75 * math.pi, 1.25 * math.pi)),
        "cut off": move_crops(crops, uniform(-0.2, 0.2), uniform(0.35, 0.55) * _sign(count, generator), 1.0),
    }
    return pictures if backgrounds is None else {**pictures, "empty room": backgrounds}


def _sign(count: int, generator: torch.Generator) -> torch.Tensor:
    return 1.0 - 2.0 * torch.randint(0, 2, (count,), generator=generator)


def _shuffled(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The patches of each crop in another order: textures of pictures, without the shape of a person."""
    side = crops.shape[-1] // PATCHES
    whole = crops[..., : side * PATCHES, : side * PATCHES]
    patches = whole.unflatten(3, (PATCHES, side)).unflatten(2, (PATCHES, side)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    order = torch.stack([torch.randperm(PATCHES**2, generator=generator) for _ in range(len(crops))])
    patches = patches[torch.arange(len(crops))[:, None], order].unflatten(1, (PATCHES, PATCHES))
    joined = patches.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
    return functional.interpolate(joined, size=crops.shape[-2:], mode="bilinear")
