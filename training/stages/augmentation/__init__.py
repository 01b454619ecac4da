"""Random changes of training batches, in the one order that both stages use.

Those of the scene (scene.py) change what is seen and what is learned from it alike. Those of the input view
(input_view.py) change only the crop that the encoder sees: the target, its rotation and its background stay clean.
"""

import torch

from training.loop.distributed import draw_shard
from training.loop.loaders import Batch
from training.stages.augmentation.background import check_backgrounds, make_backgrounds
from training.stages.augmentation.input_view import (
    change_input,
    changes_colors,
    changes_input_view,
    draw_input_view,
    needs_masks,
)
from training.stages.augmentation.scene import (
    augment_color,
    jitter_points,
    mirror,
    random_colors,
    random_mirrors,
    random_rolls,
    random_yaws,
    roll_cameras,
    yaw_labels,
)

__all__ = [
    "augment",
    "augment_color",
    "change_input",
    "changes_colors",
    "changes_input_view",
    "check_backgrounds",
    "draw_augmentation",
    "draw_input_view",
    "jitter_points",
    "make_backgrounds",
    "mirror",
    "needs_masks",
    "random_colors",
    "random_mirrors",
    "random_rolls",
    "random_yaws",
    "roll_cameras",
    "without_effect",
    "yaw_labels",
]


_OF_CROPS, _OF_POINTS = ("augment_rotation", "augment_color"), ("augment_yaw", "augment_points")


def without_effect(config: dict) -> list[str]:
    """The augmentations of `config` that stage 2 leaves out: of a frozen encoder's crops, or of a trained one's points.

    Recipes inherit them, so that they are no error.
    """
    return [key for key in (_OF_CROPS if config["freeze_encoder"] else _OF_POINTS) if config.get(key)]


def draw_augmentation(
    count: int,
    config: dict,
    generator: torch.Generator,
    group: int = 1,
    points: torch.Size | None = None,
    keep_colors: torch.Tensor | None = None,
) -> Batch:
    """The random numbers of `augment`, on the CPU, for this process's `count` crops; always in the same order.

    Every `group` successive crops show one person: they are mirrored together and get the same colors. `points`: the
    shape (B,P,3) of those of a frozen encoder, where a batch has them in place of crops. `keep_colors` (count,) bool:
    the input views that get no colors of their own.
    """
    drawn = {}
    if config["augment_mirror"]:
        drawn["mirrored"] = random_mirrors(count, group, generator)
    # Points are encoded once, so that their crops cannot change; but stage 1 taught the points to follow a yaw.
    if points is not None:
        if config["augment_yaw"]:
            drawn["yaw"] = random_yaws(count, config["augment_yaw"], generator)
        if config["augment_points"]:
            drawn["noise"] = draw_shard(torch.randn, count, *points[1:], generator=generator)
        return drawn
    if config["augment_rotation"]:
        drawn["rolls"] = random_rolls(count, config["augment_rotation"], generator)
    if config["augment_color"]:
        drawn |= random_colors(count, group, config["augment_color"], generator)
    return drawn | draw_input_view(count, config, generator, keep_colors)


def augment(batch: Batch, drawn: Batch, config: dict, backgrounds: torch.Tensor | None = None) -> Batch:
    """`batch` changed by the augmentations whose random numbers are in `drawn`, as `draw_augmentation` gives them.

    It holds normalized crops (with rotations, or with labels `3D`) or `points` of a frozen encoder with their labels,
    and lies on the device of `drawn`. Where the input view changes, it is added as `input_crop` (B,3,R,R), normalized.
    `backgrounds`: as `make_backgrounds` gives them. A pure function of tensors: a CUDA graph can hold it.
    """
    if "mirrored" in drawn:
        batch = mirror(batch, drawn["mirrored"])
    if "yaw" in drawn:
        batch = yaw_labels(batch, drawn["yaw"])
    if "noise" in drawn:
        batch = jitter_points(batch, config["augment_points"], drawn["noise"])
    if "rolls" in drawn:
        batch = roll_cameras(batch, drawn["rolls"])
    if "color_matrices" in drawn:
        batch = augment_color(batch, drawn["color_matrices"], drawn["color_shifts"])
    return change_input(batch, drawn, backgrounds)
