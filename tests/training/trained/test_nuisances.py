"""Nuisances: each does to a crop what its name says, and a label rolls with its crop."""

import numpy as np
import pytest

from datasets.cameras.crop_camera import crop_camera, project_to_crop
from tests.markers import JOINTS, find_markers, render_markers
from tests.synthetic import random_joints
from training.trained.nuisances import NUISANCES, KnownCrop, apply, mask_of
from utils.geometry import rotation_about

BY_NAME = {nuisance.name: nuisance for nuisance in NUISANCES}
SIZE = 64


def some_crop(seed: int = 0) -> KnownCrop:
    rng = np.random.default_rng(seed)
    background = np.repeat(np.repeat(rng.integers(60, 200, (8, 8, 3)), 8, 0), 8, 1).astype(np.uint8)
    crop = background.copy()
    crop[16:56, 24:40] = rng.integers(0, 50, (40, 16, 3))
    return KnownCrop(crop, mask_of(crop, background), background)


@pytest.fixture(scope="module")
def seen():
    own, other = some_crop(), some_crop(1)
    photograph = np.full_like(own.crop, 77)
    return KnownCrop(own.crop, own.mask, own.background, other, (photograph,))


@pytest.mark.parametrize("nuisance", NUISANCES, ids=lambda nuisance: f"{nuisance.group}-{nuisance.name}")
def test_each_nuisance_changes_the_crop_and_repeats_itself(seen, nuisance):
    before = seen.crop.copy()
    (changed, angle), (again, _) = (apply(nuisance, seen, np.random.default_rng(3)) for _ in range(2))
    assert changed.shape == before.shape and changed.dtype == np.uint8
    np.testing.assert_array_equal(changed, again)
    np.testing.assert_array_equal(seen.crop, before)
    assert np.abs(changed.astype(int) - before).mean() > 1
    assert abs(np.degrees(angle)) == pytest.approx(nuisance.roll)
    if nuisance.group == "background" and "somebody" not in nuisance.name:
        person = seen.mask[..., 0] > 0
        np.testing.assert_array_equal(changed[person], before[person])


def test_a_shifted_box_moves_the_picture_by_so_many_pixels(seen):
    moved, _ = apply(BY_NAME["shifted by 8 of 64 px"], seen, np.random.default_rng(0))
    inner = slice(8, -8)
    shifts = [(dy, dx) for dy, dx in ((0, 8), (0, -8), (8, 0), (-8, 0))]
    same = [np.array_equal(np.roll(seen.crop, by, (0, 1))[inner, inner], moved[inner, inner]) for by in shifts]
    assert sum(same) == 1


@pytest.mark.parametrize(("name", "factor"), [("person 0.8 times as large", 0.8), ("rolled by 30 degrees", 1.0)])
def test_joints_are_found_where_the_changed_camera_sees_them(name, factor):
    root = np.array([0.0, 0.0, 5.0])
    joints = random_joints(6, np.random.default_rng(0))
    poses = joints - joints[:, :1]
    intrinsic = crop_camera(root).intrinsic_crop
    for index, pose in enumerate(poses):
        pixels = SIZE * project_to_crop(pose[None, JOINTS] + root, intrinsic)[0] - 0.5
        picture = render_markers(pixels, SIZE, SIZE, 1.5)
        changed, angle = apply(BY_NAME[name], KnownCrop(picture), np.random.default_rng(index))
        rolled = pose @ rotation_about("z", np.array(angle)).T
        expected = 0.5 + factor * (project_to_crop(rolled[None, JOINTS] + root, intrinsic)[0] - 0.5)
        np.testing.assert_allclose(find_markers(changed), expected, atol=0.6 / SIZE)


def test_a_nuisance_knows_what_it_needs(seen):
    bare = KnownCrop(seen.crop)
    assert not any(bare.has(nuisance.needs) for nuisance in NUISANCES if nuisance.needs)
    assert all(seen.has(nuisance.needs) for nuisance in NUISANCES)
    assert all(bare.has(nuisance.needs) for nuisance in NUISANCES if not nuisance.needs)
