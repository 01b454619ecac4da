"""Quality of the input view: blur, noise and compression."""

import math

import torch

from training.loop.distributed import draw_shard
from training.stages.augmentation.some import some_crops

NOISES = 4  # pictures of noise in a batch, of which each crop gets a mixture
BLOCK = 8  # pixels of a side of the blocks that compression transforms


def draw_blurs(count: int, limit: float, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """A third of the crops, `blurred`, and deviations `blurs` (count/3,2) along y and x, pixels, up to `limit`.

    Two of three are out of focus, which blurs both axes alike; the others are moved, by an amount along each axis.
    """
    chosen = some_crops(count, 1 / 3, generator)
    deviations = draw_shard(torch.rand, len(chosen), 2, generator=generator) * limit
    # With independent axes alone, few crops would be blurred much along both.
    unfocused = torch.arange(len(chosen)) % 3 > 0
    deviations[unfocused, 1] = deviations[unfocused, 0]
    return {"blurred": chosen, "blurs": deviations}


def blur(pictures: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
    """Pictures (B,C,R,R) blurred by Gaussians of `deviations` (B,2) pixels along y and x."""
    size = pictures.shape[2]
    places = torch.arange(size, device=pictures.device)
    # With so small a deviation, a pixel keeps all of its weight.
    variances = deviations.clamp(min=0.1).square()[:, :, None]
    # Clamped, because numbers too small for their type are computed with slowly.
    falloff = torch.exp(-(places.square() / (2 * variances)).clamp(max=40))
    distances = (places[:, None] - places).abs().flatten()
    weights = falloff.index_select(2, distances).unflatten(2, (size, size))
    along_y, along_x = (weights / weights.sum(3, keepdim=True)).unsqueeze(2).unbind(1)
    return along_y @ pictures @ along_x.mT


def draw_noises(count: int, limit: float, size: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """`noise_pictures` (NOISES,3*size*size), standard normal, and `noise_weights` (count,NOISES) of their mixtures.

    A mixture has a standard deviation of up to `limit`; half of the crops have 0. Drawing noise for every crop would
    take longer than all else.
    """
    weights = torch.nn.functional.normalize(draw_shard(torch.randn, count, NOISES, generator=generator), dim=1)
    drawn = draw_shard(torch.rand, count, 2, generator=generator)
    deviations = drawn[:, 1:] * limit * (drawn[:, :1] < 0.5)
    pictures = torch.randn(NOISES, 3 * size * size, generator=generator)
    return {"noise_pictures": pictures, "noise_weights": weights * deviations}


def add_noise(pictures: torch.Tensor, noises: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Pictures (B,3,R,R) with mixtures by `weights` (B,N) of `noises` (N,3*R*R) added."""
    return torch.addmm(pictures.flatten(1), weights, noises).view(pictures.shape)


def draw_compressions(count: int, strength: float, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """A third of the crops, `compressed`, and the factors `compressions` (count/3,) of the steps of `compress`.

    They are up to 5, which is about quality 10 of JPEG, times `strength`.
    """
    chosen = some_crops(count, 1 / 3, generator)
    factors = draw_shard(torch.rand, len(chosen), generator=generator) * 5 * strength
    return {"compressed": chosen, "compressions": factors}


def compress(pictures: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Pictures (B,3,R,R) in 0..1, rounded in the frequencies of blocks of 8 px as JPEG does.

    The steps are those of factor 1 times `factors` (B,). Colors are rotated so that gray is one channel; steps grow
    with frequency, and those of the other two channels are larger.
    """
    size, device = pictures.shape[2], pictures.device
    blocks = _block_cosines(size, device)
    grays, others = _steps(size, device)
    steps = torch.stack([grays, others, others]) * factors.clamp(min=1e-3).view(-1, 1, 1, 1)
    colors = _gray_first(device)
    rotated = torch.matmul(colors, pictures.flatten(2)).view(pictures.shape)
    rounded = (blocks @ rotated @ blocks.mT).div_(steps).round_().mul_(steps)
    return torch.matmul(colors.mT, (blocks.mT @ rounded @ blocks).flatten(2)).view(pictures.shape)


def _block_cosines(size: int, device: torch.device) -> torch.Tensor:
    """The orthogonal matrix (size,size) of the cosine transform of each block; the last block may be smaller."""
    place = torch.arange(size, device=device)
    start = place // BLOCK * BLOCK
    length = (size - start).clamp(max=BLOCK)
    frequency = place - start
    angles = math.pi * (frequency + 0.5)[None] * frequency[:, None] / length[:, None]
    scale = torch.where(frequency == 0, 1.0, 2.0).div(length).sqrt()
    return torch.where(start[:, None] == start[None], scale[:, None] * torch.cos(angles), 0.0)


def _steps(size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Steps (size,size) at factor 1, of gray and of the other two channels, for colors in 0..1."""
    frequency = torch.arange(size, device=device) % BLOCK
    total = frequency[:, None] + frequency
    return (12 + 8.0 * total) / 255, (17 + 20.0 * total).clamp(max=99) / 255


def _gray_first(device: torch.device) -> torch.Tensor:
    """An orthogonal matrix (3,3) whose first row is gray."""
    # Not made from a list of numbers, because those would be copied from the host in each step.
    ones = torch.ones(3, device=device)
    place = torch.arange(3, device=device)
    gray = ones / math.sqrt(3)
    red = torch.where(place == 0, 1.0, torch.where(place == 1, -1.0, 0.0)) / math.sqrt(2)
    return torch.stack([gray, red, torch.linalg.cross(gray, red)])
