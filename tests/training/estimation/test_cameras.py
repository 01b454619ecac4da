"""Calibrated cameras: where the person is at each instant, which cameras are asked, and what is up."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("av")

from datasets.cameras.calibration import Calibration, read_calibration
from datasets.detection.blazepose import NUM_LANDMARKS
from datasets.sources.own_videos.detected import LANDMARKS_FOLDER
from datasets.sources.own_videos.landmarks import MAX_PEOPLE, LandmarkSearch, People
from datasets.sources.own_videos.plan import Plan
from datasets.sources.own_videos.recordings import Recording, read_pose_clock, read_pose_file
from datasets.triangulation.points import LANDMARKS, skeleton
from tests.walking_points import SECONDS, four_cameras, landmarks, walk
from training.estimation import estimate
from training.estimation.cameras import shot_of_cameras
from training.estimation.crop_poses import CameraPoses
from training.estimation.one_camera import SingleCamera, shot_of_video
from training.exports.motion import WORLD
from utils.errors import UserError
from utils.geometry import rotation_about
from utils.skeleton import NUM_JOINTS, ROOT_JOINT

NAMES, INSTANTS = "abcd", 8
POINTS = walk(INSTANTS)
HIPS = skeleton(POINTS)[:, ROOT_JOINT]


def seen_by(cameras, *everybody):
    """What BlazePose would find of people with points (T,P,3), world, in each camera."""
    found = []
    for camera in cameras:
        parts = ((NUM_LANDMARKS, 2), (NUM_LANDMARKS,), (NUM_LANDMARKS, 3), ())
        people = People(np.arange(INSTANTS), *(np.full((INSTANTS, MAX_PEOPLE, *part), np.nan) for part in parts))
        for number, points in enumerate(everybody):
            people.landmarks[:, number] = landmarks([camera], points, noise=1)[0]
            people.visibility[:, number] = people.world[:, number] = 0
            people.visibility[:, number, list(LANDMARKS)] = people.score[:, number, None] = 1
            hips = skeleton(points)[:, ROOT_JOINT, None]
            people.world[:, number, list(LANDMARKS)] = (points - hips) @ camera.rotation.T
        found.append(people)
    return found


def hide(people, rows, number=slice(None)):
    """Somebody, or everybody, is not found at some instants."""
    for values in people[1:]:
        values[rows, number] = np.nan


def shot_of(folder, cameras, found, correct_cameras=False):
    """The shot of a recording in which these people (`seen_by`) are found."""
    names = NAMES[: len(cameras)]
    files = {name: folder / LANDMARKS_FOLDER / f"recording_000_{name}.npz" for name in names}
    (folder / LANDMARKS_FOLDER).mkdir()
    for file, people in zip(files.values(), found, strict=True):
        np.savez(file, **people._asdict())
    recording = Recording("walk", 1, files, Path(), dict.fromkeys(names, 0), {})
    calibration = Calibration(dict(zip(names, cameras, strict=True)), np.eye(3))
    plan = Plan(recording, calibration, dict.fromkeys(names, INSTANTS), range(INSTANTS), {}, 1 / SECONDS)
    return shot_of_cameras(plan, folder, 1, correct_cameras, workers=1, progress=False)


def test_where_cameras_disagree_the_one_that_sees_the_person_best_decides(tmp_path):
    cameras, rows = four_cameras()[:3], slice(3, 6)
    found, above = seen_by(cameras, POINTS), seen_by(cameras, POINTS + np.array([0, 0, 2.0]))
    # The second sees somebody else, and the third nobody.
    for right, wrong in zip(found[1][1:], above[1][1:], strict=True):
        right[rows] = wrong[rows]
    found[1].visibility[rows] *= 0.6
    hide(found[2], rows)
    shot = shot_of(tmp_path, cameras, found)
    assert np.isnan(shot.triangulated[rows]).all()
    assert np.linalg.norm(shot.roots - HIPS, axis=1).max() < 0.1
    assert "triangulated hip 5, size in one image 3" in shot.notes[-1]


def test_a_camera_that_never_sees_the_person_is_not_asked(tmp_path):
    cameras = four_cameras()
    found = seen_by(cameras, POINTS)
    # The second misses the person now and then, and the fourth has a cap before its lens.
    hide(found[1], slice(0, INSTANTS, 3)), hide(found[3], slice(None))
    shot = shot_of(tmp_path, cameras, found)
    assert shot.seen.mean(1).tolist() == [1, 1, 1, 0]
    assert sum("WARNING" in note for note in shot.notes) == 1
    assert any("WARNING: the person was detected in none" in note for note in shot.notes)


def test_the_cameras_that_the_poses_belong_to_are_written(tmp_path, monkeypatch):
    """Corrected ones: with those that were given, the poses would lie beside the person."""
    cameras = four_cameras()
    found = seen_by(cameras, POINTS)
    turned = rotation_about("y", np.radians(1.5)) @ cameras[2].rotation
    given = [*cameras[:2], cameras[2]._replace(rotation=turned), cameras[3]]
    shot = shot_of(tmp_path, given, found, correct_cameras=True)
    nothing = np.full((INSTANTS, NUM_JOINTS, 3), np.nan)
    view = CameraPoses(nothing, nothing[:, :3], nothing[:, 0, 0], np.zeros(INSTANTS, bool))
    monkeypatch.setattr(estimate, "camera_poses", lambda *_: view)
    choices = estimate.Choices(triangulate=True, smooth="none", formats=("npz",), pictures=False)
    report = "\n".join(estimate._write_shot(shot, tmp_path, None, choices, "", False))
    assert "cameras corrected" in report and "the cameras that these poses belong to: walk_cameras.json" in report
    poses, written = read_pose_file(tmp_path / "walk.npz"), read_calibration(tmp_path / "walk_cameras.json").cameras
    misses = [
        np.linalg.norm(
            camera.project(camera.world_to_cam(poses)) - true.project(true.world_to_cam(skeleton(POINTS))), axis=-1
        )
        for camera, true in zip(written.values(), cameras, strict=True)
    ]
    assert read_pose_clock(tmp_path / "walk.npz") == (1 / SECONDS, shot.offsets)
    assert len(poses) == INSTANTS and np.median(misses) < 8 and np.median(misses[2]) < 8


def test_rays_of_several_people_that_do_not_meet(tmp_path):
    cameras, beside = four_cameras(), POINTS + np.array([1.2, 0.8, 0])
    found = seen_by(cameras, POINTS, beside)
    millimeters = [camera._replace(center=1000 * camera.center) for camera in cameras]
    for part in ("never", "often"):
        (tmp_path / part).mkdir()
    with pytest.raises(UserError, match=r"walk: two cameras see somebody at 8 instants, and rays meet at 0 .* unit, R"):
        shot_of(tmp_path / "never", millimeters, found)
    rng = np.random.default_rng(0)
    for camera in found:
        camera.landmarks[3:] += rng.normal(0, 900, camera.landmarks[3:].shape)
    (line,) = (note for note in shot_of(tmp_path / "often", cameras, found).notes if "rays meet at" in note)
    assert line.startswith("WARNING: two cameras see somebody at 8 instants, and rays meet at 3 of them: check unit")


def test_instants_that_one_camera_alone_sees(tmp_path):
    cameras, rows, beside = four_cameras()[:3], slice(2, 4), POINTS + np.array([1.2, 0.8, 0])
    for people, known in (((POINTS,), True), ((POINTS, beside), False)):
        found = seen_by(cameras, *people)
        # The first camera never sees the other person, who is therefore not followed.
        hide(found[0], slice(None), slice(1, None)), hide(found[1], rows, slice(1, None))
        hide(found[0], rows), hide(found[2], rows)
        folder = tmp_path / str(known)
        folder.mkdir()
        shot = shot_of(folder, cameras, found)
        # Of several people, nobody can say which of them the second camera sees.
        assert np.isfinite(shot.roots[rows]).all() == known and shot.seen[:, rows].all() == known
        assert np.nanmax(np.linalg.norm(shot.roots - HIPS, axis=1)) < 0.1
        assert ("size in one image 2" if known else "nowhere 2") in shot.notes[-1]


def test_what_the_detector_sees_of_one_camera_is_in_the_world(tmp_path):
    camera, file = four_cameras()[1], tmp_path / "a.npz"
    (found,) = seen_by([camera], POINTS)
    hide(found, 2)
    np.savez(file, **found._asdict())
    shot = shot_of_video("a", LandmarkSearch(file, Path(), found.frames), SingleCamera(camera, 20.0, []), WORLD)
    expected = skeleton(POINTS) - HIPS[:, None]
    expected[2] = np.nan
    np.testing.assert_allclose(shot.detected, expected, atol=1e-6)
