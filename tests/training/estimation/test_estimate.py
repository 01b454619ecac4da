"""The command `estimate` and `pose_from_photo` on frames of the recording in the box."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2")
pytest.importorskip("av")
pytest.importorskip("ai_edge_litert")
pytest.importorskip("scipy")
pytest.importorskip("ezc3d")

import geometry_aware_pose
from configs import estimate_poses
from datasets.video.frames import count_frames, read_frames
from geometry_aware_pose import hub
from tests.tiny import ROOT
from tests.video_files import write_video
from training.estimation import crop_poses, estimate
from training.exports import c3d_file
from training.exports.formats import FORMATS
from utils.errors import UserError
from utils.locks import writing
from utils.readers import read_json
from utils.skeleton import JOINT_NAMES

RECORDING = ROOT / "examples/recording"
NAMES = ("cam01", "cam03", "cam04")
VIDEO = str(RECORDING / "videos/cam03.mp4")
FRAMES = 4


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["estimate", *map(str, arguments), "--workers", "1", "--device", "cpu"])
    estimate_poses.main()
    return capsys.readouterr().out


def content(folder):
    with np.load(folder, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """The first frames of three cameras at half their size: options of the command, and the true poses."""
    folder = tmp_path_factory.mktemp("clips")
    calibration = json.loads((RECORDING / "cameras.json").read_text())
    calibration["cameras"] = {name: calibration["cameras"][name] for name in NAMES}
    for name, camera in calibration["cameras"].items():
        frames = [frame for _, frame in read_frames(RECORDING / f"videos/{name}.mp4", range(FRAMES))]
        write_video(folder / f"{name}.mp4", (frame[::2, ::2] for frame in frames), fps=60, crf=20)
        # Every second pixel from the first one: pixel 2 is pixel 1.
        matrix = np.array(camera["K"]) / 2
        matrix[2, 2] = 1
        camera |= {"K": matrix.tolist(), "width": camera["width"] // 2, "height": camera["height"] // 2}
    (folder / "cameras.json").write_text(json.dumps(calibration))
    poses = np.load(RECORDING / "poses.npz", allow_pickle=False)["poses"][:FRAMES]
    return [*(folder / f"{name}.mp4" for name in NAMES), "--calibration", folder / "cameras.json"], poses


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A frame of the recording, and the same picture small, in files."""
    folder = tmp_path_factory.mktemp("photos")
    frame = next(read_frames(VIDEO, [0]))[1]
    Image.fromarray(frame).resize((540, 960)).save(folder / "man.png")
    Image.fromarray(np.full((64, 64, 3), 120, np.uint8)).save(folder / "gray.png")
    return folder


def test_calibrated_cameras(clips, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    given, truth = [*clips[0], "--keep-cameras", "--output", out], clips[1]
    # Killed between two cameras: what is done stays, and the same command goes on.
    estimate_one, left = crop_poses._estimate, [2]

    def killed(*arguments):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return estimate_one(*arguments)

    monkeypatch.setattr(crop_poses, "_estimate", killed)
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, capsys, *given)
    done = (out / "cameras/cam01.npz").stat().st_mtime_ns
    assert not (out / "report.txt").exists() and not (out / "poses.npz").exists()
    monkeypatch.setattr(crop_poses, "_estimate", estimate_one)
    report = run(monkeypatch, capsys, *given)
    assert (out / "cameras/cam01.npz").stat().st_mtime_ns == done
    assert "poses: 4 of 4 instants" in report and "where the root comes from" in report
    found = content(out / "poses.npz")
    assert str(found["space"]) == "world" and found["rate"] == pytest.approx(60, rel=1e-3)
    assert str(found["label_source"]) == "estimated by the network 'wild128', not measured"
    assert np.linalg.norm(found["poses"][:, 0] - truth[:, 0], axis=-1).max() < 0.1
    assert (found["poses"][:, JOINT_NAMES.index("head_top"), 2] > found["poses"][:, 0, 2]).all()
    assert ((found["trust"] > 0) & (found["trust"] <= 1)).all()
    for name in FORMATS:
        assert (out / f"poses.{name}").is_file()
    assert count_frames(out / "poses_cam04.mp4") == 4
    # A finished folder stays as it is; other options need another folder; a second writer is refused.
    assert run(monkeypatch, capsys, *given) == report
    with pytest.raises(UserError, match=r"expected \{'smooth': 'none'\}, or an empty folder"):
        run(monkeypatch, capsys, *given, "--smooth", "none")
    with writing(out), pytest.raises(UserError, match="is being written by this process"):
        run(monkeypatch, capsys, *given)


def test_triangulated_joints_replace_those_of_the_network(clips, tmp_path, monkeypatch, capsys):
    given, truth = clips
    given = [*given, "--every", "3", "--keep-cameras", "--triangulate"]
    run(monkeypatch, capsys, *given, "--formats", "npz", "--no-video", "--smooth", "none", "--output", tmp_path / "out")
    found = content(tmp_path / "out/poses.npz")
    assert np.median(np.linalg.norm(found["poses"] - truth[::3], axis=-1)) < 0.06
    assert str(found["label_source"]).startswith("triangulated from") and "network" in str(found["label_source"])
    files = ["estimate.json", "poses.npz", "poses_cameras.json", "report.txt"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.*")) == files


def test_pictures_and_videos_alone(photo, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    report = run(monkeypatch, capsys, photo / "man.png", photo / "gray.png", "--formats", "csv", "npz", "--output", out)
    assert "man: 1 of 1 instants" in report and "gray: 0 of 1" in report and "nobody was found" in report
    assert {path.name for path in out.iterdir()} >= {"man.csv", "man.npz", "man.mp4"}
    assert not list(out.glob("gray.*"))
    found = content(out / "man.npz")
    assert str(found["space"]) == "camera"
    root = found["poses"][0, 0]
    # He stands at about the middle of the picture, some meters away.
    assert 2 < root[2] < 9 and abs(root[0]) < 1.5 and found["poses"][0, JOINT_NAMES.index("head_top"), 1] < root[1]


def test_one_calibrated_camera_gives_the_world(clips, tmp_path, monkeypatch, capsys):
    given = [*clips[0][2:], "--formats", "npz", "--no-video"]
    run(monkeypatch, capsys, *given, "--output", tmp_path / "out")
    found = content(tmp_path / "out/cam04.npz")
    assert str(found["space"]) == "world"
    assert np.linalg.norm(found["poses"][:, 0] - clips[1][:, 0], axis=-1).max() < 0.5


def test_pose_from_photo(photo):
    pytest.importorskip("torch")
    poses, roots, picture = geometry_aware_pose.pose_from_photo(photo / "man.png", device="cpu")
    assert poses.shape == (1, 17, 3) and roots.shape == (1, 3) and picture.size == (540, 960)
    assert np.abs(poses[:, 0]).max() < 1e-3 and 0 < poses.trust[0] <= 1 and not poses.flagged[0]
    assert (np.asarray(picture) != np.asarray(Image.open(photo / "man.png"))).any()
    nobody = geometry_aware_pose.pose_from_photo(np.full((50, 80, 3), 90, np.uint8), device="cpu")
    assert nobody.poses.shape == (0, 17, 3) and nobody.picture.size == (80, 50)
    assert [nobody.poses.trust.shape, nobody.poses.expected_error.shape, nobody.poses.flagged.shape] == [(0,)] * 3
    assert nobody.poses.flagged.dtype == poses.flagged.dtype
    with pytest.raises(UserError, match=r"a photograph is list; expected a file, a PIL image, or uint8 RGB"):
        geometry_aware_pose.pose_from_photo([1], device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.mp4"], "no video 'nothing.mp4'; expected videos, pictures, or folders of pictures"),
        ([VIDEO, VIDEO], "two videos of camera 'cam03'"),
        ([f"={VIDEO}"], "gives camera '' the file"),
        ([f"a/b={VIDEO}"], "gives camera 'a/b' the file"),
        ([VIDEO, "--triangulate"], "--triangulate with one camera, or without --calibration"),
        ([VIDEO, "--keep-cameras"], "--keep-cameras with one camera, or without --calibration"),
        ([VIDEO, "--offsets", "cam03=2"], "--offsets without several calibrated cameras"),
        ([VIDEO, "--calibration", "c.json", "--field", "90"], "--field is 90 with --calibration, which tells"),
        ([VIDEO, "--formats", "fbx"], "unknown format 'fbx'"),
        ([VIDEO, "--every", "0"], "every is 0"),
        ([VIDEO, "--field", "500"], "field of view is 500 degrees"),
        ([VIDEO, "--network", "missing.pth"], "weights 'missing.pth' do not exist"),
        ([f"x={VIDEO}", "--calibration", str(RECORDING / "cameras.json")], "no camera 'x' in the calibration"),
        ([VIDEO, "--calibration", "none.json"], "no file 'none.json'; expected a calibration"),
    ],
)
def test_bad_input(arguments, message, tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        run(monkeypatch, capsys, *arguments, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [[], ["--calibration", RECORDING / "cameras.json"]])
def test_pictures_of_several_sizes_are_an_error_before_anything_is_written(options, tmp_path, monkeypatch, capsys):
    for name, color in zip(NAMES, ("black", "gray"), strict=False):
        (tmp_path / name).mkdir()
        for number, size in enumerate([(1080, 1920), (540, 960)]):
            Image.new("RGB", size, color).save(tmp_path / name / f"{number}.jpg")
    with pytest.raises(UserError, match=r"1\.jpg is 540x960 px; expected 1080x1920 px as 0\.jpg"):
        run(monkeypatch, capsys, *(tmp_path / name for name in NAMES[:2]), *options, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_mark_of_the_folder_holds_both_files_of_a_calibration(tmp_path):
    files, found = [tmp_path / "intri.yml", tmp_path / "extri.yml"], set()
    for contents in (("a", "b"), ("c", "b"), ("c", "d")):
        for file, content in zip(files, contents, strict=True):
            file.write_text(content)
        found |= {estimate._job({}, file, "wild128", "", (), estimate.Choices())["files"] for file in files}
    assert len(found) == 3


def test_the_mark_of_weights_whose_path_is_not_utf8_is_read_again(tmp_path):
    mark, job = tmp_path / "estimate.json", estimate._job({}, None, "caf\udce9", "", (), estimate.Choices())
    mark.write_text(json.dumps(job))
    assert read_json(mark)["network"] == r"caf\udce9"


def test_the_mark_of_the_folder_is_json(photo, tmp_path, monkeypatch, capsys):
    run(monkeypatch, capsys, photo / "gray.png", "--output", tmp_path / "out")
    assert json.loads((tmp_path / "out/estimate.json").read_text())["network"] == "wild128"


def test_poses_of_other_weights_in_the_same_file_are_another_job(photo, tmp_path, monkeypatch, capsys):
    # Nobody is in the picture: the network is never asked.
    monkeypatch.setattr(hub, "pose_from_crop", lambda *_, **__: SimpleNamespace(network=SimpleNamespace(size=64)))
    file = tmp_path / "run/models/network_best_val_t1.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"first")
    given = [photo / "gray.png", "--network", tmp_path / "run", "--output", tmp_path / "out"]
    report = run(monkeypatch, capsys, *given)
    assert run(monkeypatch, capsys, *given) == report
    # As a training does that goes on.
    file.write_bytes(b"better")
    with pytest.raises(UserError, match=r"holds a set of \{'weights': '\w+'\}; expected \{'weights': '\w+'\}"):
        run(monkeypatch, capsys, *given)
    # Folders of earlier versions do not say which weights their poses are of.
    mark = tmp_path / "out/estimate.json"
    mark.write_text(json.dumps({key: value for key, value in json.loads(mark.read_text()).items() if key != "weights"}))
    with pytest.raises(UserError, match=r"holds a set of \{'weights': None\}; expected"):
        run(monkeypatch, capsys, *given)


@pytest.mark.parametrize("options", [[], ["--calibration", "cameras.json"]])
def test_a_variable_frame_rate_of_one_video_is_a_warning(options, tmp_path, monkeypatch, capsys):
    """Phones write such videos: the poses are right, their times are not."""
    monkeypatch.chdir(tmp_path)
    camera = {"K": [[60, 0, 32], [0, 60, 24], [0, 0, 1]], "R": np.eye(3).tolist(), "t": [0, 0, 0]}
    calibration = {"cameras": {"walk": {**camera, "width": 64, "height": 48}}}
    (tmp_path / "cameras.json").write_text(json.dumps(calibration))
    write_video("walk.mp4", np.zeros((8, 48, 64, 3), np.uint8), ticks=[0, 1, 2, 3, 4, 8, 12, 16])
    # Nobody is in the pictures: the network is never asked.
    monkeypatch.setattr(hub, "pose_from_crop", lambda *_, **__: SimpleNamespace(network=SimpleNamespace(size=64)))
    report = run(monkeypatch, capsys, "walk.mp4", *options, "--output", tmp_path / "out")
    assert report.count("WARNING: a variable frame rate: frame 4, shown at 0.080 s, counts as at 0.183 s") == 1


@pytest.mark.parametrize("chosen", [slice(0, 1), slice(1, None)])
def test_more_instants_than_a_format_holds_are_an_error_before_anything_is_written(
    chosen, clips, tmp_path, monkeypatch, capsys
):
    """One video without calibration, and two with it."""
    monkeypatch.setattr(c3d_file, "MAX_INSTANTS", FRAMES - 1)
    monkeypatch.setattr(hub, "pose_from_crop", lambda *_, **__: None)
    given = [*clips[0][chosen], "--output", tmp_path / "out"]
    with pytest.raises(UserError, match="4 instants for a C3D file; expected at most 3"):
        run(monkeypatch, capsys, *given)
    assert not (tmp_path / "out").exists()
