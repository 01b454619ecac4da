"""The parts of the estimation: where a person is, who is followed, how a motion is smoothed, what is fused."""

import sys
from contextlib import nullcontext
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2")
pytest.importorskip("av")

from datasets.cameras.calibration import UP_AXES, Calibration
from datasets.detection.blazepose import NUM_LANDMARKS
from datasets.sources.own_videos import landmarks
from datasets.sources.own_videos.recordings import read_pose_file
from datasets.triangulation.single_view import follow_in_one_view, root_positions, steady_distances
from tests.tiny import ROOT
from tests.video_files import write_video
from training.estimation import estimate, overlay
from training.estimation.crop_poses import CameraPoses, camera_poses, fuse_views
from training.estimation.one_camera import camera_of_video
from training.estimation.shot import Shot, assumed_camera
from training.estimation.smoothing import FILTERS, butterworth, check_filter, one_euro, smooth, smoothing_text
from training.exports.motion import CAMERA, WORLD, Motion
from training.trained.fusion import fuse_cameras
from training.trained.inference import Poses
from utils import readers
from utils.errors import UserError
from utils.geometry import rotation_about

RATE = 50.0


def test_the_root_is_where_the_landmarks_project_from():
    rng = np.random.default_rng(0)
    camera = assumed_camera(640, 480)
    world = rng.normal(0, 0.4, (2, 3, NUM_LANDMARKS, 3))
    place = rng.uniform([-1, -0.5, 3], [1, 0.5, 6], (2, 3, 3))
    pixels = camera.project(world + place[:, :, None])
    visibility = rng.uniform(0, 1, pixels.shape[:-1])
    pixels[1, 2] = np.nan
    found = root_positions(camera, pixels, visibility, world)
    hips = world[..., 23:25, :].mean(-2)
    expected = place + hips
    expected[1, 2] = np.nan
    assert np.allclose(found, expected, atol=1e-5, equal_nan=True)


def test_an_assumed_camera_sees_the_angle_it_is_told():
    camera = assumed_camera(200, 100, 90)
    left = camera.project(np.array([-1.0, 0, 1]))
    assert left == pytest.approx([99.5 - 100, 49.5])
    with pytest.raises(UserError, match="field of view is 200 degrees; expected 5 to 150"):
        assumed_camera(200, 100, 200)
    with pytest.raises(UserError, match="field of view is '60'; expected a number of degrees"):
        assumed_camera(200, 100, "60")


def test_pixels_that_are_wider_than_high(tmp_path):
    """As those of HDV, 1440x1080, which are shown as 1920x1080; a calibration knows them."""
    write_video(tmp_path / "a.mp4", np.zeros((2, 48, 64, 3), np.uint8), aspect=Fraction(4, 3))
    write_video(tmp_path / "b.mp4", np.zeros((2, 48, 64, 3), np.uint8))
    wide, square = (camera_of_video(name, tmp_path / f"{name}.mp4", None, 90) for name in "ab")
    focal_x, focal_y = np.diag(wide.camera.intrinsics)[:2]
    assert (focal_x, focal_y) == pytest.approx((32, 128 / 3)) and "1.333 times as wide as high" in "".join(wide.notes)
    assert np.diag(square.camera.intrinsics)[:2].tolist() == pytest.approx([32, 32])
    assert "times as wide" not in "".join(square.notes)
    known = Calibration({"a": square.camera}, np.eye(3))
    assert (camera_of_video("a", tmp_path / "a.mp4", known, 90).camera.intrinsics == square.camera.intrinsics).all()


def test_a_calibration_in_millimeters_that_does_not_say_so_is_a_warning_for_one_camera(tmp_path):
    """That of its origin sees nothing of it, and alone it has no rays that could miss."""
    write_video(tmp_path / "a.mp4", np.zeros((2, 48, 64, 3), np.uint8))
    near = assumed_camera(64, 48)
    for distance, warned in ((3.0, False), (3000.0, True)):
        known = Calibration({"a": near, "b": near._replace(center=np.array([0, distance, 0]))}, np.eye(3))
        notes = camera_of_video("a", tmp_path / "a.mp4", known, 90).notes
        assert any(note.startswith("WARNING: camera 'b' is 3000 m away from the origin") for note in notes) == warned


def test_the_person_who_is_there_most_often_is_followed():
    roots = np.full((20, 2, 3), np.nan)
    walker = np.stack([np.linspace(-1, 1, 20), np.zeros(20), np.full(20, 4.0)], axis=1)
    # The detector exchanges the places of both, and loses one of them; the walker's distance jumps.
    for instant in range(20):
        roots[instant, instant % 2] = walker[instant] * (1 + 0.1 * (instant % 3))
    roots[5:9, :][np.isnan(roots[5:9, :, 0])] = [1.5, 0, 2.5]
    chosen = follow_in_one_view(roots, 0.04)
    assert chosen.tolist() == [instant % 2 for instant in range(20)]
    steady = steady_distances(roots[np.arange(20), chosen], 0.04)
    assert np.ptp(np.linalg.norm(steady, axis=1)[8:12]) < np.ptp(np.linalg.norm(roots[np.arange(20), chosen], axis=1))
    nearest = np.array([[[0, 0, 5.0], [1, 0, 3.0]]])
    assert follow_in_one_view(nearest, 0.04).tolist() == [1]
    assert follow_in_one_view(np.full((3, 2, 3), np.nan), 0.04).tolist() == [-1] * 3


@pytest.mark.parametrize("name", ["butterworth", "one-euro"])
def test_filters_remove_noise_and_keep_the_motion(name):
    pytest.importorskip("scipy")
    times = np.arange(150) / RATE
    clean = np.sin(2 * np.pi * 0.7 * times)[:, None, None] * np.ones((17, 3))
    noisy = clean + np.random.default_rng(1).normal(0, 0.03, clean.shape)
    filtered = smooth(Motion(noisy, np.arange(150), RATE), name).joints
    jitter = [np.abs(np.diff(values, 2, axis=0)).mean() for values in (noisy, filtered)]
    assert jitter[1] < 0.5 * jitter[0]
    assert np.abs(filtered - clean).mean() < (0.03 if name == "butterworth" else 0.1)
    steady = np.ones((5, 2))
    assert np.allclose(FILTERS[name](steady, RATE), steady)


@pytest.mark.parametrize("rate", [12.5, 25, 60, 240])
def test_the_cutoff_is_that_of_both_passes_together(rate):
    pytest.importorskip("scipy")
    times = np.arange(20 * rate) / rate
    for frequency, gain in ((1, 1), (6, 2**-0.5)):
        wave = np.exp(2j * np.pi * frequency * times)
        filtered = butterworth(wave.real, rate) + 1j * butterworth(wave.imag, rate)
        # Away from the ends; as a complex number, so that a delay would show.
        middle = slice(len(times) // 4, -len(times) // 4)
        assert (filtered / wave)[middle].mean() == pytest.approx(gain, abs=5e-3)
    # The least rate that is filtered
    assert np.isfinite(butterworth(np.ones(9), np.nextafter(12, 13))).all()


def test_gaps_stay_gaps_and_slow_motions_stay(monkeypatch):
    joints = np.ones((10, 17, 3))
    joints[4] = np.nan
    assert np.allclose(smooth(Motion(joints, np.arange(10), RATE), "one-euro").joints, joints, equal_nan=True)
    values = np.random.default_rng(0).normal(size=(6, 2))
    assert (butterworth(values, 10.0) == values).all() and (one_euro(values, 10.0)[0] == values[0]).all()
    motion = Motion(np.random.default_rng(0).normal(size=(6, 17, 3)), np.arange(0, 30, 5), RATE)
    for name, rate, changed, text in (
        (
            "butterworth",
            60,
            False,
            "none (butterworth removes what is above 6 Hz, of which 12 instants per second hold",
        ),
        ("butterworth", 61, True, "butterworth"),
        ("one-euro", 60, True, "one-euro"),
        ("none", 60, False, "none"),
    ):
        slow = motion._replace(rate=rate)
        assert (smooth(slow, name).joints != slow.joints).any() == changed
        assert smoothing_text(slow, name).startswith(text)
    one = Motion(motion.joints[:1], np.arange(1), RATE)
    assert smoothing_text(one, "butterworth") == "none (butterworth needs two instants)"
    with pytest.raises(UserError, match="unknown filter 'kalman'; expected one of butterworth, one-euro, none"):
        check_filter("kalman")
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(UserError, match=r"needs the package 'scipy': pip install .*estimate"):
        check_filter("butterworth")


def test_views_are_fused_by_the_square_of_trust():
    alike = np.repeat(np.eye(3)[None], 3, 0)
    first = CameraPoses(np.zeros((3, 17, 3)), alike, np.array([0.2, 0.5, np.nan]), np.zeros(3, bool))
    # so near that they agree
    second = CameraPoses(np.full((3, 17, 3), 1e-5), alike, np.array([0.6, np.nan, np.nan]), np.zeros(3, bool))
    first.poses[2] = second.poses[1] = second.poses[2] = np.nan
    poses, trust = fuse_views([first, second])
    assert np.allclose(poses[0], 0.9e-5, atol=0) and np.allclose(poses[1], 0) and np.isnan(poses[2]).all()
    assert np.allclose(trust, [0.56, 0.5, np.nan], equal_nan=True)
    unjudged = [view._replace(trust=np.full(3, np.nan)) for view in (first, second)]
    poses, trust = fuse_views(unjudged)
    assert np.allclose(poses[0], 0.5e-5, atol=0) and trust is None


def test_views_are_fused_in_the_world_by_what_each_camera_sees_across():
    rotations = rotation_about("y", np.radians([0.0, 60, 130]))
    seen = 1e-3 * np.random.default_rng(0).normal(size=(3, 17, 3))
    views = [CameraPoses((seen[i] @ rotations[i])[None], rotations[i, None], *np.ones((2, 1))) for i in range(3)]
    poses, trust = fuse_views(views)
    fused = fuse_cameras(seen, rotations, trust=np.ones(3))
    np.testing.assert_allclose(poses, fused.poses, atol=1e-7)
    np.testing.assert_allclose(trust, 1)


@pytest.mark.parametrize(("axes", "warns"), [("z", False), ("y", True), ("-z", True)])
def test_a_person_who_is_not_upright_in_the_world_is_a_warning(axes, warns, tmp_path, monkeypatch):
    """The joints that cameras agree about tell it, though the network sees somebody upright; of one camera what the
    detector sees; else the network."""
    joints = read_pose_file(ROOT / "examples/recording/poses.npz")[::20] @ UP_AXES[axes]
    count = len(joints)
    upright = joints @ UP_AXES[axes].T
    alike = np.repeat(np.eye(3)[None], count, 0)
    view = CameraPoses(upright - upright[:, :1], alike, np.full(count, np.nan), np.zeros(count, bool))
    monkeypatch.setattr(estimate, "camera_poses", lambda *_: view)
    place = np.arange(count), RATE, WORLD, joints[:, 0], np.zeros((1, count), bool), joints, ("a note",)
    shot = Shot("walk", {"a": tmp_path}, {"a": assumed_camera(64, 64)}, np.zeros((1, count), int), *place)

    def warnings_of(shot, triangulate=False):
        choices = estimate.Choices(triangulate=triangulate, formats=(), pictures=False, smooth="none")
        report = estimate._write_shot(shot, tmp_path, None, choices, "", False)
        return ['"up"' in line for line in report if "WARNING: the trunk points" in line]

    assert warnings_of(shot) == warnings_of(shot, triangulate=True) == [True] * warns
    # One calibrated camera triangulates nothing.
    alone = shot._replace(triangulated=None)
    assert warnings_of(alone) == []
    assert warnings_of(alone._replace(detected=joints)) == [True] * warns
    view = view._replace(poses=joints - joints[:, :1])
    assert warnings_of(alone) == [True] * warns
    assert warnings_of(alone._replace(space=CAMERA)) == []


def test_trust_and_warnings_are_those_of_the_poses_in_the_files(tmp_path, monkeypatch):
    """At triangulated instants the network is not asked; at instant 3 nobody agrees, and nobody is seen at 4."""
    asked, captions = [], []

    def network(crops):
        asked.append(len(crops))
        poses, whole = np.zeros((len(crops), 17, 3), np.float32), np.ones(len(crops))
        return Poses.of(poses, 0.5 * whole, 100 * whole, whole > 0)

    network.network = SimpleNamespace(size=32)
    monkeypatch.setattr(overlay, "_caption", lambda _, words, color: captions.append((words, color)))
    write_video(tmp_path / "a.mp4", np.zeros((5, 48, 64, 3), np.uint8))
    joints = np.full((5, 17, 3), [0.0, 0, 4]) + np.random.default_rng(0).normal(0, 0.3, (5, 17, 3))
    roots, seen = joints[:, 0].copy(), np.array([[True, True, True, True, False]])
    joints[3:] = roots[4] = np.nan
    place = np.arange(5)[None], np.arange(5), RATE, WORLD, roots, seen, joints, ()
    shot = Shot("walk", {"a": tmp_path / "a.mp4"}, {"a": assumed_camera(64, 48)}, *place)

    def written(name, triangulate):
        captions.clear(), asked.clear(), (tmp_path / name).mkdir()
        choices = estimate.Choices(triangulate=triangulate, formats=("npz", "csv"), smooth="none")
        report = "\n".join(estimate._write_shot(shot, tmp_path / name, network, choices, "", False))
        cells = [line.split(",")[2] for line in (tmp_path / name / "walk.csv").read_text().splitlines()[1:]]
        with np.load(tmp_path / name / "walk.npz", allow_pickle=False) as content:
            return report, dict(content), cells

    report, found, cells = written("both", triangulate=True)
    assert asked == [1] and cells == ["", "", "", "0.5000", ""]
    assert np.allclose(found["trust"], [np.nan, np.nan, np.nan, 0.5, np.nan], equal_nan=True)
    assert np.allclose(found["poses"][:3], joints[:3], atol=1e-6) and np.isfinite(found["poses"][3]).all()
    assert "4 of 5 instants with the person, 3 of them triangulated, trust 0.50" in report
    assert "1 of 1 crops unlike those of the training" in report
    warned = ("trust 0.50 unlike the training", overlay.WARNING)
    assert captions == [("triangulated", overlay.PLAIN)] * 3 + [warned, ("nobody", overlay.PLAIN)]
    report, found, cells = written("network", triangulate=False)
    assert asked == [4] and "4 of 4 crops unlike" in report and "triangulated" not in report
    assert cells == ["0.5000"] * 4 + [""] and captions[:4] == [warned] * 4
    # Where all instants are triangulated, nothing is left to trust or to warn of.
    shot = shot._replace(triangulated=np.where(np.isfinite(joints), joints, 4.0))
    report, found, cells = written("all", triangulate=True)
    assert asked == [] and cells == [""] * 5 and "crops" not in report and "trust" not in report


def test_a_picture_that_is_no_frame_is_refused_also_of_one_camera(tmp_path):
    for name in (*(f"frame_{number:03d}" for number in range(12)), "cover"):
        Image.new("RGB", (64, 48)).save(tmp_path / f"{name}.png")
    with pytest.raises(UserError, match=r"^camera 'cam': in .*, cover\.png is named unlike nearly all others"):
        camera_of_video("cam", tmp_path, None, 60)
    (tmp_path / "cover.png").unlink()
    assert camera_of_video("cam", tmp_path, None, 60).camera.width == 64


def test_landmarks_of_hours_are_read_again(tmp_path, monkeypatch):
    """A file of landmarks above the limit of compressed files, which is set low here."""
    frames = np.arange(50)
    monkeypatch.setattr(landmarks, "BlazePose", lambda **_: SimpleNamespace(people=lambda *_: []))
    monkeypatch.setattr(landmarks, "read_frames", lambda *_: ((frame, None) for frame in frames))
    monkeypatch.setattr(readers, "MAX_ARRAY_BYTES", 100_000)
    landmarks.search(landmarks.LandmarkSearch(tmp_path / "folder/a.npz", tmp_path / "a.mp4", frames))
    assert landmarks.read_people(tmp_path / "folder/a.npz").frames.tolist() == frames.tolist()


def test_poses_of_another_shot_are_one_line(tmp_path):
    file, shot = tmp_path / "cam.npz", SimpleNamespace(instants=range(3))
    for count, message in ((4, "of 4 instants, expected 3; remove it"), (3, None)):
        held = CameraPoses(np.zeros((count, 17, 3)), np.zeros((count, 3, 3)), np.zeros(count), np.zeros(count, bool))
        np.savez(file, **held._asdict())
        with pytest.raises(UserError, match=message) if message else nullcontext():
            camera_poses(shot, "cam", None, file, progress=False)
