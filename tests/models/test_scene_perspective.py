"""Perspective correction: what boxes show is seen by cameras of their own."""

import numpy as np
import pytest
import torch

from datasets.cameras.crop_camera import crop_camera
from models import build_network
from models.scene.boxes import box_matrices
from models.scene.perspective import crop_rotations, pair_rotations
from tests.scene_networks import SMALL, SMALL_POSE, move_boxes, some_frames
from utils.errors import UserError
from utils.geometry import rotate_points, rotation_about

SIZE = (40, 72)
INTRINSICS = torch.tensor([[60.0, 0.5, 33.0], [0.0, 62.0, 22.0], [0.0, 0.0, 1.0]])
OUTPUTS = ["img", "img_crop", "blend_mask_crop", "latent_3d", "latent_3d_rotated", "similarity_matrix", "cam2cam"]


def build(config=SMALL, **changes):
    torch.manual_seed(0)
    network = build_network({**config, "perspectiveCorrection": True, **changes})
    move_boxes(network)
    return network


def calibrated(focal=None, frames=4):
    """Inputs with intrinsics, in pixels; `focal`: of long lenses, whose boxes all look the same way."""
    intrinsics = INTRINSICS.repeat(frames, 1, 1)
    if focal is not None:
        intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    return {**some_frames(frames), "intrinsics": intrinsics}


def box_around(points, intrinsics, side):
    """Boxes (2,3) of `side` (2,), centered at the projection of (3,) points in a frame of SIZE."""
    pixel = (intrinsics @ (points / points[2]))[:2]
    center = 2 * pixel / torch.tensor([SIZE[1] - 1, SIZE[0] - 1]) - 1
    return box_matrices(torch.as_tensor(side), center)


def project(points, intrinsics):
    """Points (P,3) in a camera's frame -> places (P,2) in frames of SIZE, -1..1."""
    pixels = (points / points[:, 2:]) @ intrinsics.T
    return 2 * pixels[:, :2] / torch.tensor([SIZE[1] - 1, SIZE[0] - 1]) - 1


def two_cameras():
    """A cloud of points around a person, and two cameras that see it near the border: (P,3) in each, root first."""
    cloud = 0.15 * torch.randn(50, 3, generator=torch.Generator().manual_seed(4))
    cloud[0] = 0
    rotations = rotation_about("y", torch.tensor([0.0, 1.1])) @ rotation_about("x", torch.tensor([0.1, -0.2]))
    roots = torch.tensor([[1.9, 0.6, 4.0], [-1.7, -0.8, 3.5]])
    return rotations, [cloud @ rotation.T + root for rotation, root in zip(rotations, roots, strict=True)]


def test_points_seen_through_two_boxes_are_where_the_other_camera_sees_them():
    rotations, seen = two_cameras()
    boxes = torch.stack([box_around(points[0], INTRINSICS, [0.3, 0.5]) for points in seen])[None]
    turns = crop_rotations(boxes, INTRINSICS.expand(2, 3, 3), SIZE)[0]
    # Both looks are at the root.
    for points, turn in zip(seen, turns, strict=True):
        torch.testing.assert_close(turn @ points[0], torch.tensor([0, 0, points[0].norm()]), rtol=0, atol=1e-5)
        torch.testing.assert_close(turn @ turn.T, torch.eye(3), rtol=0, atol=1e-6)
    cam2cam = rotations[1] @ rotations[0].T
    pair = pair_rotations(cam2cam[None], turns[1][None, None], turns[0][None, None])[0, 0, 0]
    people = [(points - points[0]) @ turn.T for points, turn in zip(seen, turns, strict=True)]
    turned = people[0] @ pair.T
    torch.testing.assert_close(turned, people[1], rtol=0, atol=1e-5)
    # Placed in front of the second box's camera and turned back, they project where the second frame shows them.
    placed = turned + torch.tensor([0, 0, seen[1][0].norm()])
    torch.testing.assert_close(project(placed @ turns[1], INTRINSICS), project(seen[1], INTRINSICS), rtol=0, atol=1e-4)
    # Without the correction the second person would be turned by the angle between the rays.
    assert (people[0] @ cam2cam.T - people[1]).norm() > 0.3 * people[1].norm()


def test_a_box_shows_a_small_person_as_its_camera_sees_them():
    """A crop is a part of the frame, and not a picture of the box's camera: they differ by what is small."""
    _, seen = two_cameras()
    errors = {}
    for scale in (0.2, 0.1):
        points = seen[0][0] + scale * (seen[0] - seen[0][0])
        boxes = box_around(points[0], INTRINSICS, [0.4, 0.4])[None, None]
        turn = crop_rotations(boxes, INTRINSICS[None], SIZE)[0, 0]
        center = boxes[0, 0, :, 2]
        shown = project(points, INTRINSICS) - center
        pixels = shown * (torch.tensor([SIZE[1] - 1, SIZE[0] - 1]) / 2)
        looked = points @ turn.T
        corrected = (looked / looked[:, 2:])[:, :2]
        plain = (points - points[0])[:, :2]
        errors[scale] = [_misfit(pixels, places) for places in (corrected, plain)]
    assert errors[0.1][0] < 0.12 and errors[0.1][1] > 2 * errors[0.1][0]


def _misfit(pixels, places):
    """What of (P,2) pixels is not the (P,2) places, scaled."""
    scale = (pixels * places).sum() / places.square().sum()
    return ((pixels - scale * places).norm() / pixels.norm()).item()


def test_boxes_have_the_cameras_of_crops():
    points = torch.tensor([[0.9, -0.4, 3.0], [0.0, 0.0, 2.0]])
    boxes = torch.stack([box_around(point, INTRINSICS, [0.3, 0.3]) for point in points])[:, None]
    turns = crop_rotations(boxes, INTRINSICS[None], SIZE)[:, 0]
    torch.testing.assert_close(turns, torch.as_tensor(crop_camera(points.numpy()).rotation).float(), rtol=0, atol=1e-5)
    torch.testing.assert_close(turns[1], torch.eye(3), rtol=0, atol=1e-6)
    leaf = boxes.requires_grad_()
    assert not crop_rotations(leaf, INTRINSICS[None], SIZE).requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_long_lenses_leave_the_published_frames(training):
    batch = {**calibrated(focal=1e7), "shuffled_pose": torch.tensor([1, 0, 2, 3])}
    outputs = []
    for corrected in (True, False):
        network = build(perspectiveCorrection=corrected, output_types=["img", "similarity_matrix"]).train(training)
        with torch.no_grad():
            outputs.append(network(batch))
    for name, value in outputs[0].items():
        torch.testing.assert_close(value, outputs[1][name], rtol=0, atol=1e-4)


def test_pairs_are_matched_before_they_are_decoded_in_evaluation():
    network, batch = build(output_types=OUTPUTS, match_one_to_one=True).eval(), calibrated()
    seen = []
    decode, network.decode = network.decode, lambda *people: seen.append(people[0].shape[:-1]) or decode(*people)
    with torch.no_grad():
        outputs = network(batch)
        boxes = build(output_types=["spatial_transformer"]).eval()(batch)["spatial_transformer"]
    assert seen == [(2, 4)]
    turns = crop_rotations(boxes, batch["intrinsics"], SIZE)
    points, source = outputs["latent_3d"].unflatten(0, (2, 4)), [1, 0, 3, 2]
    for view, other in enumerate(source):
        for target in (0, 1):
            match = int(outputs["similarity_matrix"][target, :, view].argmax())
            rotation = turns[target, view] @ outputs["cam2cam"][other] @ turns[match, other].T
            expected = rotate_points(points[match, other][None], rotation[None])[0]
            torch.testing.assert_close(outputs["latent_3d_rotated"][target, view], expected, rtol=0, atol=1e-5)
    assert outputs["img_crop"].shape == (8, 3, 32, 32) and outputs["blend_mask_crop"].shape == (8, 1, 32, 32)


def test_all_pairs_are_decoded_in_training_and_every_parameter_learns():
    network, batch = build().train(), calibrated()
    seen = []
    decode, network.decode = network.decode, lambda *people: seen.append(people[0].shape[:-1]) or decode(*people)
    network(batch)["img"].square().mean().backward()
    assert seen == [(2, 2, 4)]
    assert not [name for name, p in network.named_parameters() if p.dim() > 1 and not p.grad.abs().sum() > 0]


def test_a_person_who_is_rotated_by_nothing_stays():
    network = build(output_types=["latent_3d", "latent_3d_rotated"]).eval()
    with torch.no_grad():
        outputs = network({**calibrated(), "external_rotation_cam": torch.eye(3)})
    torch.testing.assert_close(outputs["latent_3d_rotated"].flatten(0, 1), outputs["latent_3d"], rtol=0, atol=1e-5)


def test_poses_are_turned_back_into_the_camera_of_the_frame():
    batch = calibrated()
    poses, networks = [], [build(SMALL_POSE, perspectiveCorrection=corrected).eval() for corrected in (True, False)]
    generator = torch.Generator().manual_seed(0)
    std = torch.rand(51, generator=generator)
    std[:3] = 0
    for network in networks:
        network.set_pose_statistics(torch.linspace(-0.5, 0.5, 51), std)
        network.output_types = ["3D", "spatial_transformer"]
        with torch.no_grad():
            outputs = network(batch)
        poses.append(network.denormalize_pose(outputs["3D"]))
    turns = crop_rotations(outputs["spatial_transformer"], batch["intrinsics"], SIZE)
    order = outputs["spatial_transformer"][..., 0, 2].argsort(0)
    for frame in range(4):
        for place, box in enumerate(order[:, frame].tolist()):
            expected = poses[1][frame, place] @ turns[box, frame]
            torch.testing.assert_close(poses[0][frame, place][1:], expected[1:], rtol=0, atol=1e-4)
    assert np.isfinite(outputs["3D"]).all()


def test_frames_without_intrinsics_are_one_line():
    for config in (SMALL, SMALL_POSE):
        with pytest.raises(UserError, match=r"^input 'intrinsics' is missing, expected it for perspectiveCorrection"):
            build(config)(some_frames())
    with pytest.raises(UserError, match=r"^intrinsics has shape \(3, 3, 3\), expected \(4, 3, 3\)"):
        build()({**calibrated(), "intrinsics": INTRINSICS.repeat(3, 1, 1)})
    found = build(output_types=["spatial_transformer"])(some_frames())
    assert list(found) == ["spatial_transformer"]
