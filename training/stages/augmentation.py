"""Random changes of crops: of colours, so that five subjects stand for many clothes, and about the viewing axis."""

import math

import torch
from torch.nn import functional

from training.loop.distributed import draw_shard
from utils.geometry import mirror_pose, mirror_vectors, rotate_points, rotation_about
from utils.images import IMAGE_MEAN, IMAGE_STD
from utils.transfer import to_device


def augment_color(
    images: list[torch.Tensor], group: int, strength: float, generator: torch.Generator
) -> list[torch.Tensor]:
    """Change the colours of normalised crops (B,3,R,R), the same way within each run of `group` crops.

    The crops of a group show the same person and must keep the same colours; so must their
    backgrounds, which is why several image tensors are changed together. Hue turns by up to
    `strength` * 180 degrees about the grey axis, contrast and each channel's gain vary by up to
    `strength` * 30 percent.
    """
    if strength == 0:
        return images
    count = images[0].shape[0] // group
    matrices, shifts = _random_color_maps(count, strength, generator)
    device = images[0].device
    matrices = to_device(matrices.repeat_interleave(group, 0), device)
    shifts = to_device(shifts.repeat_interleave(group, 0), device)
    return [torch.baddbmm(shifts, matrices, image.flatten(2)).view(image.shape) for image in images]


def mirror_groups(batch: dict, group: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """`batch` with half of its runs of `group` crops, at random, as in a mirror: crops (B,3,R,R) flipped left to right,
    rotations (B,3,3) those of the mirrored cameras in the mirrored world. The vertical stays where it is.

    Mirrored people move as people do, so that a set stands for twice as many motions and rooms.
    """
    device, count = batch["img_crop"].device, len(batch["img_crop"]) // group
    mirrored = to_device(_random_half(count, generator).repeat_interleave(group), device)
    crops = {key: batch[key] for key in ("img_crop", "bg_crop") if key in batch}
    changed = {key: torch.where(mirrored[:, None, None, None], crop.flip(3), crop) for key, crop in crops.items()}
    signs = torch.ones(len(mirrored), 3, device=device)
    signs[:, 0] -= 2 * mirrored  # not signs[mirrored, 0]: how many are mirrored, only the device knows
    for key in ("extrinsic_rot", "extrinsic_rot_inv"):
        changed[key] = signs[:, :, None] * batch[key] * signs[:, None, :]
    return {**batch, **changed}


def mirror_labels(batch: dict, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """`batch` of labels with half of them, at random, as in a mirror: their `3D` (B,51) in the camera frame, and
    either `img_crop` (B,3,R,R), or `points` (B,N,3), for which those of the mirrored crops are `mirrored_points`,
    and `vertical` (B,3)."""
    mirrored = to_device(_random_half(len(batch["3D"]), generator), batch["3D"].device)
    changed = {"3D": torch.where(mirrored[:, None], mirror_pose(batch["3D"]), batch["3D"])}
    if "points" in batch:
        changed["points"] = torch.where(mirrored[:, None, None], batch["mirrored_points"], batch["points"])
        changed["vertical"] = torch.where(mirrored[:, None], mirror_vectors(batch["vertical"]), batch["vertical"])
    else:
        crops = batch["img_crop"]
        changed["img_crop"] = torch.where(mirrored[:, None, None, None], crops.flip(3), crops)
    return {**batch, **changed}


def random_turns(count: int, limit: float, generator: torch.Generator) -> torch.Tensor:
    """Rotations (count,3,3) about the viewing axis z, by up to `limit` degrees either way.

    They turn the scene: X_cam becomes turn @ X_cam. Of several processes each gets those of its share of the batch.
    """
    drawn = draw_shard(torch.rand, count, generator=generator)
    return rotation_about("z", (drawn * 2 - 1) * math.radians(limit))


def turn_crops(crops: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Crops (B,3,R,R) as the cameras see them after `turns` (B,3,3) about the viewing axis, through the crop's centre.

    Corners that no camera saw repeat the nearest pixel of the border.
    """
    inverse = turns.mT[:, :2]  # where a pixel comes from; the last column is no shift
    grid = functional.affine_grid(inverse.to(crops), list(crops.shape), align_corners=False)
    return functional.grid_sample(crops, grid, padding_mode="border", align_corners=False)


def turn_cameras(batch: dict, turns: torch.Tensor) -> dict[str, torch.Tensor]:
    """`batch` with what is in the cameras' frames turned by `turns` (B,3,3): crops, rotations, labels."""
    turned = {key: turn_crops(batch[key], turns) for key in ("img_crop", "bg_crop") if key in batch}
    if "extrinsic_rot" in batch:
        turned["extrinsic_rot"] = turns @ batch["extrinsic_rot"]
    if "extrinsic_rot_inv" in batch:
        turned["extrinsic_rot_inv"] = batch["extrinsic_rot_inv"] @ turns.mT
    if "3D" in batch:
        turned["3D"] = rotate_points(batch["3D"].unflatten(1, (-1, 3)), turns).flatten(1)
    return {**batch, **turned}


def _random_half(count: int, generator: torch.Generator) -> torch.Tensor:
    """Which of `count` are changed, each with a chance of one half: (count,) bool, on the CPU.

    Drawn for the joined batch: of several processes each gets its share.
    """
    return draw_shard(torch.rand, count, generator=generator) < 0.5


def _random_color_maps(count: int, strength: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Affine maps of normalised colours: matrices (count,3,3) and shifts (count,3,1)."""

    def uniform(*shape: int) -> torch.Tensor:
        return (draw_shard(torch.rand, *shape, generator=generator) * 2 - 1) * strength

    angle = uniform(count) * math.pi
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    hue = cos * torch.eye(3) + (1 - cos) * grey + sin * cross
    gain = (1 + 0.3 * uniform(count, 3)) * (1 + 0.3 * uniform(count, 1))
    matrix = gain[:, :, None] * hue  # acts on colours in 0..1 about mid-grey
    shift = 0.5 - matrix.sum(2, keepdim=True) * 0.5
    mean, std = torch.tensor(IMAGE_MEAN).view(3, 1), torch.tensor(IMAGE_STD).view(3, 1)
    return matrix * (std.T / std), (matrix @ mean + shift - mean) / std
