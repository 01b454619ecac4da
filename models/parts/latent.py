"""Operations on latents: rotations between cameras, and permutations of poses and appearances in a batch."""

import torch
from torch import nn

from utils.errors import UserError
from utils.geometry import at_least_float32


def camera_to_camera(
    world_to_cam: torch.Tensor,
    cam_to_world: torch.Tensor,
    target: torch.Tensor,
    external_global: torch.Tensor | None = None,
    external_cam: torch.Tensor | None = None,
) -> torch.Tensor:
    """Rotations (B,3,3) from the camera of crop i to the camera of crop `target[i]`.

    `world_to_cam`, `cam_to_world`: (B,3,3); `target`: (B,) indices. `external_global` rotates the world and
    `external_cam` the target camera ((3,3) or (B,3,3)): external_cam @ R_w2c @ external_global @ R_c2w.
    """
    # Float32 also under autocast: a product in bfloat16 would be off by up to half a degree.
    with torch.autocast(world_to_cam.device.type, enabled=False):
        rotation = at_least_float32(cam_to_world)
        if external_global is not None:
            rotation = external_global.to(rotation) @ rotation
        rotation = world_to_cam.to(rotation)[target] @ rotation
        if external_cam is not None:
            rotation = external_cam.to(rotation) @ rotation
        return rotation


class ImplicitRotation(nn.Module):
    """Ablation: layers that learn to rotate, from the points and the nine entries of the rotation matrix."""

    def __init__(self, latent_3d: int, dropout: float, encoded_angle: int = 128):
        super().__init__()
        self.encode_angle = nn.Sequential(
            nn.Linear(9, encoded_angle // 2),
            nn.Dropout(dropout),
            nn.ReLU(),
            nn.Linear(encoded_angle // 2, encoded_angle),
            nn.Dropout(dropout),
            nn.ReLU(),
            nn.Linear(encoded_angle, encoded_angle),
        )
        self.turn = nn.Sequential(nn.Linear(latent_3d + encoded_angle, latent_3d), nn.Dropout(dropout), nn.ReLU())

    def forward(self, points: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
        """Points (B,N,3) and rotations (B,3,3) -> points (B,N,3)."""
        angle = self.encode_angle(rotation.flatten(1))
        return self.turn(torch.cat([points.flatten(1), angle.to(points.dtype)], dim=1)).unflatten(1, (-1, 3))


def evaluation_permutations(
    batch: int, sub_batch: int, shuffle_3d: bool = True, device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The published permutations for testing: pose rolls by one within each sub-batch, appearance stays.

    Returns index tensors (B,), (B,): slot i renders view `pose[i]` with the appearance of crop `appearance[i]`.
    Without `shuffle_3d` both are the identity: every crop reconstructs itself.
    """
    order = torch.arange(batch, device=device)
    if not shuffle_3d:
        return order, order
    return _groups(order, sub_batch).roll(1, dims=1).flatten(), order


def training_permutations(
    batch: int,
    sub_batch: int,
    use_subject_batches: bool,
    generator: torch.Generator,
    *,
    shuffle_3d: bool = True,
    shuffle_fg: bool = True,
    other_view: bool = False,
    rolls: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random permutations for training: index tensors (pose (B,), appearance (B,)) on the CPU.

    Both shuffle within each sub-batch (`sub_batch` views of one instant). With `use_subject_batches` appearance then
    swaps sub-batches 2k and 2k+1, so that it comes from another instant of the sequence. The published shuffle may
    leave a crop as its own target; with `other_view` the target is always another camera. `rolls`: as the published
    method of several people draws them, a sub-batch that is shuffled rolls by one or, as often, stays as it is.
    """
    order = torch.arange(batch)
    pose = appearance = order
    shuffle_groups = _roll_groups if rolls else _shuffle_groups
    if shuffle_3d:
        shuffle = _derange_groups if other_view else shuffle_groups
        pose = shuffle(_groups(order, sub_batch), generator).flatten()
    if shuffle_fg:
        # Appearance from another instant, in another pose, cannot carry the pose: what is encoded there must hold for
        # both instants, and is therefore clothes and build.
        groups = shuffle_groups(_groups(order, sub_batch), generator)
        if use_subject_batches:
            groups = _groups(groups, 2, what="pairs of sub-batches").flip(1).flatten(0, 1)
        appearance = groups.flatten()
    return pose, appearance


def invert(permutation: torch.Tensor) -> torch.Tensor:
    """The permutation that undoes `permutation` (B,)."""
    return torch.argsort(permutation)


def _groups(order: torch.Tensor, size: int, what: str = "sub-batches") -> torch.Tensor:
    if len(order) % size:
        raise UserError(f"{len(order)} crops or sub-batches do not divide into {what} of {size}")
    return order.unflatten(0, (-1, size))


def _shuffle_groups(groups: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return groups.gather(1, torch.rand(groups.shape, generator=generator).argsort(dim=1))


def _roll_groups(groups: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    rolled = torch.rand(len(groups), 1, generator=generator) < 0.5
    return torch.where(rolled, groups.roll(1, dims=1), groups)


def _derange_groups(groups: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shuffle each row so that no entry stays: every entry moves to its successor on a random cycle."""
    if groups.shape[1] < 2:
        raise UserError("sub-batches of 1 camera have no other view to render; expected useCamBatches of at least 2")
    cycle = torch.rand(groups.shape, generator=generator).argsort(dim=1)
    deranged = torch.empty_like(groups).scatter_(1, cycle, cycle.roll(1, dims=1))
    return groups.gather(1, deranged)
