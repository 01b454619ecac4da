"""The virtual camera of a crop: perspective correction is exact."""

import numpy as np
import pytest

from datasets.cameras.crop_camera import crop_camera, pixel_rays, project_to_crop
from utils.errors import UserError


@pytest.fixture
def roots():
    rng = np.random.default_rng(0)
    return rng.uniform([-2, -1, 2.5], [2, 1, 6], (50, 3))


def test_rotation_centers_the_root(roots):
    camera = crop_camera(roots)
    np.testing.assert_allclose(
        camera.rotation @ camera.rotation.swapaxes(1, 2), np.tile(np.eye(3), (50, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(camera.rotation), 1)
    rotated = np.einsum("nij,nj->ni", camera.rotation, roots)
    np.testing.assert_allclose(rotated, np.linalg.norm(roots, axis=1)[:, None] * [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(project_to_crop(rotated[:, None], camera.intrinsic_crop), 0.5)


def test_turn_is_the_shortest(roots):
    camera = crop_camera(roots)
    angle = np.arccos((np.trace(camera.rotation, axis1=1, axis2=2) - 1) / 2)
    np.testing.assert_allclose(angle, np.arccos(roots[:, 2] / np.linalg.norm(roots, axis=1)), atol=1e-9)
    # the axis of the shortest rotation lies in the image plane: it neither rolls ...
    across = np.cross(roots, [0, 0, 1])
    np.testing.assert_allclose(np.einsum("nij,nj->ni", camera.rotation, across), across, atol=1e-9)
    # ... nor does anything when the person stands on the optical axis
    np.testing.assert_allclose(crop_camera(np.array([0, 0, 3.0])).rotation, np.eye(3))


def test_error_without_the_correction_is_that_of_the_spec():
    """At the border of a Human3.6M image (500 px off, focal length 1147 px) the rotation is 23.6 degrees."""
    rotation = crop_camera(np.array([500 / 1147, 0, 1]) * 4).rotation
    assert np.degrees(np.arccos(rotation[2, 2])) == pytest.approx(23.6, abs=0.05)


def test_two_meters_at_the_root_fill_the_crop_and_the_box(roots):
    camera = crop_camera(roots)
    corners = np.array([[-1, -1, 0], [1, 1, 0], [0, 0, 0]])
    rotated_root = np.linalg.norm(roots, axis=1)[:, None, None] * [0, 0, 1]
    np.testing.assert_allclose(
        project_to_crop(rotated_root + corners, camera.intrinsic_crop),
        np.tile([[0, 0], [1, 1], [0.5, 0.5]], (50, 1, 1)),
        atol=1e-12,
    )
    box_corners = roots[:, None] + corners
    normalized = box_corners[..., :2] / box_corners[..., 2:]
    x0, y0, width, height = camera.bounding_box_cam.T
    np.testing.assert_allclose(normalized[:, 0], np.stack([x0, y0], axis=1))
    np.testing.assert_allclose(normalized[:, 1], np.stack([x0 + width, y0 + height], axis=1))


def test_crop_is_the_homography_of_the_image(roots):
    """Warping an image by K_v R_v K^-1 shows a world point where the rotated camera projects it."""
    rng = np.random.default_rng(1)
    points = roots[:, None] + rng.normal(size=(50, 17, 3)) * 0.4
    camera = crop_camera(roots)
    in_image = np.concatenate([points[..., :2] / points[..., 2:], np.ones((50, 17, 1))], axis=-1)
    warped = project_to_crop(in_image, camera.intrinsic_crop @ camera.rotation)
    np.testing.assert_allclose(
        warped, project_to_crop(points @ camera.rotation.swapaxes(1, 2), camera.intrinsic_crop), atol=1e-9
    )


def test_pixel_rays_hit_their_pixels(roots):
    camera = crop_camera(roots[:3])
    rays = pixel_rays(camera.intrinsic_crop, 8)
    assert rays.shape == (3, 8, 8, 3)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1)
    pixels = project_to_crop(rays.reshape(3, 64, 3), camera.intrinsic_crop).reshape(3, 8, 8, 2)
    centers = (np.arange(8) + 0.5) / 8
    np.testing.assert_allclose(pixels[..., 0], np.tile(centers, (3, 8, 1)))
    np.testing.assert_allclose(pixels[..., 1], np.tile(centers[:, None], (3, 1, 8)))


def test_leading_dimensions_are_kept():
    camera = crop_camera(np.tile([0.5, 0.2, 4.0], (6, 4, 1)))
    assert camera.rotation.shape == (6, 4, 3, 3)
    assert camera.intrinsic_crop.shape == (6, 4, 3, 3)
    assert camera.bounding_box_cam.shape == (6, 4, 4)
    assert pixel_rays(camera.intrinsic_crop, 5).shape == (6, 4, 5, 5, 3)


def test_root_behind_the_camera_is_refused():
    with pytest.raises(UserError, match="in front of the camera"):
        crop_camera(np.array([[0, 0, 3.0], [0, 0, -1.0]]))
