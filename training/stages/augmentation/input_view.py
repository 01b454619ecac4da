"""Changes of the input view alone: what a real camera and a real detector do to the crop that the encoder sees."""

import torch

from training.loop.loaders import Batch
from training.stages.augmentation.background import draw_replacements, person_masks, replace_backgrounds
from training.stages.augmentation.colors import bend_colors, draw_color_maps, draw_curves, map_colors
from training.stages.augmentation.geometry import draw_placements, roll_input, warp
from training.stages.augmentation.hiding import draw_patches, hide
from training.stages.augmentation.quality import (
    add_noise,
    blur,
    compress,
    draw_blurs,
    draw_compressions,
    draw_noises,
)
from training.stages.augmentation.some import change_some
from utils.images import denormalize, normalize_colors

INPUT_VIEW_KEYS = (
    "augment_shift",
    "augment_scale",
    "augment_roll",
    "augment_background",
    "augment_person_color",
    "augment_input_color",
    "augment_blur",
    "augment_noise",
    "augment_compression",
    "augment_hide",
)


def changes_input_view(config: dict) -> bool:
    """Whether `config` changes the input view at all."""
    return any(config[key] for key in INPUT_VIEW_KEYS)


def needs_masks(config: dict) -> bool:
    """Whether `config` changes the person and what is behind it apart from one another."""
    return any(config[key] for key in ("augment_background", "augment_person_color"))


def changes_colors(config: dict) -> bool:
    """Whether `config` changes the colors of the input view, so that they tell less of those of the target."""
    return any(config[key] for key in ("augment_person_color", "augment_input_color"))


def draw_input_view(
    count: int, config: dict, generator: torch.Generator, keep_colors: torch.Tensor | None = None
) -> Batch:
    """The random numbers of `change_input` for `count` crops, on the CPU; none for what `config` does not want."""
    drawn = {}
    shift, scale, roll = (config[key] for key in ("augment_shift", "augment_scale", "augment_roll"))
    if shift or scale or roll:
        drawn |= draw_placements(count, shift, scale, roll, generator)
    if config["augment_background"]:
        photographs = config["augment_background_folder"] is not None
        drawn |= draw_replacements(count, config["augment_background"], photographs, generator)
    if config["augment_person_color"]:
        drawn["person_colors"] = draw_color_maps(count, config["augment_person_color"], generator, keep_colors)
    if config["augment_input_color"]:
        drawn["input_colors"] = draw_color_maps(count, config["augment_input_color"], generator, keep_colors)
        drawn["bends"] = draw_curves(count, config["augment_input_color"], generator, keep_colors)
    if config["augment_hide"]:
        drawn |= draw_patches(count, config["augment_hide"], generator)
    if config["augment_blur"]:
        drawn |= draw_blurs(count, config["augment_blur"], generator)
    if config["augment_noise"]:
        drawn |= draw_noises(count, config["augment_noise"], config["inputDimension"], generator)
    if config["augment_compression"]:
        drawn |= draw_compressions(count, config["augment_compression"], generator)
    return drawn


def change_input(batch: Batch, drawn: Batch, backgrounds: torch.Tensor | None = None) -> Batch:
    """`batch` with the changed `input_crop` (B,3,R,R), normalized, where `draw_input_view` drew any change.

    Crops in `batch` are normalized and stay; `mask_crop` is uint8. Where the input camera rolls, the rotation from it
    to the world (`extrinsic_rot_inv`), `3D` and `vertical` roll too; `extrinsic_rot`, of the target's camera, stays.
    """
    if not _CHANGES & drawn.keys():
        return batch
    picture = _compose(batch, drawn, backgrounds)
    if "input_colors" in drawn:
        picture = bend_colors(map_colors(picture, drawn["input_colors"]), drawn["bends"])
    if "patch_boxes" in drawn:
        picture = change_some(hide, picture, drawn["patched"], drawn["patch_boxes"], drawn["patch_colors"])
    if "blurs" in drawn:
        picture = change_some(blur, picture, drawn["blurred"], drawn["blurs"])
    if "noise_pictures" in drawn:
        picture = add_noise(picture, drawn["noise_pictures"], drawn["noise_weights"])
    if "compressions" in drawn:
        picture = change_some(compress, picture, drawn["compressed"], drawn["compressions"])
    batch = {**batch, "input_crop": normalize_colors(picture.clamp(0, 1))}
    return roll_input(batch, drawn["input_rolls"]) if "input_rolls" in drawn else batch


def _compose(batch: Batch, drawn: Batch, backgrounds: torch.Tensor | None) -> torch.Tensor:
    """The crops, colors in 0..1, with the person moved, in other colors, and before another background."""
    picture, needs_mask = denormalize(batch["img_crop"]), "person_colors" in drawn or "replaced" in drawn
    if needs_mask:
        picture = torch.cat([picture, person_masks(batch)], dim=1)
    if "placements" in drawn:
        # Moved together with its mask, so that a new background has no border that repeats itself.
        picture = warp(picture, drawn["placements"])
    if not needs_mask:
        return picture
    picture, mask = picture.split([3, 1], dim=1)
    person = map_colors(picture, drawn["person_colors"]) if "person_colors" in drawn else picture
    behind = replace_backgrounds(picture, batch, drawn, backgrounds) if "replaced" in drawn else picture
    return torch.lerp(behind, person, mask)


_CHANGES = {
    "placements",
    "replaced",
    "person_colors",
    "input_colors",
    "patch_boxes",
    "blurs",
    "noise_pictures",
    "compressions",
}
