"""Other backgrounds behind the person: procedural textures, photographs, and the rooms of other crops of the batch."""

import numpy as np
import torch
from torch.nn import functional

from training.loop.distributed import draw_shard
from training.loop.loaders import Batch
from training.silhouettes import silhouettes
from training.stages.augmentation.geometry import place_by, warp
from training.stages.augmentation.some import some_crops
from utils.geometry import rotation_about
from utils.images import denormalize, resize
from utils.photographs import photograph_files, random_squares

TEXTURES = 256
PHOTOGRAPHS = 512  # squares of photographs, where a folder of them is given


def check_backgrounds(config: dict) -> None:
    """UserError where `make_backgrounds` would find no photographs."""
    if config["augment_background"] and config["augment_background_folder"] is not None:
        photograph_files(config["augment_background_folder"])


def make_backgrounds(config: dict, device: torch.device) -> torch.Tensor | None:
    """Backgrounds (N,3,R,R) uint8 on `device`, of which each crop draws one; None where the config wants none."""
    if not config["augment_background"]:
        return None
    size, seed = config["inputDimension"], config["seed"]
    parts = [random_textures(TEXTURES, size, torch.Generator().manual_seed(seed))]
    if config["augment_background_folder"] is not None:
        files = photograph_files(config["augment_background_folder"])
        squares = random_squares(files, PHOTOGRAPHS, np.random.default_rng(seed))
        parts.append(torch.cat([resize(square[None], size) for square in squares]))
    return torch.cat(parts).to(device)


def random_textures(count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Pictures (count,3,size,size) uint8 of random clouds, patches and stripes, of all sizes and colors.

    Each is a sum of grids of random colors, enlarged with soft or with sharp edges. In most, large shapes are stronger,
    as in photographs.
    """

    def rand() -> torch.Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator)

    pictures = 0.7 * (rand() - 0.5).expand(-1, 3, -1, -1)
    contrast, decay, cells = 0.2 + 0.8 * rand(), 0.7 * rand(), 2
    while cells <= size:
        grid = torch.randn(count, 3, cells, cells, generator=generator)
        gray = grid.mean(1, keepdim=True)
        # Most are pale, as rooms are.
        grid = gray + rand().square() * (grid - gray)
        grid = torch.where(rand() < 0.2, grid[:, :, :1], grid)  # stripes
        soft = functional.interpolate(grid, (size, size), mode="bilinear", align_corners=False)
        sharp = functional.interpolate(grid, (size, size), mode="nearest")
        pictures = pictures + contrast * rand().square() * (2 / cells) ** decay * torch.where(rand() < 0.5, sharp, soft)
        cells *= 2
    return ((pictures + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)


def draw_replacements(count: int, share: float, photographs: bool, generator: torch.Generator) -> Batch:
    """Which crops get another background, and which one.

    `replaced` (N,): `share` of the `count` crops. The first quarter of them get whole crops, those at `companions`
    (M,), resampled at `companion_placements` (M,2,3): somebody stands behind and aside. The next quarter get the
    backgrounds of the crops at `lenders` (M,), where crops have any. The others get those at `background` (N,) of
    `make_backgrounds`, resampled at `background_placements` (N,2,3); with `photographs`, two of three are photographs.
    """
    chosen = some_crops(count, share, generator)
    drawn = draw_shard(torch.rand, len(chosen), 8, generator=generator)
    quarter = len(chosen) // 4
    lent = (drawn[:, 7] * count).long()
    # Just below 1, a sum would be rounded up to the end.
    textures = drawn[:, 0] * TEXTURES
    others = (TEXTURES + drawn[:, 0] * PHOTOGRAPHS).clamp(max=TEXTURES + PHOTOGRAPHS - 1)
    background = torch.where(drawn[:, 1] < 2 / 3, others, textures) if photographs else textures
    # Up to 20 degrees of roll and up to twice as large, from any part of the picture, and half of them mirrored.
    rolls = rotation_about("z", (drawn[:, 2] * 2 - 1) * 0.35)
    factors = 1 + drawn[:, 3]
    placements = place_by(rolls, factors, (drawn[:, 5:7] * 2 - 1) * (factors - 1)[:, None])
    return {
        "replaced": chosen,
        "companions": lent[:quarter],
        "companion_placements": _beside(drawn[:quarter]),
        "lenders": lent[quarter : 2 * quarter],
        "background": background.long(),
        "background_placements": _half_mirrored(placements, drawn[:, 4]),
    }


def _beside(drawn: torch.Tensor) -> torch.Tensor:
    """Placements (M,2,3), from numbers (M,8) in 0..1, of crops whose person is to be seen beside another one.

    They move by a sixth to a half of the side to the left or right, 0.6 to 1.2 times as large; half are mirrored.
    """
    rolls = rotation_about("z", (drawn[:, 2] * 2 - 1) * 0.2)
    # In the coordinates of a crop, from -1 to 1, its side is 2 long.
    aside = (1 / 3 + drawn[:, 5] * 2 / 3) * torch.where(drawn[:, 0] < 0.5, -1.0, 1.0)
    shifts = torch.stack([aside, (drawn[:, 6] * 2 - 1) * 0.3], dim=1)
    placements = place_by(rolls, 0.6 + 0.6 * drawn[:, 3], shifts)
    return _half_mirrored(placements, drawn[:, 4])


def _half_mirrored(placements: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """`placements` (N,2,3) of pictures that are mirrored where `drawn` (N,), in 0..1, is below a half."""
    flips = torch.where(drawn < 0.5, -1.0, 1.0)
    return torch.cat([placements[:, :1] * flips.view(-1, 1, 1), placements[:, 1:]], dim=1)


def replace_backgrounds(pictures: torch.Tensor, batch: Batch, drawn: Batch, backgrounds: torch.Tensor) -> torch.Tensor:
    """`pictures` (B,3,R,R), colors in 0..1, those at `replaced` of `drawn` replaced by backgrounds.

    `batch` has the normalized `img_crop` and `bg_crop`, if crops have any; `backgrounds` are those of
    `make_backgrounds`.
    """
    companions = denormalize(batch["img_crop"].index_select(0, drawn["companions"]))
    behind = [warp(companions, drawn["companion_placements"])]
    if "bg_crop" in batch:
        behind.append(denormalize(batch["bg_crop"].index_select(0, drawn["lenders"])))
    borrowed = sum(len(part) for part in behind)
    others = backgrounds.index_select(0, drawn["background"][borrowed:]).float() / 255
    behind.append(warp(others, drawn["background_placements"][borrowed:]))
    return pictures.index_copy(0, drawn["replaced"], torch.cat(behind))


def person_masks(batch: Batch) -> torch.Tensor:
    """The share (B,1,R,R) of the person in each pixel: of `mask_crop`, else the silhouettes of the normalized crops
    before their backgrounds `bg_crop`, without small holes. Of two sets, `has_mask` (B,) tells which crops have masks.
    """
    if "mask_crop" not in batch:
        return _shown(batch)
    masks = batch["mask_crop"].float() / 255
    return torch.where(batch["has_mask"].view(-1, 1, 1, 1), masks, _shown(batch)) if "has_mask" in batch else masks


def _shown(batch: Batch) -> torch.Tensor:
    """Silhouettes (B,1,R,R) without small holes."""
    shown = silhouettes(batch["img_crop"], batch["bg_crop"])[:, None]
    return -_grown(-_grown(shown))


def _grown(masks: torch.Tensor) -> torch.Tensor:
    """The largest of 3 x 3 pixels, for each pixel of masks (B,1,R,R)."""
    # On a CPU in a tenth of the time of max_pool2d.
    for dim in (2, 3):
        size = masks.shape[dim]
        padded = functional.pad(masks, (0, 0, 1, 1) if dim == 2 else (1, 1, 0, 0), mode="replicate")
        before, middle, after = (padded.narrow(dim, start, size) for start in range(3))
        masks = torch.maximum(torch.maximum(before, after), middle)
    return masks
