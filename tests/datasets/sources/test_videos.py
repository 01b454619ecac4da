"""A user's own cameras: crops, rotations and poses agree with what was filmed; every fault of the files is named."""

import csv
import io
import json
import os
import pickle
import re
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("av")

import configs.prepare_videos as prepare_videos_script
from datasets.cameras.calibration import UP_AXES, read_calibration
from datasets.cameras.calibration_writers import write_toml_calibration
from datasets.cameras.camera import Camera
from datasets.cameras.crop_camera import project_to_crop
from datasets.layout.job import read_text_report, write_text_report
from datasets.layout.labels import Labels
from datasets.layout.png import read_png, write_png
from datasets.sources.own_videos.boxes import PersonDetector, locate_person, read_boxes
from datasets.sources.own_videos.detected import write_boxes
from datasets.sources.own_videos.person_track import ADULT_BONES, upright_note
from datasets.sources.own_videos.plan import make_plan, make_views, sequence_numbers
from datasets.sources.own_videos.prepare import prepare_videos
from datasets.sources.own_videos.prepare_frames import prepare_frames
from datasets.sources.own_videos.recordings import (
    PoseClock,
    by_camera,
    clock_arrays,
    files_of_job,
    identity_of_videos,
    one_recording,
    read_pose_clock,
    read_pose_file,
    read_recordings,
)
from datasets.validation import validate
from datasets.video.crops_of_views import CropJob, write_view
from datasets.video.frames import count_frames, read_frames
from tests.markers import FLOOR, marker_offsets, read_crop
from tests.miniature_videos import OFFSETS, camera_fields, true_box, write_recording
from tests.tiny import ROOT, run_script, tiny_config, tiny_pose_config
from tests.video_files import write_video
from training.stages.novel_views import train_novel_views
from training.stages.pose import train_pose
from utils.errors import UserError
from utils.skeleton import BONES

SIZE = 64


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("markers"))


@pytest.fixture(scope="module")
def filmed_body(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("body"), body=True)


@pytest.fixture(scope="module")
def with_poses(filmed, tmp_path_factory):
    output = tmp_path_factory.mktemp("prepared") / "poses"
    prepare_videos([recording(filmed, poses=filmed.poses)], output, SIZE, cut=5, workers=1, progress=False)
    return output


def recording(truth, **more):
    videos = [f"{name}={path}" for name, path in truth.videos.items()]
    offsets = [f"{name}={offset}" for name, offset in OFFSETS.items()]
    return one_recording(videos, truth.calibration, subject=4, name="walk", offsets=offsets, **more)


def true_joints(truth, labels):
    """Joints (N,17,3) of every row, in the camera's frame."""
    cameras = list(truth.cameras.values())
    pairs = zip(labels["cam"], labels["frame"], strict=True)
    return np.stack([cameras[cam].world_to_cam(truth.joints[frame]) for cam, frame in pairs])


def test_poses_and_rotations_are_those_that_were_filmed(filmed, with_poses):
    labels = Labels(with_poses)
    assert "img_crop and bg_crop" in validate(with_poses) and labels.num_rows > 30
    world = np.einsum("nij,npj->npi", labels["extrinsic_rot_inv"], labels["3D"].reshape(-1, 17, 3))
    truth = filmed.joints[labels["frame"]]
    np.testing.assert_allclose(world, truth - truth[:, :1], atol=1e-5)
    assert set(labels["subj"]) == {4} and set(labels["motion"]) == {"walk"}
    by_instant = dict(zip(labels["frame"].tolist(), labels["seq"].tolist(), strict=True))
    assert set(by_instant.values()) == {1, 2, 3, 4} and sorted(by_instant.values()) == list(by_instant.values())


def test_crops_show_the_joints_where_the_labels_say(with_poses):
    """Through distortion, offset and rotation of the camera."""
    offs = marker_offsets(with_poses)
    assert len(offs) > 60
    assert np.median(offs) < 0.15 and max(offs) < 0.6


def test_backgrounds_are_empty(with_poses):
    labels = Labels(with_poses)
    for row in range(0, labels.num_rows, 5):
        empty = read_crop(with_poses, labels, row, "bg_crop").astype(int)
        inside = read_crop(with_poses, labels, row).max(-1) > FLOOR + 30
        assert np.abs(empty[inside] - FLOOR).max() < 6


def test_boxes_place_the_crops(filmed_body, tmp_path):
    boxes = tmp_path / "boxes.csv"
    with open(boxes, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["camera", "frame", "x0", "y0", "w", "h"])
        for name, camera in filmed_body.cameras.items():
            for instant, joints in enumerate(filmed_body.joints):
                if (name, instant) != ("left", 3):
                    table.writerow([name, instant + OFFSETS[name], *true_box(camera, joints)])
    report = prepare_videos([recording(filmed_body, boxes=boxes)], tmp_path / "out", SIZE, workers=1, progress=False)
    assert "12 of 12 instants, sequences 1 to 4; crops: left 11, middle 12, right 12" in report
    labels = Labels(tmp_path / "out")
    assert "3D" not in labels and "no 3D poses" in validate(tmp_path / "out")
    assert_centered(filmed_body, tmp_path / "out", 0.12)


def test_the_person_is_found_without_boxes(filmed_body, tmp_path):
    prepare_videos([recording(filmed_body)], tmp_path, SIZE, workers=1, progress=False)
    assert Labels(tmp_path).num_rows >= 32
    assert_centered(filmed_body, tmp_path, 0.2)


def assert_centered(truth, root, meters):
    """Each crop is rotated to the person, has the right scale, and its rotation is the rotated camera's."""
    labels, cameras = Labels(root), list(truth.cameras.values())
    joints = true_joints(truth, labels)
    for row in range(labels.num_rows):
        rotation = labels["extrinsic_rot"][row] @ cameras[labels["cam"][row]].rotation.T
        seen = project_to_crop(joints[row] @ rotation.T, labels["intrinsic_crop"][row])
        middle = (seen.min(0) + seen.max(0)) / 2
        assert np.abs(middle - 0.5).max() * 2.0 < meters
        distance = np.linalg.norm(joints[row].mean(0))
        assert abs(2.0 * labels["intrinsic_crop"][row, 0, 0] / distance - 1) < 0.12
        figure = np.argwhere(read_crop(root, labels, row).max(-1) > 80) / SIZE
        assert np.abs((figure.min(0) + figure.max(0)) / 2 - middle[::-1]).max() < 0.05


def test_resumes_where_it_stopped(filmed, with_poses, tmp_path, monkeypatch):
    source, written = recording(filmed, poses=filmed.poses), []
    monkeypatch.setattr("datasets.video.crops_of_views.CHUNK", 4)
    monkeypatch.setattr(
        "datasets.layout.writer.write_png", lambda path, image: written.append(path) or write_until(30, path, image)
    )

    def write_until(limit, path, image):
        if len(written) > limit:
            raise KeyboardInterrupt
        write_png(path, image)

    with pytest.raises(KeyboardInterrupt):
        prepare_videos([source], tmp_path / "out", SIZE, cut=5, workers=1, progress=False)
    done = len(list((tmp_path / "out/.parts").glob("*.npz")))
    assert 0 < done < 9 and not (tmp_path / "out/labels.h5").exists()
    with pytest.raises(UserError, match=r"holds a set of .*'cut': 5.*; expected .*'cut': 6"):
        prepare_videos([source], tmp_path / "out", SIZE, cut=6, workers=1, progress=False)
    monkeypatch.undo()
    monkeypatch.setattr("datasets.video.crops_of_views.CHUNK", 4)
    report = prepare_videos([source], tmp_path / "out", SIZE, cut=5, workers=1, progress=False)
    assert prepare_videos([source], tmp_path / "out", SIZE, cut=5, workers=1, progress=False) == report
    labels, expected = Labels(tmp_path / "out"), Labels(with_poses)
    for name in expected:
        np.testing.assert_array_equal(labels[name], expected[name])


def test_several_recordings(filmed, tmp_path):
    videos = {name: str(path) for name, path in filmed.videos.items()}
    pair = {name: videos[name] for name in ("left", "right")}
    np.save(tmp_path / "short.npy", filmed.joints[:9])
    content = {
        "calibration": str(filmed.calibration),
        "recordings": [
            {"name": "a", "subject": 1, "videos": videos, "poses": str(filmed.poses), "offsets": OFFSETS},
            {"name": "b", "subject": 2, "videos": pair, "poses": "short.npy"},
        ],
    }
    (tmp_path / "recordings.json").write_text(json.dumps(content))
    report = prepare_videos(
        read_recordings(tmp_path / "recordings.json"), tmp_path / "out", 32, every=2, first_sequence=7,
        background=False, workers=1, progress=False,
    )  # fmt: skip
    assert "b, subject 2: 5 of 6 instants, sequences 10 to 11; crops: left 5, right 5; files: recording_001\n" in report
    assert "left out: 1 after the last pose" in report
    labels = Labels(tmp_path / "out")
    assert sorted(set(zip(labels["subj"].tolist(), labels["seq"].tolist(), strict=True))) == [
        (1, 7),
        (1, 8),
        (1, 9),
        (2, 10),
        (2, 11),
    ]
    assert set(labels["cam"][labels["subj"] == 2]) == {0, 2} and set(labels["frame"]) == {0, 2, 4, 6, 8, 10}
    assert not list((tmp_path / "out").glob("*/*/bg_crop*"))


@pytest.mark.parametrize("poses", [True, False])
def test_training_runs_on_it(filmed, filmed_body, tmp_path, poses):
    source = recording(filmed, poses=filmed.poses) if poses else recording(filmed_body)
    prepare_videos([source], tmp_path / "train", 32, workers=1, progress=False)
    config = tiny_config(tmp_path / "train", tmp_path / "runs", num_training_iterations=3, batch_size_train=4)
    folder = train_novel_views(config)
    assert (folder.path / "models/network_last_val.pth").is_file()
    if poses:
        pose_config = tiny_pose_config(tmp_path / "train", tmp_path / "runs", str(folder.path))
        assert (train_pose(pose_config).path / "models/network_last_val.pth").is_file()


def test_script(filmed_body, tmp_path):
    output = tmp_path / "train"
    more = ("--output", output, "--size", "16", "--every", "4", "--workers", "1")
    done = run_script("prepare_videos.py", *filmed_body.arguments, *more)
    assert done.returncode == 0 and "recording, subject 1: 3 of 3 instants" in done.stdout, done.stderr
    assert done.stdout.strip() == (output / "report.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--videos", "a.mp4", "--recordings", "list.json"], "both --recordings and --videos; expected one of them"),
        (["--videos", "a.mp4", "b.mp4"], "expected --videos and --calibration, or --recordings"),
        (["--recordings", "none.json"], "no file 'none.json'"),
        (["--recordings", "list.json", "--detect", "--keep-cameras"], "--keep-cameras without --triangulate; expected"),
    ],
)
def test_script_says_what_is_missing(monkeypatch, arguments, message):
    monkeypatch.setattr("sys.argv", ["prepare_videos.py", "--output", "out", *arguments])
    with pytest.raises(UserError, match=message):
        prepare_videos_script.main()


def test_statistics_can_be_taken_over(filmed, with_poses, tmp_path):
    source = recording(filmed, poses=filmed.poses)
    prepare_videos([source], tmp_path, 16, every=5, statistics=with_poses, workers=1, progress=False)
    np.testing.assert_array_equal(Labels(tmp_path)["pose_mean"], Labels(with_poses)["pose_mean"])
    with pytest.raises(UserError, match=r"holds a set of \{'statistics': "):
        prepare_videos([source], tmp_path, 16, every=5, workers=1, progress=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(size=8), "size is 8"),
        (dict(every=0), "every is 0"),
        (dict(cut=0), "cut is 0"),
        (dict(workers=-1), "workers is -1"),
        (dict(box_metres=0.0), "box_metres is 0"),
    ],
)
def test_bad_arguments(filmed, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        prepare_videos([recording(filmed)], tmp_path / "out", progress=False, **arguments)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_files_names_them(filmed, tmp_path):
    def prepare(calibration, offsets=("middle=2", "right=1")):
        videos = [f"{name}={path}" for name, path in filmed.videos.items()]
        given = one_recording(videos, calibration, name="walk", offsets=offsets, poses=filmed.poses)
        prepare_videos([given], tmp_path / "out", 16, every=4, background=False, workers=1, progress=False)

    prepare(filmed.calibration)
    mark = json.loads((tmp_path / "out/videos.json").read_text())
    (tmp_path / "c.json").write_text(filmed.calibration.read_text() + "\n")
    with pytest.raises(UserError, match=r"a set of {'calibration of walk': '\w+'}; expected {'cal.*: '\w+'}, or"):
        prepare(tmp_path / "c.json")
    with pytest.raises(UserError, match=r"a set of {'offsets of walk': {.*'right': 1}}; expected {.*'right': 0}}, or"):
        prepare(filmed.calibration, ["middle=2"])
    # As folders were marked before.
    (tmp_path / "out/videos.json").write_text(json.dumps({k: v for k, v in mark.items() if k != "details"}))
    prepare(filmed.calibration)


def test_work_can_go_to_other_processes(filmed):
    plan = make_plan(recording(filmed, poses=filmed.poses), 1)
    assert sequence_numbers(plan, 7, 3).tolist() == [7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10, 10]
    view, *_ = make_views(plan, sequence_numbers(plan, 1, 100), "key", {})
    write = pickle.loads(pickle.dumps(partial(write_view, job=CropJob(Path("out"), 32, 2.0))))
    assert write.func is write_view and pickle.loads(pickle.dumps(view)).name == view.name


def test_a_pause_of_all_cameras_is_in_the_report(filmed, monkeypatch):
    times = np.where(np.arange(12) > 5, np.arange(12) + 10, np.arange(12)) / 50
    monkeypatch.setattr("datasets.sources.own_videos.plan.frame_times", lambda video: times)
    videos = [f"{name}={filmed.videos[name]}" for name in ("left", "right")]
    plan = make_plan(one_recording(videos, filmed.calibration), 1)
    for name in ("left", "right"):
        assert (
            sum(note.startswith(f"WARNING: camera '{name}': a variable frame rate: frame ") for note in plan.notes) == 1
        )


def test_the_example_is_whole():
    for camera in read_calibration(ROOT / "examples/calibration.json").cameras.values():
        assert camera.sees(camera.world_to_cam(np.array([0, 0, 1.0])))


def test_cameras_in_other_units_and_axes(filmed, tmp_path):
    """The same cameras in a world whose y axis points down, in meters."""
    rotated = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # z up -> y down
    fields = camera_fields(filmed.cameras)
    for name, camera in filmed.cameras.items():
        fields[name] = {key: fields[name][key] for key in ("width", "height", "K", "distortion")}
        fields[name] |= {"R": (camera.rotation @ rotated.T).tolist(), "centre": (rotated @ camera.center).tolist()}
    (tmp_path / "c.json").write_text(json.dumps({"unit": "m", "up": "-y", "cameras": fields}))
    for cameras in (read_calibration(tmp_path / "c.json").cameras, read_calibration(filmed.calibration).cameras):
        for name, camera in filmed.cameras.items():
            np.testing.assert_allclose(cameras[name].rotation, camera.rotation, atol=1e-9)
            np.testing.assert_allclose(cameras[name].center, camera.center, atol=1e-9)


def test_a_change_of_either_file_of_a_calibration_is_noticed(filmed, tmp_path):
    """A finished set of one calibration is not that of another, whichever of the two files was given."""
    videos = [f"{name}={path}" for name, path in filmed.videos.items()]
    files, found = [tmp_path / "intri.yml", tmp_path / "extri.yml"], set()
    for contents in (("a", "b"), ("c", "b"), ("c", "d")):
        for file, content in zip(files, contents, strict=True):
            file.write_text(content)
        found |= {files_of_job([one_recording(videos, file)])["files"] for file in files}
    assert len(found) == 3


def test_videos_are_the_same_wherever_they_are_and_others_at_the_same_place(tmp_path):
    """A disk may be mounted elsewhere; and pictures that are extracted anew may have the same names and sizes."""
    for folder in ("a", "b"):
        (tmp_path / folder / "left").mkdir(parents=True)
        for number in range(5):
            (tmp_path / folder / f"left/{number}.bmp").write_bytes(bytes(200_000))
        (tmp_path / folder / "right.mp4").write_bytes(bytes(200_000))

    def identity(folder, names=("left", "right.mp4")):
        return identity_of_videos({name: tmp_path / folder / name for name in names})

    assert identity("a") == identity("b")
    assert len({identity("a", [name]) for name in ("left", "right.mp4")}) == 2
    for changed, place in (("left/0.bmp", 9), ("left/2.bmp", 199_999), ("left/4.bmp", 0), ("right.mp4", 150_000)):
        before, content = identity("b"), bytearray(200_000)
        content[place] = 1
        (tmp_path / "b" / changed).write_bytes(content)
        assert identity("b") != before
    before = identity("a")
    (tmp_path / "a/left/1.bmp").rename(tmp_path / "a/left/5.bmp")
    assert identity("a") != before


WRONG_CAMERAS = [
    ("K", [1.0] * 8, r"camera 'left': 'K' has 8 numbers; expected 9"),
    ("K", [[0, 0, 9], [0, 0, 9], [0, 0, 1]], r"camera 'left': 'K' is .*; expected \[\[fx"),
    ("K", None, r"camera 'left': no 'K'; expected 9 numbers"),
    ("R", [1, 0, 0, 0, 1, 0, 0, 0, -1], r"camera 'left': 'R' is not a rotation matrix"),
    ("rvec", [0, 0, 0], r"camera 'left': both of 'R' and 'rvec'; expected one"),
    ("t", None, r"camera 'left': neither of 't' and 'centre'"),
    ("t", [1, 2, "three"], r"camera 'left': 't' is .*; expected 3 numbers"),
    ("distortion", [0.1], r"camera 'left': 'distortion' has 1 numbers; expected 0 or 4 or 5"),
    ("distorsion", [0.1], r"camera 'left': unknown field 'distorsion'"),
    ("width", -3, r"camera 'left': image of -3x240"),
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG_CAMERAS)
def test_wrong_calibrations_are_named(filmed, tmp_path, field, value, message):
    content = json.loads(filmed.calibration.read_text())
    content["cameras"]["left"][field] = value
    if value is None:
        del content["cameras"]["left"][field]
    (tmp_path / "calibration.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"calibration\.json: {message}") as error:
        read_calibration(tmp_path / "calibration.json")
    assert "\n" not in str(error.value)


def test_calibration_files_that_are_none(tmp_path):
    path = tmp_path / "calibration.json"
    for text, message in (
        ("{", "cannot be read .*line 1.*expected JSON"),
        ("[]", "no 'cameras'"),
        ('{"cameras": {"a": 3}}', "camera 'a' is 3"),
        ('{"cameras": {"a/b": {}}}', "camera 'a/b'; expected a name"),
        ('{"cameras": {"a": {}}, "unit": "ft"}', "'unit' is 'ft'; expected one of m, cm, mm"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            read_calibration(path)
    with pytest.raises(UserError, match="no file"):
        read_calibration(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("camera,frame,x0,y0,w\n", "no column 'h'"),
        ("camera,frame,x0,y0,w,h\nback,0,1,1,2,2\n", "box 1: camera 'back'; expected one of left"),
        (
            "camera,frame,x0,y0,w,h\nleft,0,1,1,2,0\n",
            "box 1: frame 0, box .*; expected a whole frame from 0, w and h above",
        ),
        ("camera,frame,x0,y0,w,h\nleft,0.5,1,1,2,2\n", "box 1: frame 0.5, box .*; expected a whole frame"),
        ("camera,frame,x0,y0,w,h\nleft,0,1,1,2,2\nleft,0,1,1,2,2\n", "box 2: a second box of camera 'left' in frame 0"),
        ("camera,frame,x0,y0,w,h\nleft,0,1,1,2,?\n", r"box 1: 'h' is '\?'; expected 1 number$"),
        ("camera,frame,x0,y0,w,h\nleft,0,1,1,2,nan\n", "box 1: 'h' holds NaN"),
        ("camera,frame,x0,y0,w,h\nleft,0\n", "box 1: 'x0' holds NaN"),
        ("camera;frame;x0;y0;w;h\nleft;0;1,5;1;2;2\n", "separates its columns by semicolons; expected commas"),
    ],
)
def test_wrong_boxes_are_named(tmp_path, text, message):
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_boxes(tmp_path / "boxes.csv", ["left"])


def test_rows_without_a_box_are_frames_without_the_person(tmp_path):
    rows = ["camera,frame,x0,y0,w,h", "left,0,nan,NaN,nan,nan", "left,1,1,2,3,4", "left,2,,,,", ",,,,,", ""]
    (tmp_path / "b.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    assert list(read_boxes(tmp_path / "b.csv", ["left"])["left"]) == [1]
    box = {"camera": "left", "frame": 3, "x0": None, "y0": None, "w": None, "h": None}
    (tmp_path / "b.json").write_text(json.dumps([box, {**box, "frame": 4, "x0": 1, "y0": 2, "w": 3, "h": 4}]))
    assert list(read_boxes(tmp_path / "b.json", ["left"])["left"]) == [4]


@pytest.mark.parametrize("name", ["a.npy", "a.trc", "a.pkl"])
@pytest.mark.parametrize("content", [b"PathFileType 4 (X/Y/Z)", pickle.dumps(np.zeros(3)), b""])
def test_poses_that_are_no_arrays(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} is neither .npy, .npz nor .csv; expected world poses"):
        read_pose_file(tmp_path / name)


def test_poses_in_another_order_are_refused(filmed, tmp_path):
    np.save(tmp_path / "a.npy", np.roll(filmed.joints, 1, axis=1))
    with pytest.raises(UserError, match=r"a.npy: .*; expected the joints in the order of utils/skeleton.py"):
        read_pose_file(tmp_path / "a.npy")


def test_the_empty_scene_is_the_background(filmed_body, tmp_path, monkeypatch):
    """A picture for one camera, in a folder that is written with a tilde; the others keep the median."""
    monkeypatch.setenv("HOME", str(tmp_path))
    empty = np.full((240, 320, 3), FLOOR, np.uint8)
    empty[:3, :3] = 0
    write_png(str(tmp_path / "left.png"), empty)
    report = prepare_videos(
        [recording(filmed_body, empty=["left=~/left.png"])], tmp_path / "out", SIZE, workers=1, progress=False
    )
    np.testing.assert_array_equal(read_png(str(tmp_path / "out" / "backgrounds" / "calibration_0_left.png")), empty)
    assert "images in which something differs from the background: left 12 of 12" in report
    write_png(str(tmp_path / "left.png"), empty[:100])
    with pytest.raises(
        UserError, match=r"the empty scene of camera 'left', .*left.png, has 320x100 px; expected 320x240"
    ):
        make_plan(recording(filmed_body, empty=["left=~/left.png"]), 1)
    with pytest.raises(
        UserError, match=r"'empty' is .*; expected pictures or videos of the cameras left, middle, right"
    ):
        recording(filmed_body, empty=["back=~/left.png"])


def test_exchanged_cameras_are_an_error(filmed_body, tmp_path):
    content = json.loads(filmed_body.calibration.read_text())
    cameras = content["cameras"]
    cameras["left"], cameras["right"] = cameras["right"], cameras["left"]
    (tmp_path / "calibration.json").write_text(json.dumps(content))
    boxes = {
        name: {t + OFFSETS[name]: true_box(camera, joints) for t, joints in enumerate(filmed_body.joints)}
        for name, camera in filmed_body.cameras.items()
    }
    write_boxes(tmp_path / "boxes" / "b.csv", boxes)
    given = recording(filmed_body, boxes=tmp_path / "boxes" / "b.csv")
    assert "rays miss the person" in "".join(make_plan(given, 1).notes)
    # In a ring of three, to exchange any two is to turn the world: which two are named is a matter of rounding.
    with pytest.raises(UserError, match=r"with the camera '(\w+)' for '(\w+)', '\2' for '\1', they miss"):
        make_plan(given._replace(calibration=tmp_path / "calibration.json"), 1)


def test_a_person_who_is_not_upright_is_a_warning(filmed, tmp_path):
    person = read_pose_file(ROOT / "examples/recording/poses.npz")
    assert upright_note(person) is None and upright_note(np.full((2, 17, 3), np.nan)) is None
    # The median counts: somebody may lie for a while.
    lying = person @ UP_AXES["y"]
    lying[0] = np.nan
    assert upright_note(np.concatenate([lying[:40], person[:60]])) is None
    assert "WARNING: the trunk points 97 degrees" in upright_note(np.concatenate([lying[:60], person[:40]]))
    hips = filmed.joints[:, :1]
    for name, axes in (("z", np.eye(3)), ("y", UP_AXES["y"])):
        np.save(tmp_path / f"{name}.npy", hips + (filmed.joints - hips) @ axes)
        given = recording(filmed, poses=tmp_path / f"{name}.npy")
        report = prepare_videos([given], tmp_path / name, 32, background=False, workers=1, progress=False)
        assert ("WARNING: the trunk points" in report) == (name == "y")


def test_crops_beside_the_person_are_a_warning(filmed_body, tmp_path):
    """Poses come without boxes: that the cameras are exchanged shows in the crops alone."""
    content = json.loads(filmed_body.calibration.read_text())
    names = list(content["cameras"])
    shifted = dict(zip(names, [content["cameras"][name] for name in (*names[1:], names[0])], strict=True))
    poses = np.add(filmed_body.joints, [0.9, 0.3, 0])
    np.save(tmp_path / "far.npy", poses)
    given = recording(filmed_body, poses=filmed_body.poses)
    report = prepare_videos([given], tmp_path / "right", SIZE, workers=1, progress=False)
    assert "WARNING: crops" not in report
    (tmp_path / "calibration.json").write_text(json.dumps({**content, "cameras": shifted}))
    wrong = given._replace(calibration=tmp_path / "calibration.json", poses=tmp_path / "far.npy")
    report = prepare_videos([wrong], tmp_path / "wrong", SIZE, workers=1, progress=False)
    assert "WARNING: crops whose middle is like the background" in report


def test_an_offset_beyond_the_video_is_an_error(filmed):
    given = recording(filmed, poses=filmed.poses)
    with pytest.raises(UserError, match="camera 'right' starts at its frame 999, but its video has 13 frames"):
        make_plan(given._replace(offsets={**OFFSETS, "right": 999}), 1)


def test_boxes_and_poses_after_the_end_are_warnings(filmed_body, tmp_path):
    """Frames that are counted from 1, and poses of another rate, are a few boxes or many poses too late."""
    for first in (0, 1):
        boxes = {
            name: {t + OFFSETS[name] + first: true_box(camera, joints) for t, joints in enumerate(filmed_body.joints)}
            for name, camera in filmed_body.cameras.items()
        }
        write_boxes(tmp_path / f"{first}" / "b.csv", boxes)
        notes = "".join(make_plan(recording(filmed_body, boxes=tmp_path / f"{first}" / "b.csv"), 1).notes)
        message = "left 1 (first: frame 12 of 12), middle 1 (first: frame 14 of 14), right 1 (first: frame 13 of 13)"
        assert (f"WARNING: boxes after the end of the video are left out: {message};" in notes) == first
    for count in (1, 2):
        np.save(tmp_path / "poses.npy", np.repeat(filmed_body.joints, count, axis=0))
        notes = "".join(make_plan(recording(filmed_body, poses=tmp_path / "poses.npy"), 1).notes)
        assert ("WARNING: 12 poses after the end of all videos, at instant 12" in notes) == (count == 2)


@pytest.mark.parametrize(
    ("first", "instants", "warned"), [(1, 11, True), (0, 11, False), (2, 10, False), (1, 12, False)]
)
def test_boxes_that_begin_at_frame_1_in_all_cameras_are_a_warning(filmed_body, tmp_path, first, instants, warned):
    """Where the person leaves before the end, none of them is too late."""
    boxes = {
        name: {t + first: true_box(camera, filmed_body.joints[max(t - OFFSETS[name], 0)]) for t in range(instants)}
        for name, camera in filmed_body.cameras.items()
    }
    write_boxes(tmp_path / "b.csv", boxes)
    notes = "".join(make_plan(recording(filmed_body, boxes=tmp_path / "b.csv"), 1).notes)
    assert ("WARNING: the boxes of all cameras begin at frame 1, as if they were counted from 1;" in notes) == warned
    # Of one camera alone, a person who came into view.
    del boxes["left"][first]
    write_boxes(tmp_path / "b.csv", boxes)
    assert "begin at frame 1" not in "".join(make_plan(recording(filmed_body, boxes=tmp_path / "b.csv"), 1).notes)


def test_sizes_of_one_calibration_are_checked_before_people_are_searched(filmed, tmp_path):
    """Both recordings share the background of each camera."""
    narrow = [frame[:, :300] for _, frame in read_frames(filmed.videos["left"], range(12))]
    write_video(tmp_path / "left.mp4", narrow, crf=4)
    given = recording(filmed)
    other = given._replace(name="run", videos={**given.videos, "left": tmp_path / "left.mp4"})
    message = "run: camera 'left' has 300x240 px, and 320x240 px in walk; expected one size in all recordings"
    for prepare, options in ((prepare_videos, {"detect": True}), (prepare_frames, {"width": 80})):
        with pytest.raises(UserError, match=message):
            prepare([given, other], tmp_path / "out", progress=False, **options)
        assert not (tmp_path / "out").exists()


def test_a_missing_picture_of_a_camera_is_an_error(filmed, tmp_path):
    for number in (0, 1, 3):
        (tmp_path / f"{number:06d}.jpg").touch()
    given = recording(filmed, poses=filmed.poses)
    with pytest.raises(UserError, match=r"walk: camera 'right': in .*000001\.jpg is followed by .*expected number 2,"):
        make_plan(given._replace(videos={**given.videos, "right": tmp_path}), 1)
    # By itself, the folder is whatever photographs it holds.
    assert count_frames(tmp_path) == 3


def test_boxes_from_json(tmp_path):
    (tmp_path / "b.json").write_text('[{"camera": "left", "frame": 3, "x0": 1, "y0": 2, "w": 3, "h": 4}]')
    np.testing.assert_array_equal(read_boxes(tmp_path / "b.json", ["left"])["left"][3], [1, 2, 3, 4])


def test_poses_from_every_kind_of_file(filmed, tmp_path):
    poses = filmed.joints.copy()
    poses[2] = np.nan
    np.save(tmp_path / "a.npy", poses)
    np.savez(tmp_path / "b.npz", poses.reshape(-1, 51))
    np.savetxt(tmp_path / "c.csv", poses.reshape(-1, 51), delimiter=",", header="hip x", comments="")
    for name in ("a.npy", "b.npz", "c.csv"):
        np.testing.assert_allclose(read_pose_file(tmp_path / name), poses)
    for array, message in (
        (1000 * poses, "a joint .* from the root in row .*, counted from 0; expected meters"),
        (poses[:, :16], r"shape \(12, 16, 3\)"),
    ):
        np.save(tmp_path / "d.npy", array)
        with pytest.raises(UserError, match=message):
            read_pose_file(tmp_path / "d.npy")
    (tmp_path / "e.csv").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"e\.csv. cannot be read \(.*expected poses: .npy, .npz or .csv"):
        read_pose_file(tmp_path / "e.csv")


@pytest.mark.parametrize("first", [",".join(["nan"] * 51), "," * 50, ",".join(["None"] * 51)])
def test_the_first_pose_may_be_missing(filmed, tmp_path, first):
    """It counted as a header, and all poses were an instant early."""
    rows = [",".join(map(str, pose)) for pose in filmed.joints.reshape(-1, 51)]
    for head in ([], [",".join(f'"{name}, m"' for name in range(51))], ["# poses"]):
        (tmp_path / "a.csv").write_text("\n".join([*head, first, *rows[1:], "", ""]))
        poses = read_pose_file(tmp_path / "a.csv")
        assert np.isnan(poses[0]).all()
        np.testing.assert_allclose(poses[1:], filmed.joints[1:])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "line 2 is blank: a row without numbers is one of NaN"),
        ("oops" + ",1" * 50, "line 2: 'oops' is no number"),
        ("1,2", "line 2 has 2 cells, and the first row 51"),
    ],
)
def test_poses_whose_rows_cannot_be_counted(filmed, tmp_path, line, message):
    rows = [",".join(map(str, pose)) for pose in filmed.joints.reshape(-1, 51)]
    (tmp_path / "a.csv").write_text("\n".join([rows[0], line, *rows[2:]]))
    with pytest.raises(UserError, match=rf"a\.csv. cannot be read \({message}\); expected poses"):
        read_pose_file(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("\n".join(["oops" + rows[0][rows[0].index(",") :], *rows[1:]]))
    with pytest.raises(UserError, match="line 1: 'oops' is no number"):
        read_pose_file(tmp_path / "a.csv")


def test_poses_of_some_instants_with_their_own_axis_up(filmed, tmp_path):
    """As `estimate --every 3` writes them; poses that name no axis are in the world of the calibration file."""
    from_file = UP_AXES["y"]
    turned = {
        name: camera._replace(rotation=camera.rotation @ from_file, center=from_file.T @ camera.center)
        for name, camera in filmed.cameras.items()
    }
    content = {"unit": "mm", "up": "y", "cameras": camera_fields(turned)}
    (tmp_path / "calibration.json").write_text(json.dumps(content))
    instants = np.arange(0, len(filmed.joints), 3)
    joints = filmed.joints[instants]
    for name, poses, notes in (("stated", joints, {"up": "z"}), ("not stated", joints @ from_file, {})):
        np.savez(tmp_path / f"{name}.npz", poses=poses, instants=instants, space="world", **notes)
        given = recording(filmed, poses=tmp_path / f"{name}.npz")
        track = make_plan(given._replace(calibration=tmp_path / "calibration.json"), 1).track
        assert set(track.instants) <= set(instants) and len(track.instants) >= 3
        np.testing.assert_allclose(track.joints, filmed.joints[track.instants], atol=1e-9)
        assert track.skipped["with NaN in the pose"] == instants[-1] + 1 - len(instants)


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"instants": [0, 1]}, r"array 'instants' is int64 of shape \(2,\); expected the 12 numbers of the instants"),
        ({"instants": np.arange(12.0)}, "array 'instants' is float64"),
        ({"instants": np.arange(12)[::-1]}, "whole, increasing, 0 to"),
        ({"instants": np.arange(-1, 11)}, "whole, increasing, 0 to"),
        ({"instants": np.append(np.arange(11), 1 << 40)}, "whole, increasing, 0 to"),
        ({"space": "camera"}, "has poses in the space 'camera'; expected 'world'"),
        ({"up": "w"}, "'up' is 'w'; expected one of z, -z, y"),
    ],
)
def test_what_poses_say_of_themselves_is_checked(filmed, tmp_path, notes, message):
    np.savez(tmp_path / "a.npz", poses=filmed.joints, **notes)
    with pytest.raises(UserError, match=rf"a\.npz.*{message}"):
        make_plan(recording(filmed, poses=tmp_path / "a.npz"), 1)


def test_videos_are_named_after_their_camera(tmp_path, monkeypatch):
    (tmp_path / "left").mkdir()
    (tmp_path / "right.mp4").symlink_to(tmp_path / "GX010042.MP4")
    monkeypatch.chdir(tmp_path / "left")
    names = by_camera([".", "../right.mp4", "mein Vidéo %d 1.mp4", "back=a/b=1.mp4"])
    assert names == {
        "left": ".",
        "right": "../right.mp4",
        "mein Vidéo %d 1": "mein Vidéo %d 1.mp4",
        "back": "a/b=1.mp4",
    }


def test_files_whose_names_hold_an_equals_sign_and_folders_with_dots(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=1_cam.mp4").touch()
    for folder in ("rig.left", "rig.right", "c=d.e"):
        (tmp_path / folder).mkdir()
    assert by_camera(["a=1_cam.mp4", "rig.left", "rig.right/", "c=d.e", "b=2_cam.mp4"]) == {
        "a=1_cam": "a=1_cam.mp4",
        "rig.left": "rig.left",
        "rig.right": "rig.right/",
        "c=d.e": "c=d.e",
        "b": "2_cam.mp4",
    }


def test_accents_of_names_are_composed(filmed, tmp_path):
    """macOS decomposes names of files; keyboards, and files that are written on other systems, do not."""
    apart, together = "Ku\u0308che", "K\u00fcche"
    cameras = json.loads(filmed.calibration.read_text())["cameras"]
    (tmp_path / f"{apart}.mp4").symlink_to(filmed.videos["left"])
    for in_calibration, in_rest in ((apart, together), (together, apart)):
        content = {"cameras": {in_calibration: cameras["left"], "right": cameras["right"]}}
        (tmp_path / "c.json").write_text(json.dumps(content))
        assert list(read_calibration(tmp_path / "c.json").cameras) == [together, "right"]
        videos = [str(tmp_path / f"{apart}.mp4"), f"right={filmed.videos['right']}"]
        given = one_recording(videos, tmp_path / "c.json", offsets=[f"{in_rest}=1"])
        assert list(given.videos) == [together, "right"] and given.offsets == {together: 1, "right": 0}
        (tmp_path / "b.csv").write_text(f"camera,frame,x0,y0,w,h\n{in_rest},0,1,1,2,2\n", encoding="utf-8")
        assert 0 in read_boxes(tmp_path / "b.csv", list(given.videos))[together]
    (tmp_path / "c.json").write_text(json.dumps({"cameras": {apart: cameras["left"], together: cameras["right"]}}))
    with pytest.raises(UserError, match=r"c\.json: of .*two have one name with accents composed"):
        read_calibration(tmp_path / "c.json")


@pytest.mark.parametrize(
    "given",
    [
        *("", "/", "=a.mp4", "left=", "a/b=cam01.mp4", "../out=cam01.mp4", "caf\udce9.mp4", "\udce9=cam01.mp4"),
        *(f"{'a' * 231}.mp4", f"{'é' * 116}=cam01.mp4"),
    ],
)
def test_names_that_are_no_names_of_cameras_are_one_line(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"^{re.escape(repr(given))} gives camera .*; expected camera=file"):
        by_camera([given])


@pytest.mark.parametrize("names", [("Walk", "walk"), ("walk", "side", "WALK"), ("straße", "STRASSE")])
def test_cameras_that_differ_in_case_alone_are_refused(names, tmp_path):
    """Their files are the same ones where the file system ignores case."""
    message = rf"cameras '{names[0]}' and '{names[-1]}' differ in upper and lower case alone; expected other names"
    with pytest.raises(UserError, match=message):
        by_camera([f"{number}/{name}.mp4" for number, name in enumerate(names)])
    videos = {name: f"{number}.mp4" for number, name in enumerate(names)}
    (tmp_path / "list.json").write_text(json.dumps({"calibration": "c.json", "recordings": [{"videos": videos}]}))
    with pytest.raises(UserError, match=f"recording 1: {message}"):
        read_recordings(tmp_path / "list.json")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_paths_that_are_not_utf8(filmed, tmp_path):
    """As Linux has them of disks and archives in Latin-1."""
    folder = Path(shutil.copytree(filmed.calibration.parent, tmp_path / os.fsdecode(b"caf\xe9")))
    given = [f"{name}={folder / path.name}" for name, path in filmed.videos.items()]
    found = one_recording(given, folder / "calibration.json")
    assert make_plan(found, 1).num_frames == make_plan(recording(filmed), 1).num_frames
    assert files_of_job([found])["files"] != files_of_job([recording(filmed)])["files"]
    with pytest.raises(UserError, match=r"'name' is .*; expected text in UTF-8"):
        one_recording(given, folder / "calibration.json", name="caf\udce9")


def test_names_of_cameras_are_written_as_they_are_read_whatever_the_locale(tmp_path, monkeypatch):
    """Windows writes text in an encoding of its own, which lacks most characters; this one lacks all but ASCII."""
    monkeypatch.setattr(io, "text_encoding", lambda encoding, *_: encoding or "ascii")
    name, camera = "𠮷", Camera(np.eye(3), np.zeros(3), np.eye(3), np.zeros(5), 64, 48)
    write_text_report(tmp_path, name)
    write_toml_calibration(tmp_path / "a.toml", {name: camera})
    write_boxes(tmp_path / "boxes/a.csv", {name: {0: np.ones(4)}})
    assert read_text_report(tmp_path) == name and list(read_calibration(tmp_path / "a.toml").cameras) == [name]
    assert read_boxes(tmp_path / "boxes/a.csv", [name])[name][0].tolist() == [1, 1, 1, 1]


def test_wrong_recordings_are_named(filmed, filmed_body, tmp_path):
    videos = [f"{name}={path}" for name, path in filmed.videos.items()]
    copy = shutil.copy(filmed.videos["left"], tmp_path / "copy.mp4")
    one = filmed.videos["left"]
    for arguments, message in (
        (dict(videos=videos[:1]), "'videos' is .*; expected at least two"),
        (dict(videos=["a.mp4", "b.mp4"]), "'videos/a' is 'a.mp4'; expected a file in"),
        (dict(videos=[videos[0], videos[0]]), "two videos of camera 'left'"),
        (dict(videos=[videos[0], f"right={filmed.videos['left']}"]), "cameras 'left' and 'right' have one video, '"),
        (dict(videos=[videos[0], f"right={copy}"]), "cameras 'left' and 'right' have copies of one video, '"),
        (dict(empty=[f"left={one}", f"right={one}"]), "cameras 'left' and 'right' have one picture of the empty scene"),
        (dict(offsets=["up=1"]), "'offsets' is .*; expected frame numbers of the cameras left, middle, right"),
        (dict(offsets=["left=x"]), "'offsets/left' is 'x'; expected a whole number"),
        (dict(offsets=["left=3", "left=5"]), "--offsets left=3 left=5 name a camera twice; expected"),
        (dict(boxes=filmed.poses, poses=filmed.poses), "both 'boxes' and 'poses'"),
    ):
        with pytest.raises(UserError, match=message):
            one_recording(**{"videos": videos, "calibration": filmed.calibration, **arguments})
    (tmp_path / "r.json").write_text(json.dumps({"recordings": [{"videos": {"a": "a", "b": "b"}, "pose": "x"}]}))
    with pytest.raises(UserError, match=r"r\.json: recording 1: unknown field 'pose'"):
        read_recordings(tmp_path / "r.json")
    # As of all recordings, which would be of subject 1 and without offsets.
    (tmp_path / "all.json").write_text(json.dumps({"subject": 2, "recordings": [{"videos": {"a": "a", "b": "b"}}]}))
    with pytest.raises(UserError, match=r"all\.json: unknown field 'subject'; expected calibration, recordings"):
        read_recordings(tmp_path / "all.json")
    unnamed = one_recording([f"x{video}" for video in videos], filmed.calibration)
    both = [recording(filmed, poses=filmed.poses), recording(filmed_body)]
    for recordings, message in (
        ([unnamed], "no camera 'xleft' in .*; it has left"),
        (both, "1 of 2 recordings have no poses"),
    ):
        with pytest.raises(UserError, match=message):
            prepare_videos(recordings, tmp_path / "out", SIZE, workers=1, progress=False)
    assert not (tmp_path / "out").exists()


def test_poses_of_other_moments_are_refused(filmed, tmp_path):
    """A file that says of which offsets and rate its instants are; others fit any."""

    def plan(**notes):
        np.savez(tmp_path / "p.npz", poses=filmed.joints, **notes)
        return make_plan(recording(filmed, poses=tmp_path / "p.npz"), 1)

    right = PoseClock(50.0, {**OFFSETS, "another": 7})
    assert plan(**clock_arrays(right)).recording.offsets == OFFSETS
    assert read_pose_clock(tmp_path / "p.npz") == right and read_pose_clock(filmed.poses) == PoseClock(None, {})
    with pytest.raises(UserError, match=r"walk: .*p\.npz has poses with --offsets left=0 middle=0 right=1, and"):
        plan(**clock_arrays(PoseClock(None, {**OFFSETS, "middle": 0})))
    with pytest.raises(UserError, match=r"p\.npz has 30 poses per second, and the videos have 50 frames; expected one"):
        plan(**clock_arrays(PoseClock(30.0, {})))
    # What is assumed where nothing tells the rate; and a mean rate in which the last frame counts as longer.
    (assumed,) = [note for note in plan(rate=[25.0]).notes if "poses per second" in note]
    assert assumed.startswith("WARNING: ") and assumed.endswith("was assumed, as it is where nothing tells it")
    assert not [note for note in plan(rate=49.8).notes if "poses per second" in note]
    for notes, message in (
        (dict(rate=[1, 2]), r"'rate' is .*; expected a number of instants per second"),
        (dict(offsets=[1, 2]), r"'offsets' is .*; expected texts such as 'left=3'"),
        (dict(offsets=["left=x"]), r"'offsets/left' is 'x'; expected a whole number"),
    ):
        with pytest.raises(UserError, match=message):
            plan(**notes)


def test_a_person_of_unusual_size_is_a_warning(filmed, tmp_path):
    """The widths that are advised show everybody as large; the person in the files need not be of an adult's size."""
    bones = sum(np.linalg.norm(filmed.joints[:, a] - filmed.joints[:, b], axis=1) for a, b in BONES)
    hips = filmed.joints[:, :1]

    def report_of(size, **options):
        file, output = tmp_path / f"{size}.npy", tmp_path / f"{size}_{len(options)}"
        np.save(file, hips + size * ADULT_BONES / np.median(bones) * (filmed.joints - hips))
        recordings = [recording(filmed, poses=file)]
        return prepare_videos(recordings, output, 32, background=False, workers=1, progress=False, **options)

    assert "--box-metres" not in report_of(1.0) and "--box-metres" not in report_of(0.92)
    assert "WARNING: the person's bones are 0.70 times as long" in (report := report_of(0.7))
    assert "; --box-metres 1.4 shows this person as large" in report
    assert "--box-metres 2.4 shows" in report_of(1.2)
    assert "--box-metres" not in report_of(0.7, box_metres=1.4)


def test_poses_beside_all_cameras_are_an_error(filmed, tmp_path):
    np.save(tmp_path / "far.npy", filmed.joints + 50.0)
    with pytest.raises(UserError, match=r"walk: none of 12 instants is usable \(12 with the person in fewer than two"):
        prepare_videos([recording(filmed, poses=tmp_path / "far.npy")], tmp_path / "out", progress=False)


def test_a_calibration_in_millimeters_that_does_not_say_so_is_an_error(filmed, tmp_path):
    """Poses are in the middle of all images then, too, but a fraction of a pixel large."""
    content = json.loads(filmed.calibration.read_text())
    del content["unit"]
    (tmp_path / "c.json").write_text(json.dumps(content))
    given = recording(filmed, poses=filmed.poses)
    make_plan(given, 1)
    message = (
        r"walk: the poses are 4\d\d\d m away from .*, where 2 m are 0\.1 px wide; expected .* the 'unit' of .*c\.json"
    )
    with pytest.raises(UserError, match=message):
        make_plan(given._replace(calibration=tmp_path / "c.json"), 1)


def test_boxes_of_other_things_are_left_out(filmed):
    cameras = list(filmed.cameras.values())
    boxes = [true_box(camera, filmed.joints[0]) for camera in cameras]
    point, used = locate_person(cameras, boxes)
    assert used == [0, 1, 2] and np.linalg.norm(point - filmed.joints[0].mean(0)) < 0.3
    elsewhere = [boxes[0], boxes[1] + [0, 90, 0, 0], boxes[2]]
    point, used = locate_person(cameras, elsewhere)
    assert used == [0, 2] and np.linalg.norm(point - filmed.joints[0].mean(0)) < 0.3
    assert locate_person(cameras[:2], elsewhere[:2]) is None


def test_opposite_cameras_take_the_distance_from_the_boxes(filmed):
    """Their rays are one line: only the size of the boxes tells where on it the person is."""
    camera = filmed.cameras["left"]
    forward = camera.rotation[2]
    other = camera._replace(
        center=camera.center + 9.0 * forward, rotation=np.diag([-1.0, 1, -1]) @ camera.rotation, distortion=np.zeros(5)
    )
    pair = [camera._replace(distortion=np.zeros(5)), other]
    person = camera.center + 3.5 * forward + 0.8 * np.linspace(-1, 1, 17)[:, None] * camera.rotation[1]
    point, used = locate_person(pair, [true_box(c, person) for c in pair])
    assert used == [0, 1] and np.linalg.norm(point - person.mean(0)) < 0.25


def test_nobody_is_found_in_an_empty_image():
    empty = np.full((90, 120, 3), 80, np.uint8)
    find = PersonDetector(empty)
    assert find(empty) is None
    person = empty.copy()
    person[20:80, 50:70] = 180
    np.testing.assert_allclose(find(person), [50, 20, 20, 60], atol=2)
