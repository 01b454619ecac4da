"""Skeletons from landmarks: exact where cameras agree, repaired where one is wrong, left out where all are."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")

from datasets.cameras.calibration import Calibration
from datasets.detection.blazepose import LANDMARK_NAMES
from datasets.sources.own_videos.free_labels import Followed, error_table, label, single_view_line, track_of
from datasets.sources.own_videos.recordings import Recording
from datasets.triangulation.people import follow_people
from datasets.triangulation.points import HEAD_POINTS, LANDMARKS, POINT_NAMES, nose_ahead, skeleton
from datasets.triangulation.triangulate import bone_changes, triangulate
from tests.walking_points import SECONDS, four_cameras, landmarks, walk
from utils.geometry import rotation_about
from utils.skeleton import JOINT_NAMES, MIRRORED_JOINTS

INSTANTS, FEW = 24, 8
NAMES = "abcd"
RECORDING = Recording("walk", 1, dict.fromkeys(NAMES, Path()), Path(), dict.fromkeys(NAMES, 0), {})
FILMED = range(FEW), dict.fromkeys(NAMES, FEW)
SIDES = {"left": "right", "right": "left"}


def mirrored(name):
    return "_".join(SIDES.get(part, part) for part in name.split("_"))


MIRRORED_LANDMARKS = [LANDMARK_NAMES.index(mirrored(name)) for name in LANDMARK_NAMES]


@pytest.fixture(scope="module")
def scene():
    cameras, points = four_cameras(), walk(INSTANTS)
    return cameras, points, landmarks(cameras, points)


def errors(found, points):
    """Distances (T,17) of the joints from the true ones, meters."""
    return np.linalg.norm(found.joints - skeleton(points), axis=-1)


def test_cameras_that_agree(scene):
    cameras, points, pixels = scene
    found = triangulate(cameras, pixels, np.ones(pixels.shape[:3]), SECONDS)
    assert found.passed.all() and not any(found.left_out.values()) and not found.exchanged.any()
    assert errors(found, points).mean() < 0.012 and errors(found, points).max() < 0.06
    assert np.nanmedian(found.errors) < 5
    assert found.bone_changes.max() < 0.1


@pytest.mark.filterwarnings("error")
def test_a_camera_that_never_sees_the_person(scene):
    cameras, _, pixels = scene
    unseen = pixels[:, :FEW].copy()
    # The third one misses the person now and then.
    unseen[3], unseen[2, ::3] = np.nan, np.nan
    person = Followed(unseen, np.ones(unseen.shape[:3]), np.full((*unseen.shape[:3], 3), np.nan))
    found, _ = label(NAMES, cameras, person, SECONDS, correct=True)
    lines = error_table(NAMES, found)
    assert lines[5] == "d   WARNING: the person was detected in none of its images" and "nan" not in "".join(lines)
    # The detector's own 3D poses are exact, but the blind camera has none.
    world = np.full((4, FEW, len(LANDMARK_NAMES), 3), np.nan)
    for camera, poses in zip(cameras[:3], world, strict=False):
        poses[:, list(LANDMARKS)] = camera.world_to_cam(walk(FEW))
    line = single_view_line(NAMES, person._replace(world=world), found)
    assert re.search(r"N-MPJPE \d+ mm \(a \d+, b \d+, c \d+, d -\)$", line)
    track = track_of(RECORDING, Calibration(dict(zip(NAMES, cameras, strict=True)), np.eye(3)), found, *FILMED)
    # Its crops would show what hides the person; those of single misses have good labels.
    assert len(track.instants) == found.passed.sum() > 6
    assert track.seen.mean(0).tolist() == [1, 1, 1, 0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seen_by", [0, 1])
def test_nobody_to_triangulate(scene, seen_by):
    cameras, _, pixels = scene
    unseen = pixels[:, :FEW].copy()
    unseen[seen_by:] = np.nan
    person = Followed(unseen, np.ones(unseen.shape[:3]), np.full((*unseen.shape[:3], 3), np.nan))
    found, lines = label(NAMES, cameras, person, SECONDS, correct=True)
    assert not found.passed.any() and found.left_out["with the person in fewer than two images"] == FEW
    assert "nan" not in "".join([*lines, *error_table(NAMES, found)])


def test_exchanged_sides_and_a_wrong_arm_are_repaired(scene):
    cameras, points, pixels = scene
    wrong = pixels.copy()
    wrong[1, 5:15] = pixels[1, 5:15][:, MIRRORED_LANDMARKS]
    legs = [LANDMARK_NAMES.index(f"{side}_{part}") for part in ("knee", "ankle") for side in ("left", "right")]
    crossed = [legs[1], legs[0], legs[3], legs[2]]
    wrong[2, 16:20, legs] = pixels[2, 16:20][:, crossed].swapaxes(0, 1)
    wrong[3, :, LANDMARK_NAMES.index("left_wrist")] += 80
    found = triangulate(cameras, wrong, np.ones(pixels.shape[:3]), SECONDS)
    assert found.passed.all()
    assert errors(found, points).mean() < 0.015 and errors(found, points).max() < 0.08
    assert found.exchanged.tolist() == [0, 10, 4, 0]


def turned_head(points):
    """Points (T,P,3) with the head turned by 90 degrees, to the person's left."""
    ears = points[:, [POINT_NAMES.index("left_ear"), POINT_NAMES.index("right_ear")]].mean(1, keepdims=True)
    result = points.copy()
    result[:, HEAD_POINTS] = ears + (points[:, HEAD_POINTS] - ears) @ rotation_about("z", np.pi / 2).T
    return result


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_cameras_the_face_tells_which_exchanges_the_sides(turned):
    """Rays meet as well where the other camera's sides are exchanged, and far instants do not hold each other."""
    every = 3
    cameras, points = four_cameras()[:2], walk(every * INSTANTS)[::every]
    points = turned_head(points) if turned else points
    pixels = landmarks(cameras, points, noise=1.0)
    for camera, instants in ((0, slice(8, 13)), (1, slice(3, 7))):
        pixels[camera, instants] = pixels[camera, instants][:, MIRRORED_LANDMARKS]
    found = triangulate(cameras, pixels, np.ones(pixels.shape[:3]), every * SECONDS)
    if turned:
        # What passes is not mirrored, as its errors say.
        assert set(np.flatnonzero(~found.passed)) <= {*range(3, 7), *range(8, 13)}
        assert found.left_out["with left and right that may be exchanged"] > 6
    else:
        assert found.passed.all() and found.exchanged.tolist() == [5, 4]
    assert errors(found, points)[found.passed].max() < 0.08


def test_a_mirrored_person_has_the_nose_behind():
    points = walk(1)
    mirrored_points = points * [-1, 1, 1]
    assert np.allclose(nose_ahead(points), 0.13) and np.allclose(nose_ahead(mirrored_points), -0.13)
    # Both cameras exchange the sides: no ray tells, and such poses are no labels.
    cameras = four_cameras()[:2]
    pixels = landmarks(cameras, walk(FEW), noise=1.0)[:, :, MIRRORED_LANDMARKS]
    found = triangulate(cameras, pixels, np.ones(pixels.shape[:3]), SECONDS)
    assert not found.passed.any() and found.left_out["with left and right that may be exchanged"] == FEW


def test_instants_in_which_all_are_wrong_are_left_out(scene):
    cameras, points, pixels = scene
    wrong = pixels.copy()
    wrong[:, 8:12] += np.random.default_rng(1).normal(0, 90, wrong[:, 8:12].shape)
    found = triangulate(cameras, wrong, np.ones(pixels.shape[:3]), SECONDS)
    assert not found.passed[8:12].any() and found.passed[:6].all() and found.passed[14:].all()
    assert sum(found.left_out.values()) == (~found.passed).sum()
    assert errors(found, points)[found.passed].max() < 0.08


def test_a_person_who_is_hidden_for_a_while(scene):
    cameras, points, pixels = scene
    hidden = pixels.copy()
    hidden[0, :10], hidden[1:, 18:21] = np.nan, np.nan
    found = triangulate(cameras, hidden, np.ones(pixels.shape[:3]), SECONDS)
    assert np.flatnonzero(~found.passed).tolist() == [18, 19, 20]
    assert found.left_out["with the person in fewer than two images"] == 3
    assert errors(found, points)[found.passed].mean() < 0.015


def test_a_camera_that_was_knocked_is_corrected_and_a_good_one_kept(scene):
    cameras, _, pixels = scene
    visible = np.ones(pixels.shape[:3])
    person = Followed(pixels, visible, np.zeros((*visible.shape, 3)))
    kept, lines = label(NAMES, cameras, person, SECONDS, correct=True)
    assert lines[0].startswith("cameras kept")
    assert all((one.rotation == other.rotation).all() for one, other in zip(kept.cameras, cameras, strict=True))
    turned = rotation_about("y", np.radians(1.5)) @ cameras[2].rotation
    knocked = [*cameras[:2], cameras[2]._replace(rotation=turned), cameras[3]]
    plain = triangulate(knocked, pixels, visible, SECONDS)
    found, lines = label(NAMES, knocked, person, SECONDS, correct=True)
    assert lines[0].startswith("cameras corrected") and lines[3].strip().startswith("c: rotated by")
    assert np.nanmedian(found.errors[2]) < 0.4 * np.nanmedian(plain.errors[2])
    table = error_table(["a", "b", "c", "d"], found)
    assert "median reprojection error" in table[0] and len(table) == 8


def test_cameras_that_do_not_belong_together_are_a_warning(scene):
    cameras, _, pixels = scene
    few = pixels[:, :FEW]

    def warnings(cameras, pixels):
        person = Followed(pixels, np.ones(pixels.shape[:3]), np.zeros((*pixels.shape[:3], 3)))
        lines = error_table(
            NAMES[: len(cameras)], label(NAMES[: len(cameras)], cameras, person, SECONDS, correct=False)[0]
        )
        return [line for line in lines if "WARNING" in line]

    assert warnings(cameras, few) == []
    # Three seconds later, which is more than the search for offsets tries.
    late = landmarks(cameras, walk(60 + FEW))[:, 60:]
    (line,) = warnings(cameras[:2], np.stack([few[0], late[1]]))
    assert line.startswith("WARNING: cameras agree at 0 of 8 instants that two of them see (")
    assert "check the offsets (synchronize_videos.py" in line
    # One of four alone does not keep the others from agreeing.
    turned = rotation_about("y", np.radians(8)) @ cameras[1].rotation
    (line,) = warnings([cameras[0], cameras[1]._replace(rotation=turned), *cameras[2:]], few)
    assert line.startswith("WARNING: rays of b miss the limbs on which other cameras agree by ")
    assert line.endswith("was moved after its calibration")


def test_bones_of_another_length():
    joints = np.repeat(skeleton(walk(1)), 5, axis=0)
    joints[3, JOINT_NAMES.index("left_wrist")] += [0, 0, -0.2]
    assert np.flatnonzero(bone_changes(joints) > 0.1).tolist() == [3]


def test_the_skeleton_is_that_of_a_standing_person():
    joints = skeleton(walk(1))[0]
    at = dict(zip(JOINT_NAMES, joints, strict=True))
    order = ["left_ankle", "left_knee", "hip", "spine", "neck", "head", "head_top"]
    heights = [at[name][2] for name in order]
    assert heights == sorted(heights) and 0.1 < at["head_top"][2] - at["head"][2] < 0.2
    assert np.allclose(np.linalg.norm(joints - joints[list(MIRRORED_JOINTS)], axis=1)[0], 0)


def test_the_person_whose_rays_meet_is_followed(scene):
    cameras, _, pixels = scene
    # A bystander whom two cameras see, first or second in the list; in one image, only the bystander is found.
    other = landmarks(cameras, walk(INSTANTS) + np.array([1.2, 0.8, 0]))
    people = np.full((4, INSTANTS, 2, *pixels.shape[2:]), np.nan)
    people[:, :, 0] = pixels
    people[0, :, 1], people[1, :, 1] = other[0], other[1]
    people[0] = people[0][:, ::-1]
    people[1, 7, 0] = np.nan
    found, most = follow_people(cameras, list(people), SECONDS)
    chosen = found[0]
    assert most == 2
    assert (chosen[0] == 1).all() and (chosen[2:] == 0).all()
    assert chosen[1, 7] == -1 and (np.delete(chosen[1], 7) == 0).all()
    assert follow_people(cameras, list(people[:, :, :0]), SECONDS) == ([], 0)


def test_landmarks_have_the_names_of_points():
    assert all(LANDMARK_NAMES[index] for index in LANDMARKS) and len(set(LANDMARKS)) == len(LANDMARKS)
