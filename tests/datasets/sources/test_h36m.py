"""Human3.6M in a miniature: the prepared layout agrees with what was filmed, and every fault is reported."""

import re
import shutil
import sys

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")
pytest.importorskip("cdflib")

from datasets.cameras.crop_camera import project_to_crop
from datasets.layout.labels import Labels
from datasets.layout.png import read_png
from datasets.layout.writer import image_path
from datasets.sources.human36m.archives import read_cdf_poses
from datasets.sources.human36m.metadata import CAMERA_IDS, find_metadata, read_metadata, rotation_from_angles
from datasets.sources.human36m.prepare import Preparation, prepare_h36m
from datasets.sources.human36m.report import report_text
from datasets.validation import validate
from tests.markers import JOINTS as MARKED
from tests.markers import find_markers
from tests.miniature_h36m import camera_of, marked_people, reshape, write_metadata, write_miniature, write_poses
from tests.runs import read_log
from tests.tiny import run_script
from utils.errors import UserError

WIDTH, SIZE, EVERY = 200, 64, 3


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """The download's folder, and the true joints."""
    root = tmp_path_factory.mktemp("h36m")
    return root, write_miniature(root, marked_people, (1, 9), WIDTH)


@pytest.fixture(scope="module")
def prepared(filmed, tmp_path_factory):
    return prepare(filmed[0], tmp_path_factory.mktemp("prepared") / "set")


@pytest.fixture
def copied(filmed, tmp_path):
    """A download of S1 to break."""
    shutil.copytree(filmed[0] / "S1", tmp_path / "source" / "S1")
    shutil.copy(filmed[0] / "metadata.xml", tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def archived(copied):
    """The same as archives."""
    reshape(copied, 1, "archives")
    return copied


def prepare(source, output, **options):
    return prepare_h36m(
        source, output, **{"subjects": (1, 9), "every": EVERY, "size": SIZE, "workers": 1, "progress": False, **options}
    )


def report_of(folder):
    return {(row["subject"], row["name"], row["camera_id"]): row for row in read_log(folder / "report.csv")}


def name_of(labels, row):
    """File name of a row's sequence, by its motion."""
    first = int(labels["subj"][row]) == 1
    irregular = {"Photo": "TakingPhoto" if first else "Photo", "WalkDog": "WalkingDog 1" if first else "WalkDog 1"}
    motion = str(labels["motion"][row])
    return {"Sitting": "Sitting", "SittingDown": "SittingDown 1", **irregular}[motion]


def true_joints_cam(labels, row, truth):
    subject, cam = int(labels["subj"][row]), int(labels["cam"][row])
    joints = truth[subject, name_of(labels, row)][int(labels["frame"][row])]
    return camera_of(subject, cam, WIDTH).world_to_cam(joints)


def test_layout_is_valid_and_has_every_view(prepared, filmed):
    assert "4 to 4" in validate(prepared)
    labels = Labels(prepared)
    instants = sum(len(range(0, len(joints), EVERY)) for joints in filmed[1].values())
    assert labels.num_rows == 4 * instants
    assert set(labels["motion"]) == {"Sitting", "SittingDown", "Photo", "WalkDog"}
    assert len(set(zip(labels["subj"].tolist(), labels["seq"].tolist(), strict=True))) == len(set(labels["seq"])) == 8
    assert not (labels["frame"] % EVERY).any()
    assert sorted(path.name for path in prepared.iterdir() if not path.name.startswith("seq")) == [
        "backgrounds",
        "labels.h5",
        "prepare.json",
        "report.csv",
    ]


def test_poses_are_the_true_ones(prepared, filmed):
    labels = Labels(prepared)
    for row in range(labels.num_rows):
        truth = true_joints_cam(labels, row, filmed[1])
        pose = labels["3D"][row].reshape(17, 3)
        lengths = np.linalg.norm(truth - truth[0], axis=1)
        np.testing.assert_allclose(np.linalg.norm(pose, axis=1), lengths, atol=1e-4)
        x, y, width, height = labels["bounding_box_cam"][row]
        np.testing.assert_allclose([x + width / 2, y + height / 2], truth[0, :2] / truth[0, 2], atol=1e-6)
        np.testing.assert_allclose([width, height], 2 / truth[0, 2], atol=1e-6)


def test_poses_turn_to_the_world_by_the_extrinsics(prepared, filmed):
    labels = Labels(prepared)
    world = np.einsum("nij,nkj->nki", labels["extrinsic_rot_inv"], labels["3D"].reshape(-1, 17, 3))
    for row in range(labels.num_rows):
        joints = filmed[1][int(labels["subj"][row]), name_of(labels, row)][int(labels["frame"][row])]
        np.testing.assert_allclose(world[row], joints - joints[0], atol=1e-4)


def test_joints_are_seen_where_the_labels_say(prepared, filmed):
    labels, errors = Labels(prepared), []
    for row in range(labels.num_rows):
        place = [int(labels[name][row]) for name in ("seq", "cam", "frame")]
        found = find_markers(read_png(image_path(prepared, *place, "img_crop")))
        points = labels["3D"][row].reshape(17, 3) + np.array([0, 0, 2 * labels["intrinsic_crop"][row, 0, 0]])
        expected = project_to_crop(points, labels["intrinsic_crop"][row])[list(MARKED)]
        joints_cam = true_joints_cam(labels, row, filmed[1])[list(MARKED)]
        camera = camera_of(*(int(labels[name][row]) for name in ("subj", "cam")), WIDTH)
        pixels = camera.project(joints_cam) / WIDTH
        inside = ((np.minimum(expected, pixels) > 0.08) & (np.maximum(expected, pixels) < 0.92)).all(-1)
        # of two that touch, video mixes the colors
        gaps = np.linalg.norm(pixels[:, None] - pixels, axis=-1) + np.eye(3)
        errors.extend(128 * np.abs(found - expected)[inside & (gaps.min(-1) > 0.03)].ravel())
    assert len(errors) > 3 * labels.num_rows
    assert np.nanmax(errors) < 0.8 and np.nanmean(errors) < 0.15 and np.mean(np.isnan(errors)) < 0.02


def test_backgrounds_have_no_person(prepared):
    labels = Labels(prepared)
    for row in range(0, labels.num_rows, 5):
        place = [int(labels[name][row]) for name in ("seq", "cam", "frame")]
        bg_crop = read_png(image_path(prepared, *place, "bg_crop"))
        assert 10 < bg_crop.max() < 32  # of the scene 20, of the markers 235


def test_shifted_sequences_are_marked_or_left_out(prepared, filmed, tmp_path):
    labels = Labels(prepared)
    shifted = (labels["subj"] == 9) & (labels["motion"] == "SittingDown")
    np.testing.assert_array_equal(labels["shifted"] == 1, shifted)
    assert shifted.any()
    rest = prepare(filmed[0], tmp_path / "rest", subjects=[9], every=8, skip_shifted=True)
    assert set(Labels(rest)["motion"]) == {"Sitting", "Photo", "WalkDog"}
    assert "S9 SittingDown 1, camera 54138969: left out: its poses are shifted" in report_text(rest)


@pytest.mark.parametrize("form", ["flattened", "archives"])
def test_other_forms_of_the_download_give_the_same(form, prepared, copied, tmp_path):
    reshape(copied, 1, form)
    labels, same = Labels(prepare(copied, tmp_path / "set", subjects=[1])), Labels(prepared)
    own = same["subj"] == 1
    for name in ("frame", "cam", "seq", "3D", "extrinsic_rot", "motion"):
        np.testing.assert_array_equal(labels[name], same[name][own])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "source"]


def test_lengths_differ_between_cameras_and_one_camera_is_missing(copied, tmp_path):
    videos = copied / "S1" / "Videos"
    (videos / f"Sitting.{CAMERA_IDS[1]}.mp4").unlink()
    shutil.copy(videos / f"Sitting.{CAMERA_IDS[0]}.mp4", videos / f"WalkingDog 1.{CAMERA_IDS[0]}.mp4")
    output = tmp_path / "set"
    # eleven poses, ten frames: a normal difference
    prepare(copied, output, subjects=[1], every=1, skip_broken=True)
    labels, report = Labels(output), report_of(output)
    short = labels["motion"] == "WalkDog"
    assert [np.sum(short & (labels["cam"] == cam)) for cam in range(4)] == [10, 11, 11, 11]
    assert set(labels["cam"][labels["motion"] == "Sitting"]) == {0, 2, 3}
    assert "ends 1 frames before the poses" in report["1", "WalkingDog 1", CAMERA_IDS[0]]["note"]
    assert "no video" in report["1", "Sitting", CAMERA_IDS[1]]["note"]
    assert len(report) == 16 and sum(int(row["crops"]) for row in report.values()) == labels.num_rows
    validate(output)


def test_missing_and_unreadable_videos_stop_before_anything_is_written(copied, tmp_path):
    (copied / "S1" / "Videos" / f"Sitting.{CAMERA_IDS[2]}.mp4").unlink()
    broken = copied / "S1" / "Videos" / f"TakingPhoto.{CAMERA_IDS[0]}.mp4"
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(
        UserError, match=rf"^S1 Sitting, camera {CAMERA_IDS[2]}: no video .*\(and 1 more\).*--skip-broken"
    ):
        prepare(copied, tmp_path / "set", subjects=[1])
    assert not (tmp_path / "set").exists()


def test_video_that_breaks_on_the_way_is_reported_and_the_rest_is_kept(copied, tmp_path):
    """Its index is whole, its data are not: found only by decoding. Repaired, the set is finished without redoing."""
    video = copied / "S1" / "Videos" / f"TakingPhoto.{CAMERA_IDS[3]}.mp4"
    whole = video.read_bytes()
    start, end = whole.index(b"mdat"), whole.index(b"moov")
    video.write_bytes(whole[: (start + end) // 2] + bytes(end - (start + end) // 2) + whole[end:])
    output = tmp_path / "set"
    with pytest.raises(UserError, match=rf"1 videos are broken, first .*TakingPhoto.{CAMERA_IDS[3]}.mp4"):
        prepare(copied, output, subjects=[1], every=1)
    times = {path: path.stat().st_mtime_ns for path in output.rglob("*.png")}
    assert len(times) > 100 and not (output / "labels.h5").exists()
    video.write_bytes(whole)
    prepare(copied, output, subjects=[1], every=1)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert Labels(output).num_rows == 4 * (8 + 9 + 10 + 11)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_piece_that_is_lost_after_its_subject_is_finished_is_written_again(copied, tmp_path, monkeypatch, damage):
    output = tmp_path / "set"
    monkeypatch.setattr("datasets.video.crops_of_views.CHUNK", 4)
    with monkeypatch.context() as patch:
        patch.setattr("datasets.sources.human36m.prepare.LayoutWriter.finish", lambda *_, **__: None)
        prepare(copied, output, subjects=[1], every=1)
    assert (output / ".parts/S1.json").exists()
    piece = sorted((output / ".parts").glob("*_cam_02_000004.npz"))[1]
    damage(piece)
    prepare(copied, output, subjects=[1], every=1)
    labels = Labels(output)
    assert labels.num_rows == 4 * (8 + 9 + 10 + 11)
    assert sum(int(row["crops"]) for row in report_of(output).values()) == labels.num_rows
    validate(output)


def test_frames_that_one_camera_has_are_left_out(copied, tmp_path):
    videos, output = copied / "S1" / "Videos", tmp_path / "set"
    for number in (0, 1, 2):
        # eleven poses, ten frames: three videos end a frame before the fourth
        (videos / f"Sitting.{CAMERA_IDS[number]}.mp4").replace(videos / f"WalkingDog 1.{CAMERA_IDS[number]}.mp4")
    prepare(copied, output, subjects=[1], every=1, skip_broken=True)
    labels, report = Labels(output), report_of(output)
    assert set(labels["motion"]) == {"SittingDown", "Photo", "WalkDog"}
    assert labels["frame"][labels["motion"] == "WalkDog"].max() == 9
    note = report["1", "Sitting", CAMERA_IDS[3]]["note"]
    assert note == "8 frames that only one camera has are left out"
    assert report["1", "WalkingDog 1", CAMERA_IDS[3]]["note"] == "1 frames that only one camera has are left out"
    assert sum(int(row["crops"]) for row in report.values()) == labels.num_rows
    validate(output)


def test_finished_set_is_left_alone_and_another_one_refused(prepared, filmed, tmp_path):
    before = (prepared / "labels.h5").stat().st_mtime_ns
    assert prepare(filmed[0], prepared) == prepare(tmp_path / "gone", prepared) == prepared
    assert (prepared / "labels.h5").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="holds a set of"):
        prepare(filmed[0], prepared, every=EVERY + 1)


def test_test_set_takes_the_statistics_of_the_training_set(prepared, filmed, tmp_path):
    test = prepare(filmed[0], tmp_path / "test", subjects=[9], every=8, statistics=prepared)
    own = prepare(filmed[0], tmp_path / "own", subjects=[9], every=8)
    for name in ("pose_mean", "pose_std"):
        np.testing.assert_array_equal(Labels(test)[name], Labels(prepared)[name])
        assert not np.array_equal(Labels(own)[name], Labels(prepared)[name])
    with pytest.raises(UserError, match=r"expected \{'statistics': "):
        prepare(filmed[0], own, subjects=[9], every=8, statistics=prepared)


def test_wrong_places_are_named(filmed, copied, tmp_path):
    source = filmed[0]
    with pytest.raises(UserError, match=r"no folder '.*/gone'; expected one with Human3.6M's S1, S5"):
        prepare(tmp_path / "gone", tmp_path / "set")
    with pytest.raises(UserError, match=r"no .mp4 files of S1: expected S1/Videos or Videos_S1.tgz .* holds MyPose"):
        prepare(source / "S1", tmp_path / "set", metadata=source / "metadata.xml")
    with pytest.raises(UserError, match=r"no metadata.xml in .*or --metadata FILE"):
        prepare(source / "S1" / "Videos", tmp_path / "set")
    with pytest.raises(UserError, match=r"subject 12 is not in metadata.xml"):
        write_metadata(tmp_path / "m.xml", (1,))
        read_metadata(tmp_path / "m.xml").sequences(12)
    (copied / "S1" / "MyPoseFeatures" / "D3_Positions" / "Sitting.cdf").unlink()
    with pytest.raises(UserError, match=r"D3_Positions: expected 4 files for S1, got 3; missing: Sitting.cdf"):
        prepare(copied, tmp_path / "set", subjects=[1])
    assert not (tmp_path / "set").exists()


def test_archives_that_are_cut_short_are_named(archived, tmp_path):
    archive = archived / "Videos_S1.tgz"
    archive.write_bytes(archive.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"Videos_S1.tgz is truncated or damaged.*download it again"):
        prepare(archived, tmp_path / "set", subjects=[1])


def test_damaged_poses_and_metadata_are_named(copied, tmp_path):
    poses = copied / "S1" / "MyPoseFeatures" / "D3_Positions" / "Sitting.cdf"
    poses.write_bytes(poses.read_bytes()[:300])
    with pytest.raises(UserError, match=r"Sitting.cdf' cannot be read .*expected a CDF file"):
        prepare(copied, tmp_path / "set", subjects=[1])
    text = (copied / "metadata.xml").read_text()
    (copied / "metadata.xml").write_text(re.sub(r" \S+</w0>", "]</w0>", text))
    with pytest.raises(UserError, match="<w0> has 299 numbers; expected 300"):
        read_metadata(find_metadata(copied))
    (copied / "metadata.xml").write_text(text[:100])
    with pytest.raises(UserError, match=r"metadata.xml' cannot be read .*expected Human3.6M's metadata.xml"):
        read_metadata(find_metadata(copied))


# Numbers in CDF files. The first record is at 8 and says at 20 where the second is; that says where the variable is.
CDF_NUMBERS = {
    "dimensions of the file": (1, 56, "ask for endless work"),
    "dimensions of a variable": (2, 340, "ask for endless work"),
    "records": (2, 24, "'Pose' declares 824633720832 numbers"),
    "the first dimension": (2, 344, "'Pose' declares 206158430112 numbers"),
}


@pytest.mark.parametrize("what", CDF_NUMBERS)
def test_a_number_in_a_damaged_file_of_poses_is_not_counted_to(what, tmp_path):
    file = tmp_path / "Sitting.cdf"
    write_poses(file, np.zeros((4, 17, 3)))
    content, record = bytearray(file.read_bytes()), 8
    depth, place, message = CDF_NUMBERS[what]
    for _ in range(depth):
        record = int.from_bytes(content[record + (12 if record == 8 else 20) :][:8], "big")
    content[record + place : record + place + 4] = (2**31 - 1).to_bytes(4, "big")
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"Sitting\.cdf.*{message}"):
        read_cdf_poses(file)


def test_full_disk_is_reported_before_the_work(copied, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**5))
    with pytest.raises(UserError, match=r"set: 0.0 GB are free; expected 0.0 GB"):
        prepare(copied, tmp_path / "set", subjects=[1])
    assert not (tmp_path / "set").exists()


def test_a_disk_for_the_rest_is_enough_to_go_on(archived, tmp_path, monkeypatch):
    source, output = archived, tmp_path / "set"
    monkeypatch.setattr("datasets.video.crops_of_views.CHUNK", 4)
    crops = 1.5 * 2 * SIZE**2 * 4 * (8 + 9 + 10 + 11)

    def free(size):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, int(size)))

    with monkeypatch.context() as patch:
        patch.setattr(Preparation, "_run_subject", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(source, output, subjects=[1], every=1)
    free(crops)
    with monkeypatch.context() as patch:
        patch.setattr("datasets.sources.human36m.prepare.LayoutWriter.finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(source, output, subjects=[1], every=1)
    # All crops are there; S1 is to be asked for its views again.
    (output / ".parts/S1.json").unlink()
    free((source / "Videos_S1.tgz").stat().st_size + 1)
    prepare(source, output, subjects=[1], every=1)
    assert Labels(output).num_rows == 4 * (8 + 9 + 10 + 11)


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_a_folder_of_others_is_refused_before_anything_is_unpacked(archived, tmp_path):
    output = tmp_path / "set"
    output.mkdir()
    (output / "holiday.png").touch()
    with pytest.raises(UserError, match="set holds other files"):
        prepare(archived, output, subjects=[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "source"]


def test_the_current_folder_is_an_output(archived, tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path / "set")
    prepare(archived, ".", subjects=[1])
    assert Labels(".").num_rows and sorted(path.name for path in tmp_path.iterdir()) == ["set", "source"]


@pytest.mark.parametrize(("module", "package"), [("cdflib", "cdflib"), ("av", "av"), ("cv2", "opencv")])
def test_missing_packages_are_reported_first(module, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=f"needs? the package '{package}.*pip install"):
        prepare(tmp_path / "nowhere", tmp_path / "set")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0}, "every is 0; expected at least 1,"),
        ({"size": 8}, "size is 8; expected at least 16 pixels"),
        ({"workers": 0}, "workers is 0; expected at least 1,"),
        ({"split": "all"}, "split 'all'; expected one of train, test"),
        ({"subjects": []}, "no subjects; expected at least one"),
    ],
)
def test_bad_arguments_are_one_line(options, words, tmp_path):
    with pytest.raises(UserError, match=f"^{words}"):
        prepare(tmp_path, tmp_path / "set", **options)
    assert not list(tmp_path.iterdir())


def test_rotation_is_the_product_of_three(tmp_path):
    a, b, c = angles = np.array([-1.9, 0.4, 2.7])
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    np.testing.assert_allclose(rotation_from_angles(angles), x @ y @ z, atol=1e-12)
    write_metadata(tmp_path / "metadata.xml", (5,))
    camera, true = read_metadata(tmp_path / "metadata.xml").camera(5, 2, 1000, 1000), camera_of(5, 2)
    for name in ("rotation", "center", "intrinsics", "distortion"):
        np.testing.assert_allclose(getattr(camera, name), getattr(true, name), atol=1e-9)


def test_script_runs_from_anywhere_with_processes(filmed, tmp_path):
    arguments = ["--source", filmed[0], "--subjects", 1, "--every", 4, "--size", 32, "--workers", 2]
    done = run_script("prepare_h36m.py", *arguments, "--output", tmp_path / "set", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "S1: 44 crops of 16 videos; 0 left out" in done.stdout
