"""Augmentation: an augmented crop shows its augmented label, and the world stays one world."""

import numpy as np
import torch

from datasets.cameras.crop_camera import crop_camera, project_to_crop
from tests.markers import JOINTS, find_markers, render_markers
from tests.networks import some_inputs
from tests.synthetic import random_joints
from training.stages.augmentation import (
    augment,
    augment_color,
    draw_augmentation,
    jitter_points,
    mirror,
    random_colors,
    random_mirrors,
    random_rolls,
    random_yaws,
    roll_cameras,
    yaw_labels,
)
from utils.geometry import mirror_pose, rotate_points
from utils.images import normalize
from utils.keys import KEYS, defaults
from utils.skeleton import MIRRORED_JOINTS


def test_a_rolled_crop_shows_the_rolled_pose():
    size, root = 64, np.array([0.0, 0.0, 5.0])
    joints = random_joints(6, np.random.default_rng(0))
    poses = torch.from_numpy(joints - joints[:, :1]).float()
    intrinsic = crop_camera(root).intrinsic_crop

    def seen(some_poses):
        return project_to_crop(some_poses.numpy()[:, JOINTS] + root, intrinsic)

    crops = np.stack([render_markers(size * pixels - 0.5, size, size, 1.5) for pixels in seen(poses)])
    batch = {"img_crop": torch.from_numpy(crops).permute(0, 3, 1, 2).float(), "3D": poses.flatten(1)}
    rolled = roll_cameras(batch, random_rolls(6, 60.0, torch.Generator().manual_seed(0)))
    expected = seen(rolled["3D"].view(6, 17, 3))
    found = np.stack([find_markers(crop) for crop in rolled["img_crop"].permute(0, 2, 3, 1).numpy()])
    np.testing.assert_allclose(found, expected, atol=0.5 / size)
    assert np.abs(expected - seen(poses)).max() > 0.1


def test_rolled_cameras_see_the_same_world():
    batch = some_inputs()
    rolled = roll_cameras(batch, random_rolls(4, 40.0, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(rolled["extrinsic_rot"] @ rolled["extrinsic_rot_inv"], torch.eye(3).expand(4, 3, 3))
    rolls = rolled["extrinsic_rot"] @ batch["extrinsic_rot_inv"]
    points = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1))
    world = rotate_points(points, batch["extrinsic_rot_inv"])
    torch.testing.assert_close(rotate_points(rotate_points(points, rolls), rolled["extrinsic_rot_inv"]), world)
    assert not torch.allclose(rolled["img_crop"], batch["img_crop"], atol=0.1)


def test_masks_roll_with_their_crops():
    batch = some_inputs()
    crops = torch.where(batch["img_crop"] > 0.3, 1.0, 0.0)
    masks = (255 * crops[:, :1]).to(torch.uint8)
    rolls = random_rolls(len(crops), 40.0, torch.Generator().manual_seed(0))
    rolled = roll_cameras({**batch, "img_crop": crops, "mask_crop": masks}, rolls)
    assert rolled["mask_crop"].dtype == torch.uint8 and not torch.equal(rolled["mask_crop"], masks)
    torch.testing.assert_close(rolled["mask_crop"] / 255, rolled["img_crop"][:, :1], atol=0.51 / 255, rtol=0)


def test_rolls_are_rotations_about_the_viewing_axis_within_their_limit():
    rolls = random_rolls(200, 30.0, torch.Generator().manual_seed(0))
    angles = torch.atan2(rolls[:, 1, 0], rolls[:, 0, 0]).rad2deg()
    assert 25 < angles.max() <= 30 and -30 <= angles.min() < -25
    torch.testing.assert_close(rolls @ rolls.mT, torch.eye(3).expand(200, 3, 3))
    torch.testing.assert_close(rolls[:, 2], torch.tensor([0.0, 0.0, 1.0]).expand(200, 3))


def test_mirrored_groups_show_the_mirrored_world_to_mirrored_cameras():
    batch = some_inputs(64, batch=32)
    result = mirror(batch, random_mirrors(32, 4, torch.Generator().manual_seed(0)))
    flip_x = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    world = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).T
    kinds = []
    for start in range(0, 32, 4):
        group = slice(start, start + 4)
        flipped = not torch.equal(result["img_crop"][group], batch["img_crop"][group])
        kinds.append(flipped)
        for key in ("img_crop", "bg_crop"):
            torch.testing.assert_close(result[key][group], batch[key][group].flip(3) if flipped else batch[key][group])
        change = flip_x if flipped else torch.eye(3)
        seen, was_seen = (b["extrinsic_rot"][group] @ w for b, w in ((result, change @ world), (batch, world)))
        torch.testing.assert_close(seen, change @ was_seen)
    torch.testing.assert_close(result["extrinsic_rot"] @ result["extrinsic_rot_inv"], torch.eye(3).expand(32, 3, 3))
    assert {True, False} == set(kinds)


def test_a_mirrored_label_is_what_the_flipped_crop_shows():
    # In front of the camera, the middle column of the crop is the mirror.
    size, root = 64, np.array([0.0, 0.0, 5.0])
    joints = random_joints(16, np.random.default_rng(0))
    poses = torch.from_numpy(joints - joints[:, :1]).float()
    intrinsic = crop_camera(root).intrinsic_crop

    def seen(some_poses):
        return project_to_crop(some_poses.numpy() + root, intrinsic)[:, JOINTS]

    crops = np.stack([render_markers(size * pixels - 0.5, size, size, 1.5) for pixels in seen(poses)])
    batch = {"img_crop": torch.from_numpy(crops).permute(0, 3, 1, 2).float(), "3D": poses.flatten(1)}
    result = mirror(batch, random_mirrors(16, 1, torch.Generator().manual_seed(0)))
    kinds = []
    for pose, before, crop, old_crop in zip(result["3D"], poses, result["img_crop"], batch["img_crop"], strict=True):
        kinds.append(not torch.equal(crop, old_crop))
        # A marker has the color of the joint that it was drawn for, which is on the other side now.
        drawn = pose.view(1, 17, 3)[:, MIRRORED_JOINTS if kinds[-1] else range(17)]
        found = find_markers(crop.permute(1, 2, 0).numpy())
        np.testing.assert_allclose(found, seen(drawn)[0], atol=0.5 / size)
        if not kinds[-1]:
            assert torch.equal(pose, before.flatten())
    assert {True, False} == set(kinds)


def test_mirrored_points_of_a_frozen_encoder_rotate_with_their_labels():
    generator = torch.Generator().manual_seed(0)
    pose = torch.randn(12, 51, generator=generator)
    vertical = torch.nn.functional.normalize(torch.randn(12, 3, generator=generator), dim=1)
    # Of a perfect encoder: its points are the joints, also those of the flipped crop.
    points, mirrored_points = pose.unflatten(1, (-1, 3)), mirror_pose(pose).unflatten(1, (-1, 3))
    batch = {"points": points, "mirrored_points": mirrored_points, "3D": pose, "vertical": vertical}
    mirrored = mirror(batch, random_mirrors(12, 1, torch.Generator().manual_seed(1)))
    flipped = (mirrored["3D"] != pose).any(1)
    assert 0 < flipped.sum() < 12
    rotated = yaw_labels(mirrored, random_yaws(12, 180.0, torch.Generator().manual_seed(2)))
    torch.testing.assert_close(rotated["points"].flatten(1), rotated["3D"])
    # Heights above the ground stay, but of the joints on the other side.
    before, after = (torch.einsum("bjc,bc->bj", b["3D"].unflatten(1, (-1, 3)), b["vertical"]) for b in (batch, rotated))
    torch.testing.assert_close(after, torch.where(flipped[:, None], before[:, MIRRORED_JOINTS], before))
    torch.testing.assert_close(mirror_pose(mirror_pose(pose)), pose)


def test_jittered_points_are_off_by_a_share_of_their_own_spread():
    torch.manual_seed(0)
    points = torch.randn(40, 500, 3) * torch.linspace(0.1, 10, 40)[:, None, None]
    batch = {"points": points, "3D": torch.randn(40, 51)}
    config = {**defaults(KEYS), "augment_points": 0.3}
    drawn, drawn_again = (
        draw_augmentation(40, config, torch.Generator().manual_seed(1), points=points.shape) for _ in range(2)
    )
    jittered = augment(batch, drawn, config)
    again = jitter_points(batch, 0.3, drawn_again["noise"])
    noise = jittered["points"] - points
    torch.testing.assert_close(noise.std(dim=(1, 2)) / points.std(dim=(1, 2)), torch.full((40,), 0.3), rtol=0.1, atol=0)
    assert noise.mean(dim=(1, 2)).div(points.std(dim=(1, 2))).abs().max() < 0.05
    assert torch.equal(jittered["points"], again["points"]) and torch.equal(jittered["3D"], batch["3D"])
    config["augment_points"] = 0.0
    assert augment(batch, draw_augmentation(40, config, torch.Generator(), points=points.shape), config) is batch


def test_colors_change_alike_within_a_group_and_differ_between_groups():
    torch.manual_seed(0)
    same = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    image = normalize(same.expand(8, -1, -1, -1))
    batch = {"img_crop": image, "bg_crop": image.clone()}
    drawn = random_colors(8, 4, 0.5, torch.Generator().manual_seed(1))
    changed = augment_color(batch, drawn["color_matrices"], drawn["color_shifts"])
    torch.testing.assert_close(changed["img_crop"], changed["bg_crop"])
    changed = changed["img_crop"]
    for group in (changed[:4], changed[4:]):
        torch.testing.assert_close(group, group[:1].expand_as(group))
    assert (changed[0] - changed[4]).abs().mean() > 0.05
    config = defaults(KEYS)
    assert augment(batch, draw_augmentation(8, config, torch.Generator(), 4), config) is batch
