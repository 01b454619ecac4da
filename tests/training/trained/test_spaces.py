"""People and cameras in 3D agree with the panels of the viewers, with labels and with each other."""

import numpy as np
import pytest
import torch

from datasets import FrameDataset, MultiViewDataset
from models import build_network
from tests.synthetic import write_synthetic_layout
from tests.synthetic_frames import write_synthetic_frames
from tests.tiny import CHANGES, stage2
from tests.trained_scenes import SIZE, scene_network_config
from training.loop.hardware import Hardware
from training.loop.loaders import VIEW_KEYS
from training.trained.scene_viewing import SceneView
from training.trained.spaces import FrameCamera, scene_space
from training.trained.viewing import RotatedView
from utils.geometry import yaw_rotation
from utils.space import ANKLE_HEIGHT, CLOUD_RADIUS, SpaceCamera, at_persons_scale


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    root = tmp_path_factory.mktemp("crops") / "set"
    return write_synthetic_layout(root, size=32, subjects=(9,), sequences_per_subject=1, instants=2)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return write_synthetic_frames(tmp_path_factory.mktemp("scenes"), SIZE, ((1, 5),), instants=2, cameras=2)


@pytest.fixture(scope="module")
def view(crops):
    torch.manual_seed(0)
    network = build_network({**stage2, **CHANGES, "output_types": ["img_crop", "3D"]})
    network.set_pose_statistics(torch.randn(51) * 0.3, torch.ones(51))
    return RotatedView(network, MultiViewDataset(crops, (*VIEW_KEYS, "3D")), Hardware("cpu"), first=1)


@pytest.fixture(scope="module")
def scene(frames):
    torch.manual_seed(0)
    network = build_network(scene_network_config("both", frames))
    return SceneView(network, FrameDataset(frames), Hardware("cpu"))


def turned(joints, yaw, to_world):
    """Joints in the world's axes after a yaw, as the camera sees them."""
    return joints @ yaw_rotation(yaw).numpy().T @ to_world


def test_a_person_turns_as_in_the_panels_and_stands_on_the_floor(view):
    space, panels = view.space(0), view(0, 0.7)
    to_world = view.dataset.labels["extrinsic_rot_inv"][view.rows[0]]
    predicted, true = space.bodies
    assert not predicted.true and true.true and space.trust is None
    for body, pose in ((predicted, panels.predicted_pose), (true, panels.true_pose)):
        np.testing.assert_allclose(turned(body.joints, 0.7, to_world), pose, atol=1e-5)
        assert (body.joints + body.position)[:, 2].min() == pytest.approx(ANKLE_HEIGHT)
    assert predicted.points.shape == (10, 3) and true.points is None


def test_cameras_of_the_instant_look_at_the_person_from_where_two_meters_fill_the_crop(view):
    space, labels, row = view.space(0), view.dataset.labels, view.rows[0]
    assert space.cameras[0].name == f"camera {labels['cam'][row]}"
    same = (labels["seq"] == labels["seq"][row]) & (labels["frame"] == labels["frame"][row])
    assert len(space.cameras) == same.sum() == len({camera.name for camera in space.cameras})
    for camera in space.cameras:
        ahead = (space.bodies[-1].position - camera.position) @ camera.rotation
        np.testing.assert_allclose(ahead[:2], 0, atol=1e-5)
        assert 2 * ahead[2] * np.tan(camera.field / 2) == pytest.approx(2, rel=1e-4)
    np.testing.assert_allclose(space.cameras[0].image, view(0, 0.0).input_image, atol=1e-6)


def test_points_keep_their_shape_at_the_scale_of_a_person():
    points = np.random.default_rng(0).normal(size=(500, 3)) * 40 + 7
    scaled = at_persons_scale(points)
    distance = np.linalg.norm(scaled, axis=1)
    assert 0.95 < (distance <= CLOUD_RADIUS + 1e-9).mean() < 1
    ratio = np.linalg.norm(points[0] - points[1]) / np.linalg.norm(points[2] - points[3])
    assert np.linalg.norm(scaled[0] - scaled[1]) / np.linalg.norm(scaled[2] - scaled[3]) == pytest.approx(ratio)


def test_people_of_a_scene_are_where_labels_say_and_turn_in_place(scene):
    space, panels, row = scene.space(0), scene(0, 1.1), scene.rows[0]
    labels, camera = scene.dataset.labels, space.cameras[0]
    true = [body for body in space.bodies if body.true]
    seen = np.array([(body.position - camera.position) @ camera.rotation for body in true])
    wanted = labels["position"][row]
    assert len(true) == len(panels.true_poses) == 2
    np.testing.assert_allclose(np.sort(seen, axis=0), np.sort(wanted, axis=0), atol=1e-4)
    found = [body for body in space.bodies if not body.true]
    for bodies, poses in ((found, panels.predicted_poses), (true, panels.true_poses)):
        for body, (pose, color) in zip(bodies, poses, strict=True):
            np.testing.assert_allclose(turned(body.joints, 1.1, camera.rotation), pose, atol=1e-5)
            assert body.color == color
    for body in found:
        assert (body.joints + body.position)[:, 2].min() == pytest.approx(ANKLE_HEIGHT)
        assert body.points.shape[1] == 3
    between = space.cameras[1].position - camera.position
    partner = scene.partners[row]
    expected = labels["camera_position"][partner] - labels["camera_position"][row]
    np.testing.assert_allclose(between, expected, atol=1e-5)


def test_a_person_who_fills_its_box_is_as_far_away_as_it_is(scene):
    camera = FrameCamera(scene.dataset, 0)
    pose = np.random.default_rng(1).normal(size=(17, 3)) * [0.2, 0.5, 0.0]
    position = np.array([0.6, 0.1, 5.0])
    pixels = (pose + position) @ camera.intrinsics.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    # The silhouette reaches beyond the joints, by as much above as below.
    margin = 0.075 * camera.intrinsics[1, 1] / position[2] * np.array([0, 1])
    first, last = pixels.min(0) - margin, pixels.max(0) + margin
    box = np.array([*(first + 0.5), *(last - first)])
    body = camera.found(pose, box, None, (1, 0, 0))
    np.testing.assert_allclose((body.position - camera.position) @ camera.to_world, position, atol=1e-3)
    # The crop around it is a square of 1.25 times its height.
    middle, side = box[:2] + (box[2:] - 1) / 2, 1.25 * max(box[2:])
    crop = np.array([*(middle - (side - 1) / 2), side, side])
    of_crop = camera.found(pose, crop, None, (1, 0, 0), of_crop=True)
    np.testing.assert_allclose(of_crop.position, body.position, atol=1e-3)


def test_a_camera_that_no_label_places_is_lifted_above_the_floor(scene):
    camera = FrameCamera(scene.dataset, 0)
    camera.position = np.zeros(3)
    poses, places = (scene.dataset.labels[name][0] for name in ("3D", "position"))
    bodies = [camera.labeled(pose.reshape(17, 3), place, (1, 0, 0)) for pose, place in zip(poses, places, strict=True)]
    own = SpaceCamera("camera 0", camera.position, camera.to_world, 1.0, np.zeros((2, 2, 3)))
    space = scene_space(bodies, [own], placed=False)
    lowest = [(body.joints + body.position)[:, 2].min() for body in space.bodies]
    assert np.median(lowest) == pytest.approx(ANKLE_HEIGHT, abs=1e-6)
    np.testing.assert_allclose(np.mean([body.position[:2] for body in space.bodies], axis=0), 0, atol=1e-6)
    assert not scene_space([], [own], placed=False).bodies


def test_a_network_without_poses_shows_its_points(crops):
    network = build_network({**stage2, **CHANGES, "output_types": ["img_crop"]})
    dataset = MultiViewDataset(crops, VIEW_KEYS)
    dataset.labels._keys = tuple(key for key in dataset.labels._keys if key != "3D")
    (body,) = RotatedView(network, dataset, Hardware("cpu")).space(0).bodies
    assert body.joints is None and len(body.points) == 10
