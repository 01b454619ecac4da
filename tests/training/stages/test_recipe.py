"""What a better recipe may switch on: in-plane rotation, mirrored pairs and labels, no sigmoid bottleneck."""

import numpy as np
import pytest
import torch

from datasets.cameras.crop_camera import crop_camera, project_to_crop
from models import build_network
from models.checkpoints import read_checkpoint, save_weights
from tests.markers import JOINTS, find_markers, render_markers
from tests.networks import PUBLISHED, some_inputs
from tests.runs import losses
from tests.synthetic import random_joints, write_synthetic_layout
from tests.tiny import SIZE, tiny_config, tiny_pose_config
from training.stages.augmentation import mirror_groups, mirror_labels, random_turns, turn_cameras
from training.stages.novel_views import train_novel_views
from training.stages.pose import shake_points, train_pose, turn_about_vertical
from utils.geometry import mirror_pose, rotate_points
from utils.skeleton import MIRRORED_JOINTS


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data") / "train", size=SIZE, sequences_per_subject=3)


def test_a_turned_crop_shows_the_turned_pose():
    size, root = 64, np.array([0.0, 0.0, 5.0])
    joints = random_joints(6, np.random.default_rng(0))
    poses = torch.from_numpy(joints - joints[:, :1]).float()
    intrinsic = crop_camera(root).intrinsic_crop

    def seen(some_poses):
        return project_to_crop(some_poses.numpy()[:, JOINTS] + root, intrinsic)

    crops = np.stack([render_markers(size * pixels - 0.5, size, size, 1.5) for pixels in seen(poses)])
    batch = {"img_crop": torch.from_numpy(crops).permute(0, 3, 1, 2).float(), "3D": poses.flatten(1)}
    turned = turn_cameras(batch, random_turns(6, 60.0, torch.Generator().manual_seed(0)))
    expected = seen(turned["3D"].view(6, 17, 3))
    found = np.stack([find_markers(crop) for crop in turned["img_crop"].permute(0, 2, 3, 1).numpy()])
    np.testing.assert_allclose(found, expected, atol=0.5 / size)
    assert np.abs(expected - seen(poses)).max() > 0.1


def test_turned_cameras_see_the_same_world():
    batch = some_inputs()
    turned = turn_cameras(batch, random_turns(4, 40.0, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(turned["extrinsic_rot"] @ turned["extrinsic_rot_inv"], torch.eye(3).expand(4, 3, 3))
    turns = turned["extrinsic_rot"] @ batch["extrinsic_rot_inv"]
    points = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1))
    world = rotate_points(points, batch["extrinsic_rot_inv"])
    torch.testing.assert_close(rotate_points(rotate_points(points, turns), turned["extrinsic_rot_inv"]), world)
    assert not torch.allclose(turned["img_crop"], batch["img_crop"], atol=0.1)


def test_turns_are_rotations_about_the_viewing_axis_within_their_limit():
    turns = random_turns(200, 30.0, torch.Generator().manual_seed(0))
    angles = torch.atan2(turns[:, 1, 0], turns[:, 0, 0]).rad2deg()
    assert 25 < angles.max() <= 30 and -30 <= angles.min() < -25
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3).expand(200, 3, 3))
    torch.testing.assert_close(turns[:, 2], torch.tensor([0.0, 0.0, 1.0]).expand(200, 3))


def test_without_the_sigmoid_bottleneck_the_linear_layer_sees_as_many_features_as_latents():
    features = {}
    for sigmoid in (True, False):
        network = build_network({**PUBLISHED, "sigmoid_bottleneck": sigmoid})
        features[sigmoid] = network.encoder.fc.in_features
        with torch.no_grad():
            assert network.encode(some_inputs(128, batch=2)["img_crop"])[1].shape == (2, 200, 3)
    assert features[True] == 128 and features[False] >= 728


def test_mirrored_groups_show_the_mirrored_world_to_mirrored_cameras():
    batch = some_inputs(64, batch=32)
    result = mirror_groups(batch, 4, torch.Generator().manual_seed(0))
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    world = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).T
    kinds = []
    for start in range(0, 32, 4):
        group = slice(start, start + 4)
        flipped = not torch.equal(result["img_crop"][group], batch["img_crop"][group])
        kinds.append(flipped)
        for key in ("img_crop", "bg_crop"):
            torch.testing.assert_close(result[key][group], batch[key][group].flip(3) if flipped else batch[key][group])
        change = mirror if flipped else torch.eye(3)
        seen, was_seen = (b["extrinsic_rot"][group] @ w for b, w in ((result, change @ world), (batch, world)))
        torch.testing.assert_close(seen, change @ was_seen)  # what was left in the crop is right
    torch.testing.assert_close(result["extrinsic_rot"] @ result["extrinsic_rot_inv"], torch.eye(3).expand(32, 3, 3))
    assert {True, False} == set(kinds)


def test_a_mirrored_label_is_what_the_flipped_crop_shows():
    size, root = 64, np.array([0.0, 0.0, 5.0])  # in front of the camera: the crop's middle column is the mirror
    joints = random_joints(16, np.random.default_rng(0))
    poses = torch.from_numpy(joints - joints[:, :1]).float()
    intrinsic = crop_camera(root).intrinsic_crop

    def seen(some_poses):
        return project_to_crop(some_poses.numpy() + root, intrinsic)[:, JOINTS]

    crops = np.stack([render_markers(size * pixels - 0.5, size, size, 1.5) for pixels in seen(poses)])
    batch = {"img_crop": torch.from_numpy(crops).permute(0, 3, 1, 2).float(), "3D": poses.flatten(1)}
    result = mirror_labels(batch, torch.Generator().manual_seed(0))
    kinds = []
    for pose, before, crop, old_crop in zip(result["3D"], poses, result["img_crop"], batch["img_crop"], strict=True):
        kinds.append(not torch.equal(crop, old_crop))
        # the colour of a marker is that of the joint that it was painted for, which is on the other side now
        painted = pose.view(1, 17, 3)[:, MIRRORED_JOINTS if kinds[-1] else range(17)]
        found = find_markers(crop.permute(1, 2, 0).numpy())
        np.testing.assert_allclose(found, seen(painted)[0], atol=0.5 / size)
        if not kinds[-1]:
            assert torch.equal(pose, before.flatten())
    assert {True, False} == set(kinds)


def test_mirrored_points_of_a_frozen_encoder_turn_with_their_labels():
    generator = torch.Generator().manual_seed(0)
    pose = torch.randn(12, 51, generator=generator)
    vertical = torch.nn.functional.normalize(torch.randn(12, 3, generator=generator), dim=1)
    # an encoder that is right: its points are the joints, also those of the flipped crop
    points, mirrored_points = pose.unflatten(1, (-1, 3)), mirror_pose(pose).unflatten(1, (-1, 3))
    batch = {"points": points, "mirrored_points": mirrored_points, "3D": pose, "vertical": vertical}
    mirrored = mirror_labels(batch, torch.Generator().manual_seed(1))
    flipped = (mirrored["3D"] != pose).any(1)
    assert 0 < flipped.sum() < 12
    turned = turn_about_vertical(mirrored, 180.0, torch.Generator().manual_seed(2))
    torch.testing.assert_close(turned["points"].flatten(1), turned["3D"])
    # heights above the ground stay what they were, for the joints on the other side
    before, after = (torch.einsum("bjc,bc->bj", b["3D"].unflatten(1, (-1, 3)), b["vertical"]) for b in (batch, turned))
    torch.testing.assert_close(after, torch.where(flipped[:, None], before[:, MIRRORED_JOINTS], before))
    torch.testing.assert_close(mirror_pose(mirror_pose(pose)), pose)


def test_shaken_points_are_off_by_a_share_of_their_own_spread():
    torch.manual_seed(0)
    points = torch.randn(40, 500, 3) * torch.linspace(0.1, 10, 40)[:, None, None]
    batch = {"points": points, "3D": torch.randn(40, 51)}
    shaken = shake_points(batch, 0.3, torch.Generator().manual_seed(1))
    again = shake_points(batch, 0.3, torch.Generator().manual_seed(1))
    noise = shaken["points"] - points
    torch.testing.assert_close(noise.std(dim=(1, 2)) / points.std(dim=(1, 2)), torch.full((40,), 0.3), rtol=0.1, atol=0)
    assert noise.mean(dim=(1, 2)).div(points.std(dim=(1, 2))).abs().max() < 0.05
    assert torch.equal(shaken["points"], again["points"]) and torch.equal(shaken["3D"], batch["3D"])
    assert shake_points(batch, 0.0, torch.Generator()) is batch


@pytest.mark.parametrize("freeze_encoder", [True, False])
def test_stage_2_trains_with_mirrored_labels(data, tmp_path, freeze_encoder):
    network_path = None
    if freeze_encoder:
        config, network_path = tiny_config(data, tmp_path), str(tmp_path / "stage1.pth")
        save_weights(network_path, build_network(config), config)
    config = tiny_pose_config(data, tmp_path, network_path, freeze_encoder=freeze_encoder)
    mirrored = losses(train_pose({**config, "augment_mirror": True}))
    assert np.isfinite(list(mirrored.values())).all() and mirrored != losses(train_pose(config))


@pytest.mark.parametrize("changes", [{"augment_rotation": 30.0}, {"augment_mirror": True}])
def test_stage_1_trains_with_it_and_differently(data, tmp_path, changes):
    runs = [train_novel_views(tiny_config(data, tmp_path, **c)) for c in ({}, changes)]
    plain, changed = (losses(run) for run in runs)
    assert len(plain) == len(changed) == 6 and np.isfinite(list(changed.values())).all() and plain != changed


def test_plain_supervision_turns_crops_and_labels_together(data, tmp_path):
    config = tiny_pose_config(data, tmp_path, None, freeze_encoder=False)
    plain, turned = (losses(train_pose({**config, "augment_rotation": angle})) for angle in (0.0, 180.0))
    assert np.isfinite(list(turned.values())).all() and plain != turned


def test_fine_tuning_goes_on_with_the_trained_pose_decoder(data, tmp_path):
    stage1 = train_novel_views(tiny_config(data, tmp_path))
    stage2 = train_pose(tiny_pose_config(data, tmp_path, str(stage1.path)))
    tuning = {"freeze_encoder": False, "learning_rate": 0.0, "width_to3Dpose": 64}
    tuned = train_pose(tiny_pose_config(data, tmp_path, str(stage2.path), **tuning))
    before, after = (read_checkpoint(file).weights for file in (stage2.best_network, tuned.last_network))
    learned = [name for name in before if name.endswith("weight")]
    assert all(torch.equal(before[name], after[name]) for name in learned)
    # a frozen encoder gets a new pose decoder, of the size that is asked for
    anew = train_pose(tiny_pose_config(data, tmp_path, str(stage2.path), width_to3Dpose=64))
    weights = read_checkpoint(anew.last_network).weights
    assert weights["to_pose.layers.0.weight"].shape[0] == 64
    assert torch.equal(weights["encoder.fc.weight"], before["encoder.fc.weight"])
