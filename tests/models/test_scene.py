"""The network of several people in full frames: what its parts must do in every variant."""

import math

import pytest
import torch

from models import build_network, load_weights, read_checkpoint, save_weights
from models.scene.boxes import box_matrices, crop_frames, paste_crops
from models.scene.bumps import BUMPS, bump
from models.scene.compositing import color_code, compose, layers_by_depth, layers_side_by_side
from models.scene.matching import best_matches, mix, similarities
from tests.scene_networks import SMALL, SMALL_POSE, move_boxes, some_frames
from training.stages.scene_losses import FrameLoss, box_prior, scene_pose_loss
from utils.errors import UserError
from utils.geometry import rotate_points, yaw_rotation
from utils.scene_keys import SCENE_KEYS

FRAMES = {"img": 3, "radiance_normalized": 1, "blend_mask": 3}
ALL_OUTPUTS = [name for name in SCENE_KEYS["output_types"].choices if name != "3D"]
WITHOUT_DEPTH = [name for name in ALL_OUTPUTS if name not in ("depth_map", "ST_depth")]
VARIANTS = {
    "published": {},
    "one box": {"spatial_transformer_num": 1},
    "three boxes": {"spatial_transformer_num": 3},
    "four boxes": {"spatial_transformer_num": 4},
    "groups of four": {"useCamBatches": 4},
    "no depth": {"predict_transformer_depth": False, "output_types": WITHOUT_DEPTH},
    "no mask": {"masked_blending": False},
    "masks as decoded": {"scale_mask_max_to_1": False, "normalize_mask_density": True},
    "no matching": {"match_crops": False},
    "detector moved": {"offset_crop": True},
    "whole frames": {"disable_detector": True},
    "transposed convolutions": {"upsampling_bilinear": False},
    "EfficientNetLite0": {"encoderType": "EfficientNetLite0"},
    **{f"bump {kind}": {"spatial_transformer": kind} for kind in (*BUMPS, True)},
}


def build(config, **changes):
    torch.manual_seed(0)
    network = build_network({**SMALL, "output_types": ALL_OUTPUTS, **config, **changes}).eval()
    if network.detector is not None:
        move_boxes(network)
    return network


@pytest.fixture(scope="module")
def small():
    return build({})


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_variant_runs_and_uses_every_parameter(changes):
    network = build(changes).train()
    boxes, frames, batch = network.boxes, 4, some_frames()
    outputs = network(batch)
    assert list(outputs) == list(network.output_types)
    size = (40, 72)
    shapes = {
        "img": (frames, 3, *size),
        "spatial_transformer": (boxes, frames, 2, 3),
        "spatial_transformer_raw": (frames * boxes, 2, 3),
        "ST_depth": (boxes, frames),
        "similarity_matrix": (boxes, boxes, frames),
        "latent_fg": (boxes, frames, 32),
        "latent_3d": (boxes * frames, 20, 3),
        "latent_3d_rotated": (boxes, frames, 20, 3),
        "cam2cam": (boxes * frames, 3, 3),
        "img_crop": (frames * boxes, 3, 32, 32),
        "blend_mask_crop": (frames * boxes, 1, 32, 32),
        "bg_crop": (frames * boxes, 3, 32, 32),
        "spatial_transformer_img_crop": (frames * boxes, 3, 32, 32),
        "radiance_normalized": (boxes, frames, 1, *size),
        "masks": (boxes, frames, 1, *size),
        "blend_mask": (frames, 1 if boxes == 1 else 3, *size),
        "depth_map": (frames, 1, *size),
        "img_downscaled": (frames, 3, 128, 128),
        **dict.fromkeys(("shuffled_pose", "shuffled_pose_inv", "shuffled_appearance"), (frames,)),
    }
    for name, value in outputs.items():
        assert tuple(value.shape) == shapes[name], name
        assert torch.isfinite(value).all(), name
    torch.testing.assert_close(outputs["similarity_matrix"].sum(1), torch.ones(boxes, frames))
    outputs["img"].square().mean().backward()
    assert {id(p) for p in network.stage1_parameters()} == {id(p) for p in network.parameters() if p.grad is not None}
    silent = [name for name, p in network.named_parameters() if p.dim() > 1 and not p.grad.abs().sum() > 0]
    assert not silent
    with torch.no_grad():
        assert torch.isfinite(network.eval()(batch)["img"]).all()


@pytest.mark.parametrize("boxes", [1, 2, 3])
def test_poses_of_every_number_of_boxes_use_every_parameter(boxes):
    torch.manual_seed(0)
    network = build_network({**SMALL_POSE, "spatial_transformer_num": boxes}).train()
    move_boxes(network)
    pose = network(some_frames())["3D"]
    assert pose.shape == (4, boxes, 17, 3)
    pose.square().mean().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]
    assert len(network.stage2_parameters()) == 10


def test_only_what_is_asked_is_computed(small, monkeypatch):
    monkeypatch.setattr(small, "output_types", ["shuffled_pose_inv", "img_downscaled"])
    monkeypatch.setattr(small, "detect", None)
    assert list(small(some_frames())) == ["shuffled_pose_inv", "img_downscaled"]
    network = build({"output_types": ["latent_fg", "spatial_transformer"]})
    monkeypatch.setattr(network, "decode", None)
    assert list(network({"img": some_frames()["img"]})) == ["latent_fg", "spatial_transformer"]


def test_a_frame_is_painted_from_the_other_view(small):
    """Changing the input of one view changes the other view's frame, and its own one only by its boxes."""
    batch = some_frames()
    with torch.no_grad():
        before = small(batch)
        given = {**batch, "spatial_transformer": before["spatial_transformer_raw"]}
        torch.testing.assert_close(small(given)["img"], before["img"])
        points = before["latent_3d"].unflatten(0, (2, 4))
        rotation = batch["R_cam_2_world"][[1, 0, 3, 2]].mT @ batch["R_cam_2_world"]
        for box in (0, 1):
            torch.testing.assert_close(before["latent_3d_rotated"][box], rotate_points(points[box], rotation))
        changed = small({**given, "img": batch["img"].clone().index_fill_(0, torch.tensor(0), 1.0)})
    same = [torch.equal(changed["img_crop"][2 * j :][:2], before["img_crop"][2 * j :][:2]) for j in range(4)]
    assert same[2:] == [True, True] and same[1] is False


def test_groups_of_four_roll_by_one():
    outputs = build({"useCamBatches": 4})(some_frames(8))
    assert outputs["shuffled_pose"].tolist() == [3, 0, 1, 2, 7, 4, 5, 6]
    assert outputs["shuffled_pose_inv"].tolist() == [1, 2, 3, 0, 5, 6, 7, 4]
    assert build({"useCamBatches": 4, "shuffle_3d": False})(some_frames())["shuffled_pose"].tolist() == [0, 1, 2, 3]


def test_external_rotations_rotate_the_points_of_every_box(small):
    batch = some_frames()
    world, camera = yaw_rotation(0.7), yaw_rotation(-0.4).T.contiguous()
    external = {"external_rotation_global": world, "external_rotation_cam": camera}
    with torch.no_grad():
        outputs = small({**batch, **external})
        half = small({**batch, **external, "shuffled_pose_weight": torch.tensor(0.5)})
    expected = camera @ batch["R_cam_2_world"].mT @ world @ batch["R_cam_2_world"]
    torch.testing.assert_close(outputs["cam2cam"], expected.repeat(2, 1, 1))
    assert outputs["shuffled_pose"].tolist() == [0, 1, 2, 3]
    points = outputs["latent_3d"].unflatten(0, (2, 4))
    torch.testing.assert_close(half["latent_3d_rotated"], (points + outputs["latent_3d_rotated"]) / 2)


def test_new_boxes_are_equal_centered_and_at_depth_zero():
    network = build_network(SMALL).eval()
    boxes, depths = network.detect(some_frames()["img"])
    side = 0.2 + 0.8 / (1 + math.exp(-0.5))
    torch.testing.assert_close(boxes, torch.tensor([[side, 0, 0], [0, side, 0]]).expand(2, 4, 2, 3))
    assert not depths.any()


def test_crops_of_wide_frames_are_at_the_same_places_under_autocast():
    frames = torch.rand(1, 3, 64, 910)
    boxes = box_matrices(torch.tensor([[0.1, 0.8]]), torch.tensor([[0.7, 0.1]]))[None]
    crops = crop_frames(frames, boxes, 32)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(crop_frames(frames, boxes, 32), crops)


def test_what_is_cut_out_and_pasted_back_is_the_frame():
    frames = torch.nn.functional.interpolate(torch.randn(2, 3, 5, 7), size=(41, 65), mode="bicubic")
    size = torch.tensor([[0.5, 0.7], [0.4, 0.3]]).expand(2, 2, 2)
    center = torch.tensor([[[-0.2, 0.1], [0.3, -0.4]], [[0.0, 0.0], [0.9, 0.8]]])
    boxes = box_matrices(size, center)
    crops = crop_frames(frames, boxes, 96)
    assert crops.shape == (4, 3, 96, 96)
    back = paste_crops(crops.unflatten(0, (2, 2)), boxes, (41, 65), padding="zeros")
    inside = paste_crops(torch.ones(2, 2, 1, 96, 96), boxes, (41, 65), padding="zeros") > 0.99
    # The box of the last frame reaches out of it, where its crop is black.
    assert (crops[3, :, -20:, -20:] == 0).all()
    assert 0.01 < inside.float().mean() < 0.5
    # Bilinear sampling, twice, cuts the corners of a bicubic surface; a shift of one pixel would cost ten times this.
    assert ((back - frames)[inside.expand_as(back)]).abs().mean() < 0.01
    assert not back[~(inside | (back != 0))].any()


def test_bumps():
    crops = torch.zeros(2, 3, 5, 5)
    assert torch.equal(bump(True, crops), torch.ones(5, 5))
    for kind in BUMPS:
        weight = bump(kind, crops)
        assert weight[2, 2] == 1 and torch.equal(weight, weight.T) and torch.equal(weight, weight.flip(0))
        assert (weight[0] == 0).all() or kind == "Gauss"
    half = 0.5**2
    assert bump("GaussB", crops)[2, 3] == pytest.approx(math.exp(1 - 1 / (1 - half)))
    assert bump("GaussBSqSqr", crops)[3, 3] == pytest.approx(math.exp(1 - 1 / (1 - math.sqrt(2) * half)))
    assert bump("GaussBsq", crops)[3, 3] == pytest.approx(math.exp(1 - 1 / (1 - 2 * half**2)))
    assert bump("Gauss", crops)[0, 0] == pytest.approx(math.exp(-4))


def test_who_is_in_front_hides_who_is_behind():
    masks = torch.ones(2, 3, 1, 1, 1)
    depths = torch.tensor([[0.0, 5.0, 1.0], [5.0, 0.0, 1.0]])
    layers = layers_by_depth(masks, depths)
    shares = layers.radiance.flatten(1)
    torch.testing.assert_close(shares[0], torch.tensor([0.864, 0.117, 0.491]), rtol=0, atol=1e-3)
    torch.testing.assert_close(shares[1], torch.tensor([0.117, 0.864, 0.491]), rtol=0, atol=1e-3)
    alone = layers_by_depth(masks[:1], depths[:1]).radiance
    torch.testing.assert_close(alone, torch.full_like(alone, 1 - math.exp(-2)), rtol=0, atol=3e-4)
    flat = layers_side_by_side(torch.tensor([0.3, 0.9]).view(2, 1, 1, 1, 1)).radiance.flatten()
    torch.testing.assert_close(flat, torch.tensor([0.25, 0.75]))
    empty = layers_by_depth(torch.zeros(2, 1, 1, 1, 1), depths[:, :1]).radiance
    assert torch.equal(
        compose(torch.ones(2, 1, 3, 1, 1), empty, torch.full((1, 3, 1, 1), 7.0)).unique(), torch.tensor([7.0])
    )


def test_more_people_than_colors_share_channels():
    radiance = torch.arange(5.0).view(5, 1, 1, 1, 1)
    assert color_code(radiance).flatten().tolist() == [0 + 3, 1 + 4, 2]
    assert color_code(radiance[:2]).flatten().tolist() == [0, 1, 0]


def test_boxes_are_matched_by_appearance_whatever_their_order():
    generator = torch.Generator().manual_seed(0)
    people = torch.randn(3, 20, generator=generator)
    # View 1 lists the people of view 0 in another order; channels beyond the first 16 say nothing.
    appearance = torch.stack([people, people[[2, 0, 1]]], dim=1)
    appearance[..., 16:] = 100 * torch.randn(3, 2, 4, generator=generator)
    source = torch.tensor([1, 0])
    weights = best_matches(similarities(appearance, source))
    assert weights[:, :, 0].argmax(1).tolist() == [1, 2, 0] and weights[:, :, 1].argmax(1).tolist() == [2, 0, 1]
    crops = torch.arange(6.0).view(3, 2, 1, 1, 1)
    assert mix(crops, weights)[:, 0].flatten().tolist() == crops[[1, 2, 0], 0].flatten().tolist()


def test_poses_stand_from_left_to_right():
    network = build_network(SMALL_POSE).eval()
    points = torch.randn(2, 3, 20, 3)
    centers = torch.tensor([[-0.5, 0.5, 0.1], [0.3, -0.3, 0.1]])
    boxes = box_matrices(torch.ones(2, 3, 2), torch.stack([centers, torch.zeros(2, 3)], dim=-1))
    with torch.no_grad():
        poses = network.pose(points, boxes)
        alone = network.pose_decoder(points.flatten(0, 1)).view(2, 3, 17, 3)
    for frame, order in enumerate(([0, 1], [1, 0], [1, 0])):  # equal places: swapped, as published
        torch.testing.assert_close(poses[frame], alone[order, frame])


def test_bfloat16_keeps_geometry_and_colors_in_float32(small):
    batch = some_frames()
    with torch.no_grad():
        exact = small(batch)
        given = {**batch, "spatial_transformer": exact["spatial_transformer_raw"]}
        with torch.autocast("cpu", torch.bfloat16):
            outputs = small(given)
    torch.testing.assert_close(outputs["cam2cam"], exact["cam2cam"])
    assert {outputs[name].dtype for name in (*FRAMES, "latent_3d_rotated", "ST_depth")} == {torch.float32}
    assert (outputs["img"] - exact["img"]).norm() < 0.05 * exact["img"].norm()


def test_own_weights_load_with_the_config_that_built_them(small, tmp_path):
    config = {**SMALL, "output_types": ALL_OUTPUTS}
    save_weights(tmp_path / "scene.safetensors", small, config)
    checkpoint = read_checkpoint(tmp_path / "scene.safetensors")
    assert checkpoint.config == config
    network = build_network(checkpoint.config, load=False).eval()
    load_weights(network, checkpoint)
    with torch.no_grad():
        assert torch.equal(network(some_frames())["img"], small(some_frames())["img"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spatial_transformer": "Box"}, "'spatial_transformer' is 'Box'; expected 'GaussBSqSqr', .* or True"),
        ({"spatial_transformer": False}, "'spatial_transformer' is False"),
        ({"spatial_transformer_num": 0}, "'spatial_transformer_num' is 0; expected int \\(at least 1\\)"),
        ({"spatial_transformer_bounds": {"min_size": 0.2}}, "expected dictionary of border_factor, min_size, max_size"),
        (
            {"spatial_transformer_bounds": {"border_factor": 0.8, "min_size": 0.9, "max_size": 0.5}},
            "min_size = 0.9, expected at most its max_size = 0.5",
        ),
        ({"similarity_bandwidth": 0}, "'similarity_bandwidth' is 0"),
        ({"upsampling_bilinear": "half"}, "'upsampling_bilinear' is 'half'; expected 'upper' or False"),
        ({"latent_fg": 0}, "latent_fg = 0, expected at least 1 with match_crops"),
        ({"output_types": ["3D"]}, "output_types has '3D', which training_mode = 'NVS' does not compute"),
        ({"training_mode": "pose"}, "output_types has 'img', which training_mode = 'pose' does not compute"),
        ({"predict_transformer_depth": False, "output_types": ["depth_map"]}, "expected predict_transformer_depth"),
        ({"output_types": ["shuffle"]}, r"'output_types' is \['shuffle'\]"),
        ({"method": "nerf"}, "'method' is 'nerf'"),
    ],
)
def test_bad_configurations_are_one_line(changes, words):
    with pytest.raises(UserError, match=words) as error:
        build_network({**SMALL, **changes})
    assert "\n" not in str(error.value)


def test_inputs_that_do_not_fit_together_are_one_line(small):
    batch = some_frames()
    people = torch.eye(2, 3).repeat(12, 1, 1)
    wrong = {
        r"^img has shape \(3, 40, 72\), expected \(frames, 3, height, width\)": {"img": batch["img"][0]},
        r"^img is torch.uint8, expected floats, as utils.images.normalize": {"img": batch["img"].byte()},
        r"^bg has shape \(4, 3, 40, 70\), expected \(4, 3, 40, 72\)": {"bg": batch["bg"][..., :-2]},
        r"^R_cam_2_world has shape \(3, 3, 3\), expected \(4, 3, 3\)": {"R_cam_2_world": batch["R_cam_2_world"][:3]},
        r"^spatial_transformer has shape \(12, 2, 3\), expected \(8, 2, 3\) \(spatial_transformer_num = 2 a frame\)": {
            "spatial_transformer": people
        },
    }
    for words, change in wrong.items():
        with pytest.raises(UserError, match=words):
            small({**batch, **change})
    with pytest.raises(UserError, match=r"^3 .* do not divide into sub-batches of 2"):
        small({name: value[:3] for name, value in batch.items()})
    for name in ("img", "bg", "R_cam_2_world"):
        with pytest.raises(UserError, match=f"^input {name!r} is missing"):
            small({key: value for key, value in batch.items() if key != name})


def test_losses_ignore_brightness_and_contrast_and_weigh_their_parts():
    criterion, pixels = FrameLoss(SMALL), FrameLoss({**SMALL, "loss_weight_imageNet": 0.0})
    target, noise = torch.randn(2, 3, 32, 48), torch.randn(2, 3, 32, 48)
    assert pixels(3 * target + 1, target)["loss"] < 1e-6
    # The fixed network sees the colors as they are, and only its maps are compared after matching.
    assert set(criterion(noise, target)) == {"loss", "rgb", "imageNet"} and criterion(target, target)["loss"] < 1e-9
    boxes = box_matrices(torch.full((2, 2, 2), 0.4), torch.zeros(2, 2, 2))
    losses = criterion(noise, target, boxes)
    torch.testing.assert_close(losses["loss"], losses["rgb"] + losses["imageNet"] + losses["boxes"])
    wide = (0.4 * 1.5 * 910 / 512 - 0.4) ** 2 / 2
    assert losses["boxes"].item() == pytest.approx(0.1 * wide, rel=1e-5)
    absolute = FrameLoss({**SMALL, "MAE": True, "loss_weight_imageNet": 0.0})(target + noise, target)
    assert set(absolute) == {"loss", "rgb"} and absolute["rgb"] > 0.1
    with pytest.raises(UserError, match="are 0, expected one above 0"):
        FrameLoss({**SMALL, "loss_weight_rgb": 0.0, "loss_weight_imageNet": 0.0})
    with pytest.raises(UserError, match=r"fullFrameResolution = \[910\], expected width and height"):
        FrameLoss({**SMALL, "fullFrameResolution": [910]})


def test_the_box_prior_is_of_the_average_box():
    center = torch.tensor([[[-0.5, 0.2], [0.5, -0.2]]])
    spread = box_matrices(torch.tensor([0.4 / 1.5, 0.4]).expand(1, 2, 2), center)
    assert box_prior(spread, 1.0).item() == pytest.approx(0, abs=1e-9)
    assert box_prior(spread[:, :1], 1.0).item() == pytest.approx(((0.5 * 1.5) ** 2 + 0.2**2) / 2)


def test_more_people_than_boxes_are_one_line():
    mean, std = torch.zeros(51), torch.ones(51)
    assert scene_pose_loss(torch.ones(4, 2, 17, 3), torch.zeros(4, 2, 17, 3), mean, std) == 1
    with pytest.raises(UserError, match=r"^labels of 3 people in a frame, expected .*spatial_transformer_num = 2"):
        scene_pose_loss(torch.zeros(4, 2, 17, 3), torch.zeros(4, 3, 17, 3), mean, std)
