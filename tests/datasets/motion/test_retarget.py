"""Captured motion on other bodies: the same from the files of any tool, limbs as captured, feet on the floor."""

import re

import numpy as np
import pytest

pytest.importorskip("anny")

from datasets.motion.captured.bvh import read_bvh
from datasets.motion.captured.capture import analyze
from datasets.motion.captured.retarget import facing, retarget
from datasets.motion.footsteps import SIDES
from datasets.motion.posing import MAX_ELBOW
from datasets.people.body import BONE_INDEX, load_body
from datasets.people.kinematics import rotation_y, rotation_z
from tests.moving_figure import splayed, squat_and_wave, tangled, write_figure
from utils.errors import UserError
from utils.skeleton import JOINT_NAMES

FRAMES, FPS, HEADING = 20, 10, 0.7
LIMBS = {
    "thigh": ("hip", "knee"),
    "shin": ("knee", "ankle"),
    "upper_arm": ("shoulder", "elbow"),
    "forearm": ("elbow", "wrist"),
}


def captured(tmp_path, name="figure.bvh", **how):
    return analyze(read_bvh(write_figure(tmp_path / name, **how)), name)


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    return captured(tmp_path_factory.mktemp("bvh"))


@pytest.fixture(scope="module", params=[5, 6])
def played(request, capture):
    """A slim woman and a tall heavy man: body, motion, vertices, joints."""
    body = load_body(request.param)
    motion = retarget(capture, body, 0, FRAMES, FPS, HEADING)
    return (body, motion, *body.pose(motion))


def degrees_between(first, second):
    cosine = (first * second).sum(-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def limb(joints, side, bone):
    start, end = (joints[:, JOINT_NAMES.index(f"{side}_{joint}")] for joint in LIMBS[bone])
    return end - start


def feet(body, vertices, side=None):
    names = [f"{bone}_{s}" for bone in ("foot", "toes") for s in SIDES if side in (None, s)]
    return vertices[:, np.isin(body.vertex_bone, [BONE_INDEX[name] for name in names])]


@pytest.mark.parametrize(
    "how",
    [
        dict(names="builder"),
        dict(unit=100.0),
        dict(unit=17.7, up="y"),
        dict(order="XYZ"),
        dict(own=splayed(20)),
        dict(names="builder", unit=39.37, up="y", order="YXZ"),
    ],
    ids=lambda how: "-".join(how),
)
def test_names_unit_axes_and_channel_order_of_the_file_do_not_matter(tmp_path, capture, how):
    body = load_body(1)
    first, second = (
        retarget(c, body, 3, FRAMES, FPS, HEADING) for c in (capture, captured(tmp_path, "other.bvh", **how))
    )
    np.testing.assert_allclose(first.translation, second.translation, atol=2e-4)
    np.testing.assert_allclose(first.rotations, second.rotations, atol=2e-3)


def test_a_rest_pose_that_is_not_a_posture(tmp_path, capture):
    tangle = captured(tmp_path, own=tangled(3))
    for side in SIDES:
        for bone in LIMBS:
            np.testing.assert_allclose(getattr(tangle.sides[side], bone), getattr(capture.sides[side], bone), atol=1e-4)
    for own, other in ((tangle.pelvis, capture.pelvis), (tangle.chest, capture.chest)):
        assert degrees_between(own[:, :, 2], other[:, :, 2]).max() < 10


def test_frame_rates_do_not_matter(tmp_path, capture):
    slow = captured(tmp_path, "slow.bvh", motion=squat_and_wave(121, 60), rate=60)
    np.testing.assert_allclose(slow.hips, capture.hips, atol=1e-5)
    odd = captured(tmp_path, "odd.bvh", motion=squat_and_wave(97, 48), rate=48)
    assert degrees_between(odd.sides["left"].forearm, capture.sides["left"].forearm).max() < 1


def test_limbs_point_where_the_captured_limbs_point(capture, played):
    _, _, _, joints = played
    frames = np.arange(FRAMES) * 3
    rotation = rotation_z(HEADING - facing(capture, (FRAMES * 3 - 2) // 2))
    for side in SIDES:
        for bone in LIMBS:
            wanted = getattr(capture.sides[side], bone)[frames] @ rotation.T
            assert degrees_between(limb(joints, side, bone), wanted).max() < 6, (side, bone)


def test_faces_as_asked_and_is_centred(played):
    _, motion, _, _ = played
    middle = motion.rotations[FRAMES // 2, 0]
    assert abs(np.arctan2(middle[1, 0], middle[0, 0]) - HEADING) < 0.1
    path = motion.translation[:, :2]
    np.testing.assert_allclose(path.min(0), -path.max(0), atol=1e-5)


def test_feet_stand_on_the_floor_where_they_are(played):
    body, motion, vertices, _ = played
    lowest = feet(body, vertices)[:, :, 2].min(1)
    assert lowest.min() > -0.02 and lowest.max() < 0.01
    for side in SIDES:
        foot = feet(body, vertices, side)
        assert np.linalg.norm(np.ptp(foot.mean(1)[:, :2], axis=0)) < 0.015
    assert np.ptp(motion.translation[:, 2]) > 0.1, "it squats"


def test_a_jump_leaves_the_floor(tmp_path):
    body = load_body(1)
    jumping = captured(tmp_path, motion=squat_and_wave(91, jump=0.4))
    vertices, _ = body.pose(retarget(jumping, body, 0, 30, FPS, 0.0))
    lowest = feet(body, vertices)[:, :, 2].min(1)
    assert lowest[[0, 4, 8, 22, 29]].max() < 0.02
    assert 0.2 < lowest.max() < 0.5 and lowest.min() > -0.02


def test_knees_and_elbows_are_hinges_in_their_limits(played):
    _, motion, _, _ = played
    for bone, sign, most in (("forearm", -1, MAX_ELBOW), ("shin", 1, np.deg2rad(160))):
        for side in SIDES:
            local = motion.rotations[:, BONE_INDEX[f"{bone}_{side}"]]
            angle = sign * np.arctan2(local[:, 0, 2], local[:, 0, 0])
            assert angle.min() > 0.04 and angle.max() < most + 1e-3
            assert np.ptp(angle) > 0.5
            np.testing.assert_allclose(local[:, 1, 1], 1, atol=1e-4)


def test_knees_point_forward_and_bones_do_not_spin(played):
    body, motion, _, _ = played
    world, _ = body.forward_kinematics(motion)
    ahead = world[:, 0, :, 0]
    for side in SIDES:
        assert ((world[:, BONE_INDEX[f"thigh_{side}"], :, 0] * ahead).sum(1) > 0.3).all()
    steps = np.swapaxes(motion.rotations[:-1], -1, -2) @ motion.rotations[1:]
    angles = np.degrees(np.arccos(np.clip((np.trace(steps, axis1=2, axis2=3) - 1) / 2, -1, 1)))
    assert angles.max() < 60, "in a tenth of a second"


def test_left_stays_left(played):
    _, motion, _, joints = played
    left = motion.rotations[:, 0, :, 1]
    for joint in ("hip", "knee", "ankle", "shoulder", "elbow"):
        across = joints[:, JOINT_NAMES.index(f"left_{joint}")] - joints[:, JOINT_NAMES.index(f"right_{joint}")]
        assert ((across * left).sum(1) > 0.1).all(), joint


def test_a_straight_leg_bends_nowhere(tmp_path):
    pose, root = squat_and_wave(31)
    for side, sign in (("left", 1), ("right", -1)):
        for bone in ("thigh", "shin", "foot", "upper_arm", "forearm"):
            pose[f"{bone}_{side}"][:] = np.eye(3)
        pose[f"upper_arm_{side}"] = np.tile(np.array([[1, 0, 0], [0, 0, sign], [0, -sign, 0.0]]), (31, 1, 1))
    pose["waist"][:] = np.eye(3)
    root[:, 2] = 1
    body = load_body(1)
    motion = retarget(captured(tmp_path, motion=(pose, root)), body, 0, 10, FPS, 0.0)
    world, _ = body.forward_kinematics(motion)
    for bone in ("thigh", "shin", "foot", "upper_arm", "forearm"):
        for side in SIDES:
            assert (world[:, BONE_INDEX[f"{bone}_{side}"], 0, 0] > 0.9).all(), (bone, side)


@pytest.mark.parametrize("own", [None, splayed(20)], ids=["rest", "near"])
def test_a_rest_pose_before_the_motion_is_dropped(tmp_path, own):
    pose, root = squat_and_wave(31)
    with_rest = {key: np.concatenate([np.eye(3)[None], value]) for key, value in pose.items()}
    first = captured(tmp_path, motion=(pose, root))
    second = captured(tmp_path, motion=(with_rest, np.concatenate([root[:1], root])), own=own)
    assert len(second.hips) == 31
    np.testing.assert_allclose(first.hips, second.hips, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_very_short_clips(tmp_path, frames):
    body = load_body(1)
    motion = retarget(captured(tmp_path, motion=squat_and_wave(frames)), body, 0, 1, FPS, 0.0)
    assert np.isfinite(motion.rotations).all() and motion.translation[0, 2] > 0.5


def posed(root, limbs, height, frames=61):
    """A stiff figure with its arms ahead that slides along x. Its root and limbs are rotated about y, degrees."""
    pose, path = squat_and_wave(frames)
    angles = {bone: 0.0 for bone in ("thigh", "shin", "foot")} | limbs
    for side, sign in (("left", -1), ("right", 1)):
        for bone, angle in angles.items():
            pose[f"{bone}_{side}"] = np.tile(rotation_y(np.deg2rad(angle)), (frames, 1, 1))
        pose[f"upper_arm_{side}"] = np.tile(rotation_z(sign * np.pi / 2), (frames, 1, 1))
        pose[f"forearm_{side}"][:] = np.eye(3)
    pose["waist"][:] = pose["head"][:] = np.eye(3)
    pose["root"] = np.tile(rotation_y(np.deg2rad(root)), (frames, 1, 1))
    path[:] = np.stack([np.linspace(0, 0.5, frames), np.zeros(frames), np.full(frames, height)], axis=1)
    return pose, path


@pytest.mark.parametrize(
    "root, limbs, height",
    [(90, dict(thigh=-90, shin=90), 0.5), (75, {}, 0.4), (-90, {}, 0.12), (90, {}, 0.12)],
    ids=["all fours", "plank", "back", "belly"],
)
def test_people_who_crawl_or_lie_are_not_stood_upright(tmp_path, capsys, root, limbs, height):
    capture = captured(tmp_path, "low.bvh", motion=posed(root, limbs, height), up="y")
    assert np.abs(capture.pelvis[:, 2, 2]).max() < 0.3
    axis = "-z" if root < 0 else "z"
    line = f"low.bvh: the rest pose stands along y, shoulders are above feet along {axis}; y is taken for up\n"
    assert capsys.readouterr().err == line


def test_people_who_stand_along_another_axis_than_the_rest_pose_are_followed(tmp_path, capsys, capture):
    pose, root = squat_and_wave()
    over = rotation_y(np.pi / 2)  # from the rest pose's up to the file's z, as converters to z up do
    turned = captured(tmp_path, "z.bvh", motion=(pose | {"root": over @ pose["root"]}, root @ over.T), up="y")
    np.testing.assert_allclose(turned.hips[:, 2], capture.hips[:, 2], atol=1e-4)
    np.testing.assert_allclose(turned.pelvis[:, 2, 2], capture.pelvis[:, 2, 2], atol=1e-4)
    assert "z.bvh: the rest pose stands along y" in (line := capsys.readouterr().err) and "; z is taken" in line


@pytest.mark.parametrize("name", ["Heel", "Hindfoot"])
def test_a_heel_before_the_toes_turns_no_foot(tmp_path, capture, name):
    path = write_figure(tmp_path / "file.bvh")
    heel = rf"\1JOINT \2{name} {{\nOFFSET -0.05 0 -0.05\nEnd Site {{\nOFFSET 0 0 -0.01\n}} }}\n"
    text, count = re.subn(r"(JOINT ([lr])Foot\s+{\s+OFFSET.*\s+CHANNELS.*\n)", heel, path.read_text())
    assert count == 2
    path.write_text(text)
    found = analyze(read_bvh(path), path.name)
    for side in SIDES:
        np.testing.assert_allclose(found.sides[side].foot, capture.sides[side].foot, atol=0.01)


def test_toes_are_known_by_their_name(tmp_path, capture):
    path = write_figure(tmp_path / "file.bvh")
    toes = "\\1JOINT \\2Helper {\nOFFSET -0.2 0 0\n}\nJOINT \\2Toe {\nOFFSET 0.15 0 -0.06\n}\n"
    path.write_text(re.sub(r"(JOINT ([lr])Foot\s+{\s+OFFSET.*\s+CHANNELS.*\n)", toes, path.read_text()))
    found = analyze(read_bvh(path), path.name)
    np.testing.assert_allclose(found.sides["left"].foot, capture.sides["left"].foot, atol=0.01)


@pytest.mark.parametrize(
    "how, message",
    [
        (dict(frames=20, fps=25), "fps is 25; expected a divisor of 30"),
        (dict(frames=20, fps=0), "fps is 0; expected a divisor of 30"),
        (dict(frames=48, fps=10), "48 frames at 10 fps from 0 on reach to 142 of figure; expected .* its 61 analyzed"),
        (dict(frames=20, fps=10, start=4), "from 4 on reach to 62 of figure"),
        (dict(frames=0, fps=10), "0 frames at 10 fps"),
    ],
)
def test_frames_that_are_not_there_and_odd_rates_are_named(capture, how, message):
    with pytest.raises(UserError, match=message):
        retarget(capture, load_body(1), **{"start": 0, "heading": 0.0, **how})
    assert len(retarget(capture, load_body(1), 0, 21, 10, 0.0).translation) == 21


@pytest.mark.parametrize(
    "joint, message",
    [
        ("Shin", "file.bvh: left hip and left knee are at one place; expected a distance"),
        ("ForeArm", "file.bvh: left shoulder and left elbow are at one place"),
        ("Hand", "file.bvh: left elbow and left wrist are at one place"),
        ("Thigh", "file.bvh: left hip and right hip are at one place"),
    ],
)
def test_joints_at_one_place_are_named(tmp_path, joint, message):
    path = write_figure(tmp_path / "file.bvh")
    offset = rf"(JOINT [lr]{joint}\s+{{\s+OFFSET).*"
    path.write_text(re.sub(offset, r"\1 0 0 0", path.read_text()))
    with pytest.raises(UserError, match=message):
        analyze(read_bvh(path), path.name)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("lShin", "lStilt", "file.bvh: no joint for 'left knee'; expected one of lShin, LeftLeg, "),
        ("rShldr", "wing", "file.bvh: no joint for 'right shoulder'; expected one of rShldr, RightArm, "),
        ("lHand", "paw", "the file has hip, abdomen, chest, neck, head, "),
    ],
)
def test_a_missing_joint_is_named(tmp_path, old, new, message):
    path = write_figure(tmp_path / "file.bvh")
    path.write_text(path.read_text().replace(f"JOINT {old}\n", f"JOINT {new}\n"))
    with pytest.raises(UserError) as error:
        analyze(read_bvh(path), path.name)
    assert message in str(error.value)


def end_feet_at_ankles(path, end):
    """Remove what a foot's joint has in a file, or put its end site at the joint."""
    foot = r"(JOINT [lr]Foot\s+{\s+OFFSET.*\s+CHANNELS.*\s+)End Site\s+{\s+OFFSET.*\s+}"
    text, count = re.subn(foot, rf"\1{end}", path.read_text())
    assert count == 2
    path.write_text(text)
    return path


@pytest.mark.parametrize("end", ["", "End Site\n{\nOFFSET 0 0 0\n}"], ids=["no child", "end site at the ankle"])
def test_feet_without_toes_move_like_feet_with_toes(tmp_path, end):
    path = write_figure(tmp_path / "file.bvh", motion=squat_and_wave(91, jump=0.4))
    toes = analyze(read_bvh(path), path.name)
    cut = analyze(read_bvh(end_feet_at_ankles(path, end)), path.name)
    np.testing.assert_allclose(cut.hips, toes.hips, atol=0.01)
    for side in SIDES:
        assert (cut.sides[side].planted == toes.sides[side].planted).mean() > 0.95
        np.testing.assert_allclose(cut.sides[side].sole, toes.sides[side].sole, atol=0.01)
        np.testing.assert_allclose(cut.sides[side].foot, toes.sides[side].foot, atol=0.01)


def test_swapped_sides_are_noticed_by_the_knees_where_feet_have_no_toes(tmp_path):
    path = end_feet_at_ankles(write_figure(tmp_path / "file.bvh"), "")
    path.write_text(path.read_text().replace(" l", " #").replace(" r", " l").replace(" #", " r"))
    with pytest.raises(UserError, match=r"file\.bvh: the knees bend forward; expected left and right joints"):
        analyze(read_bvh(path), path.name)


def test_swapped_sides_are_noticed(tmp_path):
    path = write_figure(tmp_path / "file.bvh")
    swapped = path.read_text().replace(" l", " #").replace(" r", " l").replace(" #", " r")
    path.write_text(swapped)
    with pytest.raises(UserError, match=r"file\.bvh: the feet point backwards"):
        analyze(read_bvh(path), path.name)


@pytest.mark.parametrize(
    "names",
    [
        {"lThigh": "mixamorig:LeftUpLeg", "lShldr": "mixamorig:LeftArm", "lFoot": "mixamorig:LeftFoot"},
        {"lThigh": "L_Hip", "lShin": "L_Knee", "lFoot": "L_Ankle", "lShldr": "L_Shoulder", "lHand": "L_Wrist"},
        {"lThigh": "thigh.L", "lShin": "shin.L", "lFoot": "foot.L", "lShldr": "upper_arm.L", "lForeArm": "forearm.L"},
        {
            "lThigh": "LeftHip",
            "lShin": "LeftKnee",
            "lFoot": "LeftAnkle",
            "lShldr": "LeftShoulder",
            "lHand": "LeftWrist",
        },
        {"lThigh": "Bip01 L Thigh", "lShin": "Bip01 L Calf", "lShldr": "Bip01 L UpperArm", "head": "Bip01 Head"},
    ],
    ids=["mixamo", "smpl", "blender", "max", "biped"],
)
def test_names_of_other_tools(tmp_path, capture, names):
    path = write_figure(tmp_path / "file.bvh")
    text = path.read_text()
    for old, new in names.items():
        text = text.replace(f"JOINT {old}\n", f"JOINT {new}\n")
    path.write_text(text)
    np.testing.assert_allclose(analyze(read_bvh(path), path.name).sides["left"].shin, capture.sides["left"].shin)
