"""Procedural motions: plausible (joint limits, feet on the floor, smooth), inside the area, decided by the seed."""

import numpy as np
import pytest

pytest.importorskip("anny")

from datasets.motion.motions import MOTIONS, procedural_motion
from datasets.motion.posing import MAX_ELBOW, MAX_KNEE
from datasets.people.body import BONE_INDEX, BONE_NAMES, load_body
from utils.errors import UserError
from utils.skeleton import BONES, JOINT_NAMES

JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}
FPS, FRAMES, AREA = 10, 50, 1.5


def make(name, subject=1, seed=0, frames=FRAMES, fps=FPS, area=AREA):
    return procedural_motion(name, load_body(subject), frames, fps, np.random.default_rng(seed), area)


@pytest.fixture(scope="module", params=[(name, subject) for name in MOTIONS for subject in (8, 5)])
def played(request):
    """Motions of every kind by a heavy man and a slim woman: name, body, motion, vertices, joints."""
    name, subject = request.param
    motion = make(name, subject, seed=subject)
    body = load_body(subject)
    return (name, body, motion, *body.pose(motion))


def test_there_are_many_kinds():
    assert len(MOTIONS) >= 12
    assert {"walking", "turning", "sitting_down", "reaching", "greeting", "phoning", "crouching", "kicking"} <= {
        *MOTIONS
    }


def test_shapes_and_rotations(played):
    _, _, motion, vertices, joints = played
    assert motion.rotations.shape == (FRAMES, len(BONE_NAMES), 3, 3) and motion.translation.shape == (FRAMES, 3)
    assert motion.rotations.dtype == motion.translation.dtype == np.float32
    product = motion.rotations @ motion.rotations.swapaxes(-1, -2)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-4)
    assert np.isfinite(vertices).all() and np.isfinite(joints).all()


def test_bones_keep_their_length(played):
    joints = played[4]
    first, second = np.array(BONES).T
    length = np.linalg.norm(joints[:, first] - joints[:, second], axis=-1)
    # Three bones of the body make one of the trunk, and the shoulder girdle moves relative to the neck.
    rigid = [i for i, (a, b) in enumerate(BONES) if {a, b} not in ({0, 7}, {7, 8}, {8, 9}, {8, 11}, {8, 14})]
    np.testing.assert_allclose(length[:, rigid], np.broadcast_to(length[0, rigid], length[:, rigid].shape), atol=2e-3)


def test_feet_are_on_the_floor(played):
    _, body, _, vertices, _ = played
    foot = np.isin(body.vertex_bone, [i for n, i in BONE_INDEX.items() if n.startswith(("foot", "toes"))])
    lowest = vertices[:, foot, 2].min(1)
    assert lowest.max() < 0.012, "floating"
    assert vertices[:, :, 2].min() > -0.03, "through the floor"


def test_planted_feet_do_not_slide(played):
    _, body, _, vertices, _ = played
    foot = np.isin(body.vertex_bone, [i for n, i in BONE_INDEX.items() if n.startswith(("foot", "toes"))])
    feet = vertices[:, foot]
    down = (feet[1:, :, 2] < 0.004) & (feet[:-1, :, 2] < 0.004)
    moved = np.linalg.norm(np.diff(feet[:, :, :2], axis=0), axis=2)[down]
    assert moved.mean() < 0.008


def test_left_is_left_and_the_face_looks_ahead(played):
    _, _, motion, _, joints = played
    pelvis = motion.rotations[:, 0]
    hips = joints[:, JOINT["left_hip"]] - joints[:, JOINT["right_hip"]]
    assert ((hips * pelvis[:, :, 1]).sum(1) > 0.1).all()
    ahead = pelvis[:, :, 0] * [1, 1, 0]
    face = joints[:, JOINT["head"]] - joints[:, JOINT["neck"]]
    assert ((face * ahead).sum(1) > -0.12).all(), "the head may rotate far, but not backwards"


def test_elbows_and_knees_bend_one_way(played):
    _, _, motion, _, _ = played
    for name, sign, most in (("forearm", -1, MAX_ELBOW), ("shin", 1, MAX_KNEE)):
        for side in ("left", "right"):
            local = motion.rotations[:, BONE_INDEX[f"{name}_{side}"]]
            angle = sign * np.arctan2(local[:, 0, 2], local[:, 0, 0])
            assert angle.min() > 0.02 and angle.max() < most + 1e-3
            np.testing.assert_allclose(local[:, 1, 1], 1, atol=1e-4)  # a hinge


def test_trunk_and_head_stay_in_their_limits(played):
    joints = played[4]
    chest = joints[:, JOINT["neck"]] - joints[:, JOINT["spine"]]
    hips = joints[:, JOINT["spine"]] - joints[:, JOINT["hip"]]
    cosine = (chest * hips).sum(1) / np.linalg.norm(chest, axis=1) / np.linalg.norm(hips, axis=1)
    assert cosine.min() > np.cos(np.deg2rad(75))
    head = joints[:, JOINT["head_top"]] - joints[:, JOINT["neck"]]
    cosine = (chest * head).sum(1) / np.linalg.norm(chest, axis=1) / np.linalg.norm(head, axis=1)
    assert cosine.min() > np.cos(np.deg2rad(90))


def test_smooth(played):
    """Accelerations stay human. Second differences only approximate them at a high frame rate."""
    name, body, *_ = played
    fine = make(name, body.subject, seed=3, frames=100, fps=50)
    joints = body.pose(fine)[1].astype(np.float64)
    acceleration = np.linalg.norm(np.diff(joints, 2, axis=0), axis=-1) * 50**2
    assert np.percentile(acceleration, 99) < 40 and acceleration.max() < 130
    assert np.linalg.norm(np.diff(joints, axis=0), axis=-1).max() * 50 < 9


def test_stays_in_the_area(played):
    _, _, motion, _, joints = played
    assert np.abs(motion.translation[:, :2]).max() <= AREA
    small = make(played[0], played[1].subject, seed=4, area=0.8)
    assert np.abs(small.translation[:, :2]).max() <= 0.8
    assert np.ptp(joints, axis=0).max() > 0.01, "it moves"


def test_seats_are_in_the_area_too():
    for seed in range(30):
        assert np.abs(make("eating", 6, seed=seed, frames=2).translation[:, :2]).max() <= AREA


@pytest.mark.parametrize("name", MOTIONS)
def test_seed_decides(name):
    first, again, other = make(name, seed=1), make(name, seed=1), make(name, seed=2)
    np.testing.assert_array_equal(first.rotations, again.rotations)
    np.testing.assert_array_equal(first.translation, again.translation)
    assert np.abs(first.rotations - other.rotations).max() > 0.1


def test_any_heading():
    yaws = []
    for seed in range(40):
        root = make("waiting", seed=seed, frames=1).rotations[0, 0]
        yaws.append(np.arctan2(root[1, 0], root[0, 0]))
    counts = np.histogram(yaws, bins=4, range=(-np.pi, np.pi))[0]
    assert counts.min() >= 3


@pytest.mark.parametrize("frames, fps", [(1, 10), (2, 50), (7, 24.5), (31, 120)])
def test_any_length_and_rate(frames, fps):
    assert len(make("walking", frames=frames, fps=fps).translation) == frames


def test_sitting_lowers_the_hips():
    heights = make("sitting_down", seed=0, frames=200).translation[:, 2]
    leg = heights.max()
    assert 0.45 * leg < heights.min() < 0.7 * leg


def test_walking_travels_and_swings_opposite_arms():
    body = load_body(1)
    motion = make("walking", seed=6, frames=100)
    joints = body.pose(motion)[1]
    traveled = np.linalg.norm(np.diff(motion.translation[:, :2], axis=0), axis=1).sum()
    assert traveled > 3
    ahead = motion.rotations[:, 0, :, 0]
    foot = ((joints[:, JOINT["left_ankle"]] - joints[:, JOINT["right_ankle"]]) * ahead).sum(1)
    assert np.ptp(foot) > 0.5


@pytest.mark.parametrize(
    "bad, message",
    [
        (dict(name="flying"), "unknown motion 'flying'; expected one of walking"),
        (dict(frames=0), "num_frames is 0"),
        (dict(fps=-1), "fps is -1"),
        (dict(area=0), "area is 0"),
    ],
)
def test_bad_input_is_named(bad, message):
    with pytest.raises(UserError, match=message):
        make(**{"name": "walking", **bad})
