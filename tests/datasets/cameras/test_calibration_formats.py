"""Calibrations of other programs describe the same cameras as the project's own file, or name what is wrong."""

import json
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2

from datasets.cameras.calibration import UP_AXES, check_camera_name, check_cameras, read_calibration
from datasets.cameras.calibration_writers import write_json_calibration, write_toml_calibration
from datasets.cameras.camera import Camera
from datasets.cameras.plausibility import notes_on_cameras
from tests.damage import assert_refused_or_read
from tests.synthetic import ring_cameras
from tests.tiny import ROOT
from utils.errors import UserError

AXES = np.diag([1, -1, -1])


@pytest.fixture
def cameras():
    rotation, center = ring_cameras(2)
    intrinsics = np.array([[900.0, 0, 320.5], [0, 910, 236.25], [0, 0, 1]])
    distortion = np.array([-0.1, 0.02, 0.001, -0.002, 0])
    return {
        name: Camera(rotation[c], center[c], intrinsics, distortion, 640, 480)
        for c, name in enumerate(("left", "right"))
    }


def assert_same(found, cameras):
    assert list(found) == list(cameras)
    for name, camera in cameras.items():
        for value, expected in zip(found[name], camera, strict=True):
            np.testing.assert_allclose(value, expected, atol=1e-9)


def toml(cameras, vectors=True, head="[{name}]", extra=""):
    tables = []
    for name, camera in cameras.items():
        rotation = cv2.Rodrigues(camera.rotation)[0].ravel() if vectors else camera.rotation
        tables.append(
            f"{head.format(name=name)}\nsize = [{camera.width}.0, {camera.height}.0]\n"
            f"matrix = {camera.intrinsics.tolist()}\ndistortions = {camera.distortion[:4].tolist()}\n"
            f"rotation = {rotation.tolist()}\ntranslation = {(-camera.rotation @ camera.center).tolist()}\n{extra}"
        )
    return "\n".join([*tables, "[metadata]\nerror = 0.1\n"])


def qualisys(cameras, left=0):
    root = ElementTree.Element("calibration")
    for name, camera in cameras.items():
        element = ElementTree.SubElement(ElementTree.SubElement(root, "cameras"), "camera", serial=name)
        corner = {"left": left, "top": 0, "right": left + camera.width - 1, "bottom": camera.height - 1}
        ElementTree.SubElement(element, "fov_video", {key: str(value) for key, value in corner.items()})
        rotation, center = AXES @ camera.rotation, 1000 * camera.center
        values = {f"r{i + 1}{j + 1}": rotation[i, j] for i in range(3) for j in range(3)}
        values |= dict(zip("xyz", center, strict=True))
        ElementTree.SubElement(element, "transform", {key: str(value) for key, value in values.items()})
        matrix, (k1, k2, p1, p2, k3) = 64 * camera.intrinsics, camera.distortion
        values = {
            "focalLengthU": matrix[0, 0], "focalLengthV": matrix[1, 1], "centerPointU": matrix[0, 2] + 64 * left,
            "centerPointV": matrix[1, 2], "radialDistortion1": k1, "radialDistortion2": k2, "radialDistortion3": k3,
            "tangentalDistortion1": p1, "tangentalDistortion2": p2,
        }  # fmt: skip
        ElementTree.SubElement(element, "intrinsic", {key: str(value) for key, value in values.items()})
    return ElementTree.tostring(root, encoding="unicode")


@pytest.mark.parametrize("options", [{}, {"vectors": False}])
def test_toml(cameras, tmp_path, options):
    (tmp_path / "Calib.toml").write_text(toml(cameras, **options))
    assert_same(read_calibration(tmp_path / "Calib.toml").cameras, cameras)


def test_names_with_spaces_are_read_as_they_are_written(cameras, tmp_path):
    named = {"GoPro 1": cameras["left"], "GoPro 2.b": cameras["right"]}
    write_json_calibration(tmp_path / "c.json", named)
    write_toml_calibration(tmp_path / "c.toml", named)
    for file in ("c.json", "c.toml"):
        assert_same(read_calibration(tmp_path / file).cameras, named)


@pytest.mark.parametrize("name", ["a/b", " a", "a ", "a  b", "", "a\nb", "a:b", "é" * 116])
def test_names_that_are_no_part_of_a_file_name_are_refused(name):
    with pytest.raises(UserError, match=r"^here; expected a name of letters"):
        check_camera_name(name, "here")


def test_toml_of_caliscope_names_cameras_by_number(cameras, tmp_path):
    numbered = {"cam_0": cameras["left"], "cam_1": cameras["right"]}
    (tmp_path / "array.toml").write_text(toml({"0": cameras["left"], "1": cameras["right"]}, head="[cameras.{name}]"))
    assert_same(read_calibration(tmp_path / "array.toml").cameras, numbered)


@pytest.mark.parametrize("left", [0, 16])
def test_qualisys(cameras, tmp_path, left):
    (tmp_path / "Calib.qca.txt").write_text(qualisys(cameras, left))
    assert_same(read_calibration(tmp_path / "Calib.qca.txt").cameras, cameras)


def test_rotated_views_of_qualisys_are_a_note(cameras, tmp_path):
    path = tmp_path / "Calib.qca.txt"
    path.write_text(qualisys(cameras).replace('serial="right"', 'serial="right" viewrotation="180"'))
    found = read_calibration(path)
    assert_same(found.cameras, cameras)
    assert not notes_on_cameras(found, {"left": cameras["left"]})
    (note,) = notes_on_cameras(found, cameras)
    assert note.startswith("camera 'right': viewrotation 180 in the calibration is not applied: ")


def write_yaml(cameras, folder):
    stores = [cv2.FileStorage(str(folder / f"{name}.yml"), cv2.FILE_STORAGE_WRITE) for name in ("intri", "extri")]
    for store in stores:
        store.startWriteStruct("names", cv2.FileNode_SEQ)
        for name in cameras:
            store.write("", name)
        store.endWriteStruct()
    for name, camera in cameras.items():
        stores[0].write(f"K_{name}", camera.intrinsics)
        stores[0].write(f"dist_{name}", camera.distortion[None])
        stores[1].write(f"Rot_{name}", camera.rotation)
        stores[1].write(f"T_{name}", (-camera.rotation @ camera.center)[:, None])
    for store in stores:
        store.release()


def test_yaml_of_opencv_has_no_size(cameras, tmp_path):
    write_yaml(cameras, tmp_path)
    unsized = {name: camera._replace(width=0, height=0) for name, camera in cameras.items()}
    for name in ("intri", "extri"):
        assert_same(read_calibration(tmp_path / f"{name}.yml").cameras, unsized)
    (tmp_path / "extri.yml").unlink()
    with pytest.raises(UserError, match=r"no file .*extri\.yml"):
        read_calibration(tmp_path / "intri.yml")


def test_yaml_with_other_names_of_easymocap(cameras, tmp_path):
    """It reads D_ in place of dist_, and sizes."""
    write_yaml(cameras, tmp_path)
    text = (tmp_path / "intri.yml").read_text().replace("dist_", "D_")
    (tmp_path / "intri.yml").write_text(text + "".join(f"H_{name}: 480\nW_{name}: 640.000\n" for name in cameras))
    assert_same(read_calibration(tmp_path / "extri.yml").cameras, cameras)
    (tmp_path / "intri.yml").write_text(text + "W_left: 640\n")
    with pytest.raises(UserError, match=r"camera 'left': image of 640x0; expected its width and height"):
        read_calibration(tmp_path / "intri.yml")


def without_pose(text):
    """A TOML file whose last camera is nowhere."""
    start, end = text.rindex("rotation"), text.index("[metadata]")
    return text[:start] + text[end:]


@pytest.mark.parametrize("pose", ["", 'rotation = "null"\ntranslation = "null"\n'])
def test_a_camera_without_a_pose_may_go_unused(cameras, tmp_path, pose):
    """Caliscope writes those that it could not place; older versions with the text "null"."""
    left, right = cameras
    (tmp_path / "c.toml").write_text(without_pose(toml(cameras)).replace("[metadata]", f"{pose}[metadata]"))
    content = {"width": 640, "height": 480, "K": [900, 0, 320, 0, 900, 240, 0, 0, 1]}
    posed = {**content, "R": np.eye(3).tolist(), "t": [0, 0, 0]}
    (tmp_path / "c.json").write_text(json.dumps({"cameras": {left: posed, right: content}}))
    for name in ("c.toml", "c.json"):
        found = read_calibration(tmp_path / name)
        assert list(found.cameras) == [left] and list(found.unusable) == [right]
        check_cameras(found, [left], name)
        with pytest.raises(UserError, match=rf"camera 'right' has no pose in {name}; expected R and t"):
            check_cameras(found, cameras, name)
        with pytest.raises(UserError, match=rf"no camera 'back' in {name}; it has left \(a video is named"):
            check_cameras(found, ["back"], name)
    (tmp_path / "c.json").write_text(json.dumps({"cameras": {left: content}}))
    with pytest.raises(UserError, match=r"c\.json: no camera can be used; 'left' has no pose; expected R and t"):
        read_calibration(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("c.toml", ("[right]", "[right]\nfisheye = true"), "has a fisheye lens in .*; expected a standard one"),
        (
            "array.toml",
            ("[cameras.1]", "[cameras.1]\nfisheye = true"),
            "has a fisheye lens in .*; expected a standard one",
        ),
        (
            "array.toml",
            ("[cameras.1]", "[cameras.1]\nrotation_count = 1"),
            r"has rotation_count 1 in .*; expected 0 \(rotate",
        ),
        ("c.qca.txt", ('serial="right"', 'serial="right" calibrated="false"'), "is not calibrated in .*; expected"),
    ],
)
def test_a_camera_that_cannot_be_used_may_go_unused(cameras, tmp_path, name, change, message):
    """One fisheye camera made the whole calibration unreadable."""
    head, (left, right) = "[{name}]", cameras
    if name == "array.toml":
        cameras = {"0": cameras[left], "1": cameras[right]}
        head, left, right = "[cameras.{name}]", "cam_0", "cam_1"
    text = toml(cameras, head=head) if name.endswith("toml") else qualisys(cameras)
    path = tmp_path / name
    path.write_text(text.replace(*change))
    found = read_calibration(path)
    assert list(found.cameras) == [left] and list(found.unusable) == [right]
    check_cameras(found, [left], path)
    with pytest.raises(UserError, match=f"camera '{right}' {message}"):
        check_cameras(found, [left, right], path)
    if name == "c.toml":
        path.write_text(text.replace("[left]", "[left]\nfisheye = true").replace(*change))
        with pytest.raises(UserError, match=r"c\.toml: no camera can be used; 'left' has a fisheye lens; expected"):
            read_calibration(path)


@pytest.mark.parametrize("name", ["c.toml", "c.qca.txt", "c.json", "intri.yml"])
def test_two_cameras_of_one_name_are_refused(cameras, tmp_path, name):
    """The last one took the place of the first."""
    if name == "intri.yml":
        write_yaml(cameras, tmp_path)
        text = (tmp_path / name).read_text().replace("right", "left", 1)
    elif name == "c.toml":
        text = toml(cameras, head="[{name}]\nname = 'left'")
    elif name == "c.json":
        text = json.dumps({"cameras": {"left": {}, "right": {}}}).replace("right", "left")
    else:
        text = qualisys(cameras).replace('serial="right"', 'serial="left"')
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=r"two cameras are named 'left'|it names 'left' twice"):
        read_calibration(tmp_path / name)


def test_a_yaml_file_of_another_name_is_not_read_as_those_beside_it(cameras, tmp_path):
    write_yaml(cameras, tmp_path)
    (tmp_path / "other.yml").write_text("names: []\n")
    with pytest.raises(UserError, match=r"other\.yml is neither intri\.yml nor extri\.yml; expected one of them"):
        read_calibration(tmp_path / "other.yml")


@pytest.mark.parametrize("key", ["intri: K_left", "intri: dist_right", "extri: Rot_left", "extri: T_right"])
def test_a_key_that_yaml_has_twice_is_refused(cameras, tmp_path, key):
    """The last one was taken in silence."""
    write_yaml(cameras, tmp_path)
    file, key = key.split(": ")
    text = (tmp_path / f"{file}.yml").read_text()
    first = text[: text.index(f"{key}:")].count("\n") + 1
    last = text.count("\n") + 1
    (tmp_path / f"{file}.yml").write_text(text + text[text.index(f"{key}:") :].replace("1", "2"))
    with pytest.raises(
        UserError, match=rf"{file}\.yml: '{key}' in line {last} is in line {first} too; expected it once"
    ):
        read_calibration(tmp_path / "intri.yml")


@pytest.mark.parametrize(
    ("file", "lines", "message"),
    [
        ("intri", "D_left: {data: [-0.1, 0.02, 0.001, -0.002]}", None),
        (
            "intri",
            "D_left: {data: [-0.3, 0.02, 0.001, -0.002]}",
            r"intri\.yml: 'dist_left' and 'D_left' differ by 0\.2",
        ),
        ("extri", "R_right: {data: [0, 0, 2]}", r"extri\.yml: 'Rot_right' and 'R_right' differ by .*; expected one of"),
    ],
)
def test_two_values_of_a_camera_that_differ_are_refused(cameras, tmp_path, file, lines, message):
    """One of them was taken in silence."""
    write_yaml(cameras, tmp_path)
    with open(tmp_path / "extri.yml", "a") as store:
        store.write(f"R_left: {{data: {cv2.Rodrigues(cameras['left'].rotation)[0].ravel().round(4).tolist()}}}\n")
    before = read_calibration(tmp_path / "intri.yml").cameras
    np.testing.assert_allclose(before["left"].rotation, cameras["left"].rotation, atol=1e-9)
    with open(tmp_path / f"{file}.yml", "a") as store:
        store.write(f"{lines}\n")
    if message is None:
        assert_same(read_calibration(tmp_path / "intri.yml").cameras, before)
    else:
        with pytest.raises(UserError, match=message):
            read_calibration(tmp_path / "intri.yml")


@pytest.mark.parametrize("up", ["-y", "y", "x"])
@pytest.mark.parametrize("name", ["metadata.toml", "top.toml", "c.qca.txt", "intri.yml"])
def test_unit_and_up_may_be_given_in_each_format(cameras, tmp_path, name, up):
    turn = UP_AXES[up]
    # Qualisys' files are in millimeters by themselves.
    scale = 1 if name.endswith("txt") else 1000
    there = {
        key: camera._replace(rotation=camera.rotation @ turn, center=scale * turn.T @ camera.center)
        for key, camera in cameras.items()
    }
    path, unit = tmp_path / name, f'unit = "mm"\nup = "{up}"\n'
    if name.endswith("yml"):
        write_yaml(there, tmp_path)
        with open(tmp_path / "extri.yml", "a") as file:
            file.write(f'unit: "mm"\nup: "{up}"\n')
        cameras = {key: camera._replace(width=0, height=0) for key, camera in cameras.items()}
    elif name.endswith("txt"):
        path.write_text(qualisys(there).replace("<calibration", f'<calibration up="{up}"'))
    else:
        path.write_text(unit + toml(there) if name.startswith("top") else toml(there) + unit)
    assert_same(read_calibration(path).cameras, cameras)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("c.toml", lambda text: text + 'units = "mm"', r"\[metadata\]: 'units' is not read; expected 'unit'"),
        ("c.toml", lambda text: 'Up = "y"\n' + text, r"c\.toml: 'Up' is not read; expected 'up'"),
        ("c.toml", lambda text: text + 'up_axis = "y"', "'up_axis' is not read; expected 'up'"),
        ("c.toml", lambda text: 'unit = "cm"\n' + text + 'unit = "mm"', "'unit' is 'mm', but 'cm' before; expected it"),
        (
            "c.toml",
            lambda text: text[: text.index("[metadata]")] + 'unit = "mm"',
            r"'unit' is in \[right\]; exp",
        ),
        ("c.toml", lambda text: text.replace("[metadata]", "[Metadata]") + 'up = "y"', r"'up' is in \[Metadata\]; exp"),
        ("array.toml", lambda text: text[: text.index("[metadata]")] + 'up = "y"', r"'up' is in \[1\]; expected it"),
        (
            "c.qca.txt",
            lambda text: text.replace("<calibration", '<calibration Up="y"'),
            "'Up' is not read; expected 'up'",
        ),
        ("intri.yml", lambda text: text + 'units: "mm"\n', r"intri\.yml: 'units' is not read; expected 'unit'"),
        ("extri.yml", lambda text: text + 'Unit: "mm"\n', r"extri\.yml: 'Unit' is not read; expected 'unit'"),
    ],
)
def test_misspelled_and_misplaced_units_are_refused(cameras, tmp_path, name, change, message):
    """They were ignored, and millimeters were taken for meters."""
    path = tmp_path / name
    if name.endswith("yml"):
        write_yaml(cameras, tmp_path)
    elif name == "array.toml":
        path.write_text(toml(dict(zip("01", cameras.values(), strict=True)), head="[cameras.{name}]"))
    else:
        path.write_text(toml(cameras) if name.endswith("toml") else qualisys(cameras))
    read_calibration(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=message):
        read_calibration(path)


@pytest.mark.parametrize("count", [5, 8, 12, 14])
def test_long_distortions_are_opencvs(tmp_path, count):
    values = np.random.default_rng(count).normal(0, 0.01, count)
    fields = {"width": 640, "height": 480, "K": [900, 0, 320, 0, 900, 240, 0, 0, 1], "R": np.eye(3).tolist()}
    content = {"cameras": {"a": {**fields, "t": [0, 0, 0], "distortion": values.tolist()}}}
    # Notepad writes a byte order mark.
    (tmp_path / "c.json").write_text(json.dumps(content), encoding="utf-8-sig")
    camera = read_calibration(tmp_path / "c.json").cameras["a"]
    point = np.array([[0.2, -0.1, 1.0]])
    expected, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), camera.intrinsics, values)
    np.testing.assert_allclose(camera.project(point), expected[0], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("c.toml", lambda text: text.replace("[metadata]", "["), "is not valid TOML"),
        ("c.toml", lambda text: text.replace("translation", "position"), r"camera 'left': no 'translation'"),
        ("c.toml", lambda text: text + 'unit = "inch"', "'unit' is 'inch'; expected one of m, cm, mm"),
        ("c.toml", lambda text: text + "up = 3", "'up' is 3; expected one of z, -z, y"),
        ("c.qca.txt", lambda text: text.replace("<calibration", '<calibration up="w"'), "'up' is 'w'"),
        ("c.qca.txt", lambda text: text[:-5], "is not valid XML"),
        ("c.qca.txt", lambda text: text.replace("intrinsic", "other"), r"camera 'left': no 'intrinsic'"),
        ("c.qca.txt", lambda text: text.replace("focalLengthU", "focal"), "no 'focalLengthU'"),
        ("c.qca.txt", lambda text: text.replace('r11="', 'r11="x'), "expected numbers"),
    ],
)  # fmt: skip
def test_wrong_files_are_named(cameras, tmp_path, name, change, message):
    text = toml(cameras) if name.endswith("toml") else qualisys(cameras)
    (tmp_path / name).write_text(change(text))
    with pytest.raises(UserError, match=message):
        read_calibration(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "v.xcp",
            "<Cameras></Cameras>",
            r"v\.xcp: calibrations with this ending are not read; expected JSON \(.*Qualisys",
        ),
        ("c.npz", "PK", "calibrations with this ending are not read"),
        ("calib", "{}", "calibrations with this ending are not read"),
        ("c.xml", "<opencv_storage></opencv_storage>", r"no 'cameras'; expected cameras by name, in .*intri\.yml"),
        ("c.toml", "a = 1", r"no 'cameras'; expected cameras by name, in JSON \(\.json"),
        ("c.toml", "", r"cannot be read \(it is empty\); expected a calibration, JSON \(\.json"),
        ("c.txt", "", r"cannot be read \(it is empty\)"),
        ("c.toml", "version https://git-lfs.github.com/spec/v1", r"it is a Git LFS pointer"),
        ("c.json", '{"cameras": {"a": {}}, "notes": {}}', "unknown field 'notes'"),
    ],
)
def test_files_that_are_no_calibration_name_those_that_are_read(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_calibration(tmp_path / name)


def test_a_missing_package_is_one_line(cameras, tmp_path, monkeypatch):
    (tmp_path / "c.toml").write_text(toml(cameras))
    # As Python 3.10 is without the package.
    for module in ("tomllib", "tomli"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"TOML files need the package 'tomli' here: pip install .*video"):
        read_calibration(tmp_path / "c.toml")


def test_extras_for_videos_read_all_formats():
    extras = dict(re.findall(r"^(\w+) = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE))
    for name in ("video", "detect", "estimate"):
        assert "pyyaml" in extras[name] and 'tomli>=2; python_version < "3.11"' in extras[name], name


@pytest.mark.parametrize("name", ["c.toml", "c.qca.txt", "intri.yml", "extri.yml"])
def test_random_damage_is_read_or_is_one_line(cameras, tmp_path, name):
    """A seeded fuzz."""
    if name.endswith("yml"):
        write_yaml(cameras, tmp_path)
    else:
        (tmp_path / name).write_text(toml(cameras) if name.endswith("toml") else qualisys(cameras))
    assert_refused_or_read(read_calibration, tmp_path / name, 150)


def test_the_recording_in_the_box():
    cameras = read_calibration(ROOT / "examples/recording/Calib.qca.txt").cameras
    assert list(cameras) == ["cam01", "cam02", "cam03", "cam04"]
    assert {(camera.width, camera.height) for camera in cameras.values()} == {(1088, 1920)}
    # All look at the treadmill around the origin, from 2.5 to 4.5 m away.
    for camera in cameras.values():
        assert camera.sees(camera.world_to_cam(np.zeros(3))) and 2.5 < np.linalg.norm(camera.center) < 4.7
