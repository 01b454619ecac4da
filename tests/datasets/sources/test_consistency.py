"""Calibrations that cannot be right, and cameras that are not synchronized, are named from the boxes alone."""

import json

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("av")

from datasets.cameras.camera import Camera
from datasets.people.kinematics import unit
from datasets.sources.own_videos.consistency import (
    Extrinsics,
    check_extrinsics,
    extrinsics,
    miss_warnings,
    sightings,
    size_warnings,
)
from datasets.sources.own_videos.plan import make_plan
from datasets.sources.own_videos.recordings import one_recording
from datasets.sources.own_videos.synchrony import synchrony_note
from tests.tiny import ROOT
from utils.errors import UserError

NAMES = ("left", "middle", "right", "back")
INTRINSICS = np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]])
OPENGL = np.diag([1.0, -1.0, -1.0])
INSTANTS = 40


def rig(seed, count=3):
    """Cameras at uneven angles, distances and heights around a place that is not the origin of the world."""
    rng = np.random.default_rng(seed)
    angles = np.cumsum(rng.uniform(0.6, 2.0, count))
    cameras, middle = [], np.array([*rng.uniform(-2, 2, 2), 1.0])
    for angle in angles:
        away = np.array([np.cos(angle), np.sin(angle), 0]) * rng.uniform(3, 6) + [0, 0, rng.uniform(-0.2, 1.5)]
        forward = unit(-away)
        across = unit(np.cross(forward, [0, 0, 1]))
        rotation = np.stack([across, np.cross(forward, across), forward])
        cameras.append(Camera(rotation, middle + away, INTRINSICS, np.zeros(5), 1280, 720))
    return cameras, middle


def walking(cameras, middle, seed, height=1.7, lag=(), instants=INSTANTS):
    """Boxes (C,instants,4) of a person who walks about, with the errors of a detector; `lag`: frames by camera."""
    rng = np.random.default_rng(seed)
    times = np.arange(-10, instants + 10) / 25
    path = middle[:2] + np.stack([1.2 * np.sin(1.3 * times + seed), 0.9 * np.sin(2.1 * times)], axis=1)
    corners = np.array([[x, y, z] for x in (-0.25, 0.25) for y in (-0.2, 0.2) for z in (0, height)])
    boxes = []
    for number, camera in enumerate(cameras):
        start = 10 - (lag[number] if lag else 0)
        points = np.pad(path[start : start + instants], ((0, 0), (0, 1)))[:, None] + corners
        pixels = camera.project(camera.world_to_cam(points))
        low, high = pixels.min(1), pixels.max(1)
        box = np.concatenate([low, high - low], axis=1)
        boxes.append(box + 0.02 * (high - low).max(1, keepdims=True) * rng.normal(size=box.shape))
    boxes = np.stack(boxes)
    boxes[rng.random(boxes.shape[:2]) < 0.1] = np.nan
    return boxes


def check(given, cameras, boxes):
    return check_extrinsics(NAMES[: len(cameras)], given, sightings(cameras, boxes), "walk")


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("height", [1.1, 1.9])
def test_right_calibrations_pass(count, height):
    for seed in range(6):
        cameras, middle = rig(seed, count)
        found = check(extrinsics(cameras, np.eye(3)), cameras, walking(cameras, middle, seed, height))
        assert np.nanmedian(found.meters) < 0.05 and not size_warnings(found)
        assert not miss_warnings(NAMES[:count], found)


def test_a_camera_that_was_turned_is_a_warning():
    """By 6 degrees, no other reading of the calibration explains the boxes, and few of them are left out."""
    for seed in range(6):
        cameras, middle = rig(seed, 4)
        given = extrinsics(cameras, np.eye(3))
        given.rotations[1] = rotation_about_y(np.radians(6)) @ given.rotations[1]
        (warning,) = miss_warnings(NAMES, check(given, cameras, walking(cameras, middle, seed)))
        assert warning.startswith("WARNING: rays through the boxes miss the person, worst first: ")
        assert "middle by" in warning and "whether a camera was moved" in warning


@pytest.mark.parametrize("degrees", [0, 4])
def test_a_turned_camera_of_a_real_recording_is_a_warning(tmp_path, degrees):
    folder = ROOT / "examples/recording"
    content = json.loads((folder / "cameras.json").read_text())
    camera = content["cameras"]["cam01"]
    camera["R"] = (rotation_about_y(np.radians(degrees)) @ np.reshape(camera["R"], (3, 3))).tolist()
    (tmp_path / "cameras.json").write_text(json.dumps(content))
    videos = [str(path) for path in sorted((folder / "videos").glob("*.mp4"))]
    plan = make_plan(one_recording(videos, tmp_path / "cameras.json", boxes=folder / "boxes.csv"), 5)
    warnings = [note for note in plan.notes if "WARNING" in note]
    assert len(warnings) == (degrees > 0) and all("worst first: cam01 by 1" in warning for warning in warnings)


@pytest.mark.parametrize("count", [2, 3])
def test_infants_are_a_warning(count):
    """So are people of whom the image shows half: their boxes are as small."""
    for seed in range(6):
        cameras, middle = rig(seed, count)
        boxes = walking(cameras, middle, seed, height=1.6)
        boxes[..., :2] += 0.3 * boxes[..., 2:]
        boxes[..., 2:] *= 0.4
        found = check(extrinsics(cameras, np.eye(3)), cameras, boxes)
        (warning,) = size_warnings(found)
        assert warning.startswith("WARNING: rays through the boxes miss the person by") and "(an infant)" in warning


def rotation_about_y(angle):
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


def shifts(given):
    return -np.einsum("cij,cj->ci", given.rotations, given.centers)


WRONG = {
    "camera -> world in R and t": lambda g: Extrinsics(g.rotations.swapaxes(1, 2), shifts(g)),
    "the transposed R": lambda g: Extrinsics(
        g.rotations.swapaxes(1, 2), -np.einsum("cij,cj->ci", g.rotations, shifts(g))
    ),
    "the transposed R and the same centre": lambda g: Extrinsics(g.rotations.swapaxes(1, 2), g.centers),
    "t as the centre": lambda g: Extrinsics(g.rotations, -np.einsum("cji,cj->ci", g.rotations, g.centers)),
    "OpenGL's axes": lambda g: Extrinsics(OPENGL @ g.rotations, g.centers),
    "a rotation by 180 degrees of the images": lambda g: Extrinsics(np.diag([-1, -1, 1]) @ g.rotations, g.centers),
    "a rotation by 90 degrees of the images": lambda g: Extrinsics(
        np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]) @ g.rotations, g.centers
    ),
    "the camera 'middle' for 'left', 'left' for 'middle'": lambda g: Extrinsics(
        g.rotations[[1, 0, 2]], g.centers[[1, 0, 2]]
    ),
    "the camera 'right' for 'left', 'left' for 'middle', 'middle' for 'right'": lambda g: Extrinsics(
        g.rotations[[1, 2, 0]], g.centers[[1, 2, 0]]
    ),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("seed", range(3))
def test_wrong_calibrations_are_named(what, seed):
    cameras, middle = rig(seed)
    wrong = WRONG[what](extrinsics(cameras, np.eye(3)))
    with pytest.raises(UserError, match=rf"walk: rays through the boxes miss .* mm.*; with {what}.*X_cam = R X \+ t"):
        check(wrong, cameras, walking(cameras, middle, seed))


def test_one_inverted_camera_is_named():
    cameras, middle = rig(1, 4)
    right = extrinsics(cameras, np.eye(3))
    wrong = WRONG["camera -> world in R and t"](right)
    mixed = Extrinsics(*(np.concatenate([a[:2], b[2:3], a[3:]]) for a, b in zip(right, wrong, strict=True)))
    with pytest.raises(UserError, match="with camera -> world in R and t of 'right'"):
        check(mixed, cameras, walking(cameras, middle, 1))


def test_a_world_in_which_y_points_up_is_undone():
    """Which axes were mistaken is a question about the file, not about our world."""
    to_z_up = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    cameras, middle = rig(2)
    given = extrinsics(cameras, to_z_up)
    np.testing.assert_allclose(given.rotations[0] @ to_z_up.T, cameras[0].rotation)
    with pytest.raises(UserError, match="with camera -> world in R and t,"):
        check(WRONG["camera -> world in R and t"](given), cameras, walking(cameras, middle, 2))


@pytest.mark.parametrize("scale", [0.1, 1000])
def test_a_wrong_unit_is_a_distance_that_does_not_fit(scale):
    cameras, middle = rig(3)
    right = extrinsics(cameras, np.eye(3))
    with pytest.raises(UserError, match=r"expected a factor of at most 4: check the unit"):
        check(right._replace(centers=scale * right.centers), cameras, walking(cameras, middle, 3))


@pytest.mark.parametrize("lag", [(0, 4, 0), (2, 0, 5), (0, 0, 0)])
@pytest.mark.parametrize("every", [1, 2])
def test_cameras_that_are_not_synchronized(lag, every):
    cameras, middle = rig(4)
    given = extrinsics(cameras, np.eye(3))
    seen = sightings(cameras, walking(cameras, middle, 4, lag=lag, instants=80)[:, ::every])
    rays = np.einsum("cji,ctj->cti", given.rotations, np.nan_to_num(seen.rays))[:, :, None]
    note = synchrony_note(NAMES[:3], given.centers, rays, (1, 1, 1), every, 25.0)
    if not any(lag):
        assert note == []
    else:
        found = [int(word.partition("=")[2]) for word in note[0].split() if "=" in word]
        assert note[0].startswith("WARNING: the cameras do not seem to be synchronized")
        assert np.abs(np.array(found) - found[1] - np.array(lag) + lag[1]).max() <= 1


def test_cameras_that_see_two_people_are_not_moved_to_other_times():
    cameras, middle = rig(4, 4)
    given = extrinsics(cameras, np.eye(3))
    people = [walking(cameras, middle, seed, instants=100) for seed in (2, 5)]
    seen = sightings(cameras, np.concatenate([people[0][:2], people[1][2:]]))
    rays = np.einsum("cji,ctj->cti", given.rotations, np.nan_to_num(seen.rays))[:, :, None]
    assert synchrony_note(NAMES[:4], given.centers, rays, (0, 0, 0, 0), 1, 60.0) == []
