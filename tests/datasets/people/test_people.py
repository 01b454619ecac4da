"""Bodies: meshes, skinning weights, the neutral stance, and how poses move vertices and joints."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("anny")

from datasets.people import anny_model as anny_module
from datasets.people.body import BONE_INDEX, BONE_NAMES, SUBJECTS, Body, Motion, load_body
from utils.errors import UserError
from utils.skeleton import BONES, JOINT_NAMES, LEFT_JOINTS, RIGHT_JOINTS

JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}


def neutral(frames: int = 1) -> Motion:
    return Motion(np.tile(np.eye(3), (frames, len(BONE_NAMES), 1, 1)), np.zeros((frames, 3)))


def rotation_about_y(angle: float) -> np.ndarray:
    """Written out here, so that the convention of signs does not depend on the code under test."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body(1)


@pytest.fixture
def cache(tmp_path):
    """A cache with one file."""
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "rig.safetensors").write_text("a rig")
    return tmp_path


@pytest.fixture
def closed(monkeypatch):
    """The cache cannot be written."""

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    # Not by permissions, which do not bind root.
    monkeypatch.setattr(anny_module.tempfile, "TemporaryDirectory", refuse)


def test_a_cache_that_is_read_only_is_read_in_place(cache, closed):
    changed = []
    with anny_module._atomic_cache_files(cache, changed.append):
        assert (cache / "v1" / "rig.safetensors").read_text() == "a rig"
    assert not changed and [path.name for path in cache.iterdir()] == ["v1"]


def test_a_read_only_cache_that_lacks_something_is_one_line(cache, closed):
    message = r"cannot write anny's cache in .*Permission denied.*; set ANNY_CACHE_DIR"
    with pytest.raises(UserError, match=message), anny_module._atomic_cache_files(cache, print):
        raise RuntimeError("I/O error")
    (cache / "v1" / "rig.safetensors").unlink()
    with pytest.raises(UserError, match=message), anny_module._atomic_cache_files(cache, print):
        raise AssertionError("nothing is there to read")


def test_what_a_killed_build_left_is_removed(cache):
    places = []
    with anny_module._atomic_cache_files(cache, places.append):
        mine = places[0]
        dead = cache / Path(mine).name.replace(f"-{os.getpid()}.", "-999999999.")
        (dead / "v1").mkdir(parents=True)
        (dead / "v1" / "rig.safetensors").symlink_to(cache / "v1" / "rig.safetensors")
        with anny_module._atomic_cache_files(cache, places.append):
            assert not dead.exists() and Path(mine).exists(), "of a process that is alive"
    assert [path.name for path in cache.iterdir()] == ["v1"] and (cache / "v1" / "rig.safetensors").exists()


def test_unknown_subject_is_named():
    with pytest.raises(UserError, match=r"subject 2.*expected one of"):
        Body(2)


def test_subjects_are_adults_of_different_shape():
    bodies = [load_body(subject) for subject in SUBJECTS]
    statures = [np.ptp(body.neutral_vertices[:, 2]) for body in bodies]
    assert min(statures) > 1.5 and max(statures) < 2.0
    assert max(statures) - min(statures) > 0.2
    spine = [BONE_INDEX[name] for name in ("spine_low", "spine_mid", "spine_high")]
    depths = [np.ptp(body.neutral_vertices[np.isin(body.vertex_bone, spine), 0]) for body in bodies]
    assert max(depths) > 1.2 * min(depths)


def test_mesh_and_weights(body):
    assert body.faces.dtype == np.int32 and body.faces.shape[1] == 3
    assert body.faces.min() == 0 and body.faces.max() == len(body.rest_vertices) - 1
    np.testing.assert_allclose(body.vertex_weights.sum(1), 1, atol=1e-5)
    assert set(body.vertex_bone) == set(range(len(BONE_NAMES)))
    assert abs(body.rest_vertices[:, 2].min()) < 1e-5


def test_neutral_stance_is_upright_and_symmetric(body):
    joints = body.neutral_joints
    for upper, lower in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
        for side in ("left", "right"):
            bone = joints[JOINT[f"{side}_{lower}"]] - joints[JOINT[f"{side}_{upper}"]]
            assert -bone[2] > 0.99 * np.linalg.norm(bone), f"{side} {upper}"
    left, right = joints[list(LEFT_JOINTS)], joints[list(RIGHT_JOINTS)]
    assert (left[:, 1] > 0.02).all() and (right[:, 1] < -0.02).all()
    assert joints[JOINT["head"], 0] > joints[JOINT["neck"], 0], "the face looks along +x"
    assert joints[JOINT["head_top"], 2] == pytest.approx(body.neutral_vertices[:, 2].max(), abs=0.02)
    np.testing.assert_allclose(joints[0], 0, atol=1e-6)


def test_left_and_right_have_equal_bones(body):
    length = {pair: np.linalg.norm(body.neutral_joints[pair[1]] - body.neutral_joints[pair[0]]) for pair in BONES}
    mirror = dict(zip(LEFT_JOINTS, (4 - 3, 5 - 3, 6 - 3, 14, 15, 16), strict=True))
    for (a, b), value in length.items():
        other = (mirror.get(a, a), mirror.get(b, b))
        if other in length:
            assert value == pytest.approx(length[other], abs=2e-3)


def test_signs_of_rotations(body):
    """Negative rotations about y swing limbs forward; positive ones bend knees backward."""
    motion = neutral()
    for bone, angle in (("upper_arm_left", -0.5), ("forearm_left", -1.0), ("shin_right", 1.0)):
        motion.rotations[0, BONE_INDEX[bone]] = rotation_about_y(angle)
    joints = body.pose(motion)[1][0]
    assert joints[JOINT["left_elbow"], 0] > joints[JOINT["left_shoulder"], 0] + 0.1
    assert joints[JOINT["left_wrist"], 2] > joints[JOINT["left_elbow"], 2] - 0.05
    assert joints[JOINT["right_ankle"], 0] < joints[JOINT["right_knee"], 0] - 0.2


def test_the_whole_body_moves_with_its_root(body):
    rng = np.random.default_rng(0)
    motion = neutral(2)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    motion.rotations[1, 0] = rotation
    motion.translation[1] = [0.3, -0.2, 1.0]
    vertices, joints = body.pose(motion)
    assert vertices.dtype == joints.dtype == np.float32
    np.testing.assert_allclose(vertices[1], vertices[0] @ rotation.T + motion.translation[1], atol=1e-4)
    np.testing.assert_allclose(joints[1], joints[0] @ rotation.T + motion.translation[1], atol=1e-4)


def test_skin_follows_its_bone(body):
    motion = neutral()
    motion.rotations[0, BONE_INDEX["thigh_left"]] = rotation_about_y(-np.pi / 2)
    vertices, joints = body.pose(motion)
    foot = vertices[0, body.vertex_bone == BONE_INDEX["foot_left"]].mean(0)
    assert np.linalg.norm(foot - joints[0, JOINT["left_ankle"]]) < 0.15
    assert foot[0] > 0.6


def test_frames_are_independent(body):
    rng = np.random.default_rng(1)
    motion = neutral(5)
    motion.translation[:] = rng.normal(size=(5, 3))
    vertices, joints = body.pose(motion)
    one = body.pose(Motion(motion.rotations[3:4], motion.translation[3:4]))
    np.testing.assert_allclose(vertices[3], one[0][0], atol=1e-5)
    np.testing.assert_allclose(joints[3], one[1][0], atol=1e-5)
