"""Files of motions say what was written: each format is read back, by a reader that is not its writer's."""

import csv
import os
import sys

import numpy as np
import pytest

from datasets.motion.captured.bvh import read_bvh
from datasets.motion.captured.joint_names import find_joints
from datasets.sources.own_videos.recordings import read_label_source, read_pose_clock, read_pose_file, read_to_z_up
from tests.tiny import ROOT
from training.exports import c3d_file
from training.exports.formats import FORMATS, check_formats, write_motion
from training.exports.motion import CAMERA, Motion, fill_gaps
from training.exports.trc import MARKERS
from utils.errors import UserError
from utils.skeleton import BONES, JOINT_NAMES

RATE, EVERY = 60.0, 2
GAP = 7


@pytest.fixture(scope="module")
def motion():
    """Every second frame of the man of the recording in the box, one of them unknown."""
    joints = read_pose_file(ROOT / "examples/recording/poses.npz")[::EVERY]
    joints[GAP] = np.nan
    trust = np.where(np.isfinite(joints[:, 0, 0]), 0.5, np.nan)
    return Motion(joints, EVERY * np.arange(len(joints)), RATE, trust=trust)


def read_trc(path):
    """Head values by name, marker names, times (T,), and points (T,M,3), NaN where cells are empty."""
    lines = path.read_text().split("\n")
    assert lines[0] == f"PathFileType\t4\t(X/Y/Z)\t{path.name}" and lines[-1] == ""
    head = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    markers = [name for name in lines[3].split("\t")[2:] if name]
    assert lines[4].split("\t")[2:] == [f"{axis}{n + 1}" for n in range(len(markers)) for axis in "XYZ"]
    rows = [[float(cell) if cell else np.nan for cell in line.split("\t")] for line in lines[5:-1]]
    values = np.array(rows)
    return head, markers, values[:, 1], values[:, 2:].reshape(len(values), -1, 3)


def bvh_joints(path):
    """Positions (T,17,3) of our joints in a BVH file."""
    clip = read_bvh(path)
    positions = clip.forward_kinematics()[1]
    return positions[:, [clip.joints.index(name) for name in JOINT_NAMES]], clip


def bones(joints):
    vectors = np.stack([joints[:, second] - joints[:, first] for first, second in BONES], axis=1)
    lengths = np.linalg.norm(vectors, axis=-1)
    return vectors / lengths[..., None], lengths


def test_npz_is_read_as_poses_of_own_videos(motion, tmp_path):
    write_motion(tmp_path / "a.npz", motion)
    read = read_pose_file(tmp_path / "a.npz")
    assert np.allclose(read[motion.instants], motion.joints, atol=1e-6, equal_nan=True)
    # Rows are instants of the recording: what lies between two of them is unknown.
    assert len(read) == motion.instants[-1] + 1 and np.isnan(np.delete(read, motion.instants, axis=0)).all()
    assert read_label_source(tmp_path / "a.npz") is None and (read_to_z_up(tmp_path / "a.npz") == np.eye(3)).all()
    assert read_pose_clock(tmp_path / "a.npz") == (RATE, {})
    write_motion(tmp_path / "b.npz", motion._replace(source="estimated", offsets={"left": 0, "a=b": 3}))
    assert read_label_source(tmp_path / "b.npz") == "estimated"
    assert read_pose_clock(tmp_path / "b.npz") == (RATE, {"left": 0, "a=b": 3})
    write_motion(tmp_path / "c.npz", motion._replace(space=CAMERA))
    with pytest.raises(UserError, match=r"c\.npz has poses in the space 'camera'; expected 'world'"):
        read_pose_file(tmp_path / "c.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as content:
        assert str(content["space"]) == "world" and content["rate"] == RATE
        assert content["instants"].tolist() == motion.instants.tolist()


def test_csv(motion, tmp_path):
    write_motion(tmp_path / "a.csv", motion)
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert len(rows) == len(motion.joints) and rows[GAP]["hip_x"] == "" == rows[GAP]["trust"]
    assert float(rows[2]["seconds"]) == pytest.approx(2 * EVERY / RATE, abs=1e-6) and rows[2]["instant"] == "4"
    wrist = [float(rows[3][f"left_wrist_{axis}"]) for axis in "xyz"]
    assert np.allclose(wrist, motion.joints[3, JOINT_NAMES.index("left_wrist")], atol=1e-4)


def test_trc_has_meters_and_y_up(motion, tmp_path):
    write_motion(tmp_path / "a.trc", motion)
    head, markers, times, points = read_trc(tmp_path / "a.trc")
    assert head["Units"] == "m" and float(head["DataRate"]) == RATE / EVERY
    assert int(head["NumFrames"]) == len(motion.joints) and int(head["NumMarkers"]) == 17 == len(set(markers))
    assert markers == [MARKERS[name] for name in JOINT_NAMES]
    assert np.allclose(times, np.arange(len(times)) * EVERY / RATE, atol=1e-6)
    # As Pose2Sim does it: y, z, x of the world with z up.
    assert np.allclose(points, motion.joints[..., [1, 2, 0]], atol=1e-6, equal_nan=True)
    assert np.isnan(points[GAP]).all()


def test_c3d_has_millimeters_and_z_up(motion, tmp_path):
    ezc3d = pytest.importorskip("ezc3d")
    write_motion(tmp_path / "a.c3d", motion)
    file = ezc3d.c3d(str(tmp_path / "a.c3d"))
    point = file["parameters"]["POINT"]
    assert point["UNITS"]["value"] == ["mm"] and point["RATE"]["value"] == [RATE / EVERY]
    assert point["LABELS"]["value"] == list(JOINT_NAMES) and point["Y_SCREEN"]["value"] == ["+Z"]
    read = file["data"]["points"][:3].transpose(2, 1, 0) / 1000
    known = np.delete(np.arange(len(read)), GAP)
    assert np.allclose(read[known], motion.joints[known], atol=1e-5)
    assert (file["data"]["meta_points"]["residuals"][0, :, GAP] < 0).all()


def test_c3d_of_more_instants_than_the_format_counts_is_one_line(tmp_path, monkeypatch):
    ezc3d = pytest.importorskip("ezc3d")
    joints = np.arange(65536)[:, None, None] / [1000, 2000, 3000] * np.ones((17, 1))
    long = Motion(joints, np.arange(65536), RATE)
    with pytest.raises(UserError, match=r"65536 instants for a C3D file; expected at most 65535 \(take every N-th"):
        write_motion(tmp_path / "a.c3d", long)
    assert not list(tmp_path.iterdir())
    # The longest one, of one joint, since ezc3d is slow.
    monkeypatch.setattr(c3d_file, "JOINT_NAMES", JOINT_NAMES[:1])
    longest = Motion(joints[1:, :1], np.arange(65535), RATE)
    write_motion(tmp_path / "a.c3d", longest)
    read = ezc3d.c3d(str(tmp_path / "a.c3d"))["data"]["points"][:3]
    assert np.allclose(read.T / 1000, longest.joints, rtol=1e-6)


def test_c3d_that_a_full_disk_cut_is_an_error(motion, tmp_path, monkeypatch):
    writer = pytest.importorskip("ezc3d").c3d
    whole = writer.write

    def cut(self, path):
        whole(self, path)
        os.truncate(path, os.path.getsize(path) - 1)

    monkeypatch.setattr(writer, "write", cut)
    with pytest.raises(OSError, match="No space left"):
        write_motion(tmp_path / "a.c3d", motion)
    assert not list(tmp_path.iterdir())


def test_bvh_keeps_the_root_and_all_directions_of_bones(motion, tmp_path):
    write_motion(tmp_path / "a.bvh", motion)
    read, clip = bvh_joints(tmp_path / "a.bvh")
    expected = fill_gaps(motion.y_up())
    assert clip.rate == pytest.approx(RATE / EVERY, rel=1e-6)
    assert np.allclose(read[:, 0], expected[:, 0], atol=1e-5)
    (directions, lengths), (wanted, before) = bones(read), bones(expected)
    assert np.abs(directions - wanted).max() < 1e-3
    assert np.ptp(lengths, axis=0).max() < 1e-5
    assert np.abs(lengths.mean(0) / np.median(before, axis=0) - 1).max() < 0.1


def test_bvh_of_constant_bones_comes_back_exactly(motion, tmp_path):
    write_motion(tmp_path / "a.bvh", motion)
    rigid, _ = bvh_joints(tmp_path / "a.bvh")
    write_motion(
        tmp_path / "b.bvh", Motion(rigid @ np.linalg.inv(Motion(np.eye(3), [0], 1).y_up()), motion.instants, RATE)
    )
    again, _ = bvh_joints(tmp_path / "b.bvh")
    assert np.abs(again - rigid).max() < 1e-4


def test_bvh_has_the_bones_of_known_instants_however_many_are_filled(motion, tmp_path):
    person = motion.joints[0]
    joints = np.tile(person, (100, 1, 1))
    joints[:75] = np.nan
    joints[75] = person[0] + 0.7 * (person - person[0])
    write_motion(tmp_path / "gap.bvh", Motion(joints, np.arange(100), RATE))
    write_motion(tmp_path / "known.bvh", Motion(joints[76:], np.arange(24), RATE))
    (_, lengths), (_, expected) = (bones(bvh_joints(tmp_path / f"{name}.bvh")[0]) for name in ("gap", "known"))
    # Both sides of this person differ a little, so that the median may be of the one.
    assert np.abs(lengths[0] / expected[0] - 1).max() < 0.15


def test_bvh_rests_in_a_t_pose_that_faces_forward(motion, tmp_path):
    write_motion(tmp_path / "a.bvh", motion)
    clip = read_bvh(tmp_path / "a.bvh")
    rest = dict(zip(clip.joints, clip.rest_positions(), strict=True))
    assert rest["left_wrist"][0] > 0.5 > -0.5 > rest["right_wrist"][0] and rest["head_top"][1] > 0.5
    assert rest["left_ankle"][1] < -0.7 and rest["left_ankle_end"][2] > 0.1
    assert abs(rest["left_wrist"][1] - rest["left_shoulder"][1]) < 1e-6
    # No channel jumps by a whole turn, and only the root moves.
    find_joints(clip, "a.bvh")
    assert np.ptp(clip.translations[:, 1:], axis=0).max() == 0


def test_the_camera_frame_becomes_an_upright_space(tmp_path):
    """Below in the image is below in y-up and z-up files, and right stays right."""
    motion = Motion(np.full((1, 17, 3), [0.2, 0.5, 4.0]), np.array([0]), 25.0, CAMERA)
    assert np.allclose(motion.z_up()[0, 0], [0.2, 4.0, -0.5]) and np.allclose(motion.y_up()[0, 0], [0.2, -0.5, -4.0])
    for space in (CAMERA, "world"):
        for axes in (Motion(np.eye(3), [0], 1, space).z_up(), Motion(np.eye(3), [0], 1, space).y_up()):
            assert np.linalg.det(axes) == pytest.approx(1)


def test_the_same_bytes_each_time(motion, tmp_path):
    for name in FORMATS:
        if name == "c3d":
            pytest.importorskip("ezc3d")
        write_motion(tmp_path / f"a.{name}", motion)
        first = (tmp_path / f"a.{name}").read_bytes()
        write_motion(tmp_path / f"a.{name}", motion)
        assert (tmp_path / f"a.{name}").read_bytes() == first, name


def test_one_picture_is_a_motion_of_one_instant(motion, tmp_path):
    pytest.importorskip("ezc3d")
    for name in FORMATS:
        write_motion(
            tmp_path / f"a.{name}",
            motion._replace(joints=motion.joints[:1], instants=motion.instants[:1], trust=motion.trust[:1]),
        )
    assert len(read_bvh(tmp_path / "a.bvh").rotations) == 1


def test_bad_input(motion, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"unknown format 'fbx'; expected some of npz, csv, trc, c3d, bvh"):
        check_formats(["fbx"])
    nobody = motion._replace(joints=np.full_like(motion.joints, np.nan))
    with pytest.raises(UserError, match="no instant of 'a' has a person"):
        write_motion(tmp_path / "a.trc", nobody)
    monkeypatch.setitem(sys.modules, "ezc3d", None)
    with pytest.raises(UserError, match=r"needs the package 'ezc3d': pip install .*estimate"):
        write_motion(tmp_path / "a.c3d", motion)
    assert not list(tmp_path.iterdir())
