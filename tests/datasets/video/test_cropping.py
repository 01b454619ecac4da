"""Crops of distorted images: every pixel is where its ray falls, and the labels are those of the crop's camera."""

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2

from datasets.cameras.camera import Camera
from datasets.cameras.crop_camera import crop_camera, crop_rows, pixel_rays, project_to_crop
from datasets.video.cropping import Box, CropMap, crop_map
from tests.synthetic import random_joints, ring_cameras

SIZE = 64
ROOTS = np.array([[0.1, 0.0, 4.5], [1.6, -0.9, 4.2], [-1.9, 0.8, 5.5], [0.5, 0.3, 9.0]])


def camera(width: int = 1000) -> Camera:
    scale = width / 1000
    intrinsics = np.array([[1145 * scale, 0, 500 * scale], [0, 1143 * scale, 505 * scale], [0, 0, 1]])
    return Camera(np.eye(3), np.zeros(3), intrinsics, np.array([-0.21, 0.25, -0.0009, -0.0016, -0.002]), width, width)


def places_of(root) -> CropMap:
    crop = crop_camera(np.array(root))
    return crop_map(camera(), crop.rotation, crop.intrinsic_crop, SIZE)


@pytest.mark.parametrize("root", ROOTS)
def test_every_pixel_lies_where_its_ray_falls(root):
    crop, places = crop_camera(root), places_of(root)
    exact = camera().project(pixel_rays(crop.intrinsic_crop, SIZE) @ crop.rotation)
    inside = ((exact > 0) & (exact < 1000)).all(-1)
    assert inside.mean() > 0.4
    assert np.abs(places.pixels + places.box[:2] - exact)[inside].max() < 0.005


@pytest.mark.parametrize("root", ROOTS)
def test_a_pixel_is_the_mean_over_its_area(root):
    """52 dB to the mean of 16 x 16 exact samples in each pixel."""
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), dtype=np.uint8), (0, 0), 1.5)
    crop = crop_camera(root)
    rays = pixel_rays(crop.intrinsic_crop, 16 * SIZE) @ crop.rotation
    pixels = camera().project(rays).astype(np.float32)
    samples = cv2.remap(image.astype(np.float32), pixels, None, cv2.INTER_LINEAR)
    exact = cv2.resize(samples, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    inside = ((pixels > 8) & (pixels < 992)).all(-1).reshape(SIZE, 16, SIZE, 16).all((1, 3))
    errors = (places_of(root).sample(image) - exact)[inside]
    assert inside.mean() > 0.4 and exact.std() > 4
    assert np.sqrt(np.mean(errors**2)) < 0.6 and abs(errors.mean()) < 0.05


def test_a_marker_appears_where_the_label_says():
    seen = camera()
    joint = np.array([1.3, -0.4, 4.4])
    x, y = np.meshgrid(np.arange(1000), np.arange(1000))
    u, v = seen.project(joint)
    blob = 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 10**2))
    crop = crop_camera(np.array([1.6, -0.9, 4.2]))
    image = crop_map(seen, crop.rotation, crop.intrinsic_crop, SIZE).sample(np.dstack([blob.astype(np.uint8)] * 3))
    weights = image[..., 0].astype(float)
    centers = np.arange(SIZE) + 0.5
    found = np.array([(weights.sum(0) * centers).sum(), (weights.sum(1) * centers).sum()]) / weights.sum()
    expected = SIZE * project_to_crop((crop.rotation @ joint)[None], crop.intrinsic_crop)[0]
    np.testing.assert_allclose(found, expected, atol=0.2)


def test_fine_patterns_average_out():
    checkers = np.indices((1000, 1000)).sum(0) % 2 * 255
    crop = crop_camera(ROOTS[0])
    image = crop_map(camera(), crop.rotation, crop.intrinsic_crop, SIZE).sample(
        np.dstack([checkers.astype(np.uint8)] * 3)
    )
    assert np.abs(image.astype(float) - 127.5).max() < 25


def test_outside_of_the_image_is_black():
    """Also far outside, where the polynomial of the distortion would fold back into the image."""
    folding = camera()._replace(distortion=np.array([-0.5, 0, 0, 0, 0]))
    crop = crop_camera(np.array([2.6, 0, 1.5]))
    places = crop_map(folding, crop.rotation, crop.intrinsic_crop, SIZE)
    image = places.sample(np.full((1000, 1000, 3), 200, dtype=np.uint8))
    rays = pixel_rays(crop.intrinsic_crop, SIZE) @ crop.rotation
    tangent = rays[..., 0] / rays[..., 2]
    assert (tangent > 1.3).mean() > 0.4
    assert not image[(tangent > 1.3) | (rays[..., 2] <= 0)].any()


@pytest.mark.parametrize("root", [*ROOTS, [2.9, -1.7, 3.0], [9.0, 0.0, 3.0]])
def test_a_crop_is_made_of_its_box_alone(root):
    """The same pixels as from the full image, also at its border and outside."""
    image = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), dtype=np.uint8)
    places = places_of(root)
    box = places.box
    full = places._replace(box=Box(0, 0, 1000, 1000), pixels=places.pixels + np.float32(box[:2]))
    assert np.abs(places.sample(image).astype(int) - full.sample(image)).max() <= 1
    half = image[::2, ::2]
    assert np.abs(places.halved().sample(half).astype(int) - full.halved().sample(half)).max() <= 1
    assert box.x0 % 2 == box.y0 % 2 == 0 and 0 <= box.x0 < box.x1 <= 1000 and 0 <= box.y0 < box.y1 <= 1000


def test_an_image_of_half_the_resolution_gives_the_same_crop():
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (1000, 1000), dtype=np.uint8), (0, 0), 8)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    half = cv2.resize(image, (500, 500), interpolation=cv2.INTER_AREA)
    places = places_of(ROOTS[0])
    assert np.abs(places.sample(image).astype(int) - places.halved().sample(half)).max() <= 2


def test_outside_of_the_image_is_the_given_value():
    crop = places_of([9.0, 0.0, 3.0]).sample(np.zeros((1000, 1000), np.uint8), outside=128)
    assert (crop == 128).all()


def test_crop_without_shrinking_is_not_averaged():
    pixels = np.dstack(np.meshgrid(np.arange(SIZE), np.arange(SIZE))).astype(np.float32)
    image = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    places = CropMap(pixels, np.ones(2), Box(0, 0, SIZE, SIZE))
    np.testing.assert_array_equal(places.sample(image), image)


@pytest.mark.parametrize("gray", [1, 77, 200, 255])
@pytest.mark.parametrize("footprint", [0.5, 1.3, 3.6, 12.0])
def test_averaging_keeps_gray_levels(gray, footprint):
    places = places_of(ROOTS[0])._replace(footprint=np.full(2, footprint))
    assert (places.sample(np.full((1000, 1000, 3), gray, np.uint8)) == gray).all()


def test_rows_turn_the_poses_with_the_camera():
    joints, (rotation, center) = random_joints(6, np.random.default_rng(0)), ring_cameras(2)
    rows = []
    for cam in range(2):
        joints_cam = (joints - center[cam]) @ rotation[cam].T
        rows.append(crop_rows(rotation[cam], joints_cam, crop_camera(joints_cam[:, 0])))
    for own in rows:
        np.testing.assert_allclose(
            own["extrinsic_rot"] @ own["extrinsic_rot_inv"], np.eye(3)[None].repeat(6, 0), atol=1e-12
        )
        world = np.einsum("nij,nkj->nki", own["extrinsic_rot_inv"], own["3D"])
        np.testing.assert_allclose(world, joints - joints[:, :1], atol=1e-12)
        assert own["bounding_box_cam"].shape == (6, 4) and own["intrinsic_crop"].shape == (6, 3, 3)
    between = rows[1]["extrinsic_rot"] @ rows[0]["extrinsic_rot_inv"]
    np.testing.assert_allclose(np.einsum("nij,nkj->nki", between, rows[0]["3D"]), rows[1]["3D"], atol=1e-12)
