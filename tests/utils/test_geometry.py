"""Rotations and mirror images: directions, signs and what they leave alone."""

import math

import numpy as np
import pytest
import torch

from utils.geometry import mirror_pose, mirror_vectors, rotate_points, rotation_about, yaw_rotation
from utils.skeleton import LEFT_JOINTS, RIGHT_JOINTS

CYCLE = {"x": "y", "y": "z", "z": "x"}
UNIT = {name: np.eye(3)[index] for index, name in enumerate("xyz")}


@pytest.mark.parametrize("axis", "xyz")
def test_a_quarter_turn_keeps_its_axis_and_takes_the_next_axis_to_the_one_after(axis):
    rotation, following = rotation_about(axis, np.array(np.pi / 2)), CYCLE[axis]
    np.testing.assert_allclose(rotation @ UNIT[axis], UNIT[axis], atol=1e-15)
    np.testing.assert_allclose(rotation @ UNIT[following], UNIT[CYCLE[following]], atol=1e-15)


@pytest.mark.parametrize("axis", "xyz")
def test_rotations_follow_the_shape_type_and_library_of_the_angles(axis):
    angle = np.linspace(-4, 4, 6).reshape(2, 3)
    rotation = rotation_about(axis, angle)
    assert rotation.shape == (2, 3, 3, 3) and rotation.dtype == np.float64
    np.testing.assert_allclose(rotation @ rotation.swapaxes(-1, -2), np.broadcast_to(np.eye(3), rotation.shape),
                               atol=1e-15)  # fmt: skip
    for dtype in (torch.float32, torch.float64):
        tensor = rotation_about(axis, torch.from_numpy(angle).to(dtype))
        assert tensor.dtype == dtype
        torch.testing.assert_close(tensor.double(), torch.from_numpy(rotation), rtol=0, atol=1e-6)


def test_an_unknown_axis_is_refused():
    with pytest.raises(ValueError):
        rotation_about("w", np.array(1.0))


def test_a_yaw_is_exact_in_float32():
    for yaw in np.random.default_rng(0).uniform(-7, 7, 100).tolist():
        cos, sin = math.cos(yaw), math.sin(yaw)
        expected = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        assert torch.equal(yaw_rotation(yaw), expected)


def test_rotation_keeps_lengths_and_composes():
    points = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    first, second = yaw_rotation(0.3).expand(2, 3, 3), yaw_rotation(1.1).expand(2, 3, 3)
    once = rotate_points(points, second @ first)
    torch.testing.assert_close(rotate_points(rotate_points(points, first), second), once)
    torch.testing.assert_close(once.norm(dim=2), points.norm(dim=2))
    torch.testing.assert_close(rotate_points(torch.tensor([[[1.0, 0, 0]]]), yaw_rotation(torch.pi / 2)[None])[0, 0, 1:],
                               torch.tensor([1.0, 0]))  # fmt: skip


def test_points_are_rotated_in_float32_under_autocast():
    points, rotation = torch.randn(1, 7, 3), yaw_rotation(0.4)[None]
    with torch.autocast("cpu", torch.bfloat16):
        rotated = rotate_points(points, rotation)
    assert torch.equal(rotated, rotate_points(points, rotation)) and rotated.dtype == torch.float32


def test_a_mirror_image_swaps_the_sides_and_is_its_own_inverse():
    pose = torch.randn(4, 51, generator=torch.Generator().manual_seed(0))
    mirrored = mirror_pose(pose)
    joints, other = pose.unflatten(1, (-1, 3)), mirrored.unflatten(1, (-1, 3))
    assert torch.equal(other[:, LEFT_JOINTS], mirror_vectors(joints[:, RIGHT_JOINTS]))
    assert torch.equal(mirrored.unflatten(1, (-1, 3))[:, 0], joints[:, 0] * torch.tensor([-1.0, 1, 1]))
    assert torch.equal(mirror_pose(mirrored), pose)
