"""A camera's projection is OpenCV's model, written out here."""

import re
import sys

import numpy as np
import pytest

from datasets.cameras.calibration import Calibration
from datasets.cameras.camera import Camera, opencv
from datasets.cameras.plausibility import notes_on_cameras
from tests.synthetic import ring_cameras
from utils.errors import UserError

K = np.array([[1145.0, 0, 512], [0, 1143, 515], [0, 0, 1]])
DISTORTION = np.array([-0.21, 0.25, -0.0009, -0.0016, -0.002])


@pytest.fixture
def camera():
    rotation, center = ring_cameras(3)
    return Camera(rotation[1], center[1], K, DISTORTION, 1000, 1002)


def test_points_of_the_world_come_into_the_camera_frame(camera):
    points = np.random.default_rng(0).normal(size=(5, 17, 3))
    expected = np.einsum("ij,tkj->tki", camera.rotation, points - camera.center)
    np.testing.assert_allclose(camera.world_to_cam(points), expected, atol=1e-12)
    np.testing.assert_allclose(camera.world_to_cam(camera.center), 0, atol=1e-12)


def test_projection_distorts_as_opencv_says(camera):
    points = np.random.default_rng(1).uniform((-2, -2, 4), (2, 2, 6), (4, 17, 3))
    x, y = np.moveaxis(points[..., :2] / points[..., 2:], -1, 0)
    k1, k2, p1, p2, k3 = DISTORTION
    r2 = x**2 + y**2
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
    v = y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
    expected = np.stack([K[0, 0] * u + K[0, 2], K[1, 1] * v + K[1, 2]], axis=-1)
    np.testing.assert_allclose(camera.project(points), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("focal", "distortion", "side"),
    [
        (0.8, (-0.1, 0.02, 0.001, -0.002, 0), 1.0),
        (0.46, (-0.245, 0.07, 0, 0, -0.0085), 0.9),
        (0.7, (-0.2, 0, 0, 0, 0), 1),
    ],
)
def test_rays_of_wide_lenses_lead_to_their_pixels(focal, distortion, side):
    """They missed them by 2 to 4 px."""
    matrix = np.array([[1920 * focal, 0, 959.5], [0, 1920 * focal, 539.5], [0, 0, 1]])
    wide = Camera(np.eye(3), np.zeros(3), matrix, np.array(distortion), 1920, 1080)
    axis = np.linspace(-side, side, 12) / 2
    pixels = np.stack(np.meshgrid(1920 * axis + 959.5, 1080 * axis + 539.5), axis=-1)
    places = wide.normalized(pixels)
    again = wide.project(np.concatenate([places, np.ones((12, 12, 1))], axis=-1))
    np.testing.assert_allclose(again, pixels, atol=1e-3)
    pixels[3, 4, 1] = np.nan
    assert np.array_equal(np.argwhere(np.isnan(wide.normalized(pixels))), [[3, 4, 0], [3, 4, 1]])
    assert not notes_on_cameras(Calibration({"a": wide}, np.eye(3)), {"a": wide})


def test_distortion_that_folds_back_inside_the_image_is_a_warning():
    matrix = np.array([[960.0, 0, 959.5], [0, 960, 539.5], [0, 0, 1]])
    folding = Camera(np.eye(3), np.zeros(3), matrix, np.array([-0.33, 0.13, 0, 0, -0.025]), 1920, 1080)
    (note,) = notes_on_cameras(Calibration({"a": folding}, np.eye(3)), {"a": folding})
    assert re.match(r"WARNING: camera 'a': no ray leads to 1\d % of the image, .* \[-0.33, 0.13, .*folds back", note)


def test_points_behind_have_no_pixel(camera):
    pixels = camera.project(np.array([[0, 0, 1.0], [0, 0, 0], [0.1, 0, -2]]))
    assert np.isfinite(pixels[0]).all() and np.isnan(pixels[1:]).all()


def test_missing_opencv_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"opencv-python-headless.*pip install"):
        opencv()
