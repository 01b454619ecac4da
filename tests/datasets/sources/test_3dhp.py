"""MPI-INF-3DHP: crops, rotations and poses agree with its videos, annotations and calibration."""

import shutil

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("av")
pytest.importorskip("scipy")

import scipy.io as scipy_io

from datasets.layout.labels import Labels
from datasets.sources.mpi_inf_3dhp.files import read_cameras
from datasets.sources.mpi_inf_3dhp.prepare import prepare_3dhp
from datasets.validation import validate
from tests.markers import FLOOR, marker_offsets, read_crop
from tests.miniature_3dhp import write_3dhp
from tests.tiny import run_script, tiny_config
from training.stages.novel_views import train_novel_views
from utils.errors import UserError

SIZE = 64


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("3dhp")
    return root, write_3dhp(root / "mpi_inf_3dhp")


@pytest.fixture
def own_source(source, tmp_path):
    return shutil.copytree(source[0] / "mpi_inf_3dhp", tmp_path / "own")


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    output = tmp_path_factory.mktemp("prepared") / "train"
    report = prepare(source[0], output, every=1)
    assert "S1 Seq1: crops by camera 0: 8, 1: 8, 2: 8" in report and "camera 4 has no video" in report
    return output


def prepare(root, output, **more):
    return prepare_3dhp(root, output, **{"subjects": [1], "size": SIZE, "workers": 1, "progress": False, **more})


def test_poses_and_rotations_are_those_that_were_filmed(source, prepared):
    labels = Labels(prepared)
    assert "img_crop and bg_crop" in validate(prepared) and labels.num_rows == 48
    assert set(labels["seq"]) == {11, 12} and set(labels["cam"]) == {0, 1, 2}
    world = np.einsum("nij,npj->npi", labels["extrinsic_rot_inv"], labels["3D"].reshape(-1, 17, 3))
    truth = np.stack([source[1][1, s - 10][f] for s, f in zip(labels["seq"], labels["frame"], strict=True)])
    np.testing.assert_allclose(world, truth - truth[:, :1], atol=2e-5)  # the calibration has seven digits


def test_crops_show_the_joints_where_the_labels_say(prepared):
    offs = marker_offsets(prepared)
    assert len(offs) > 60
    assert np.median(offs) < 0.2 and max(offs) < 0.8


def test_backgrounds_are_empty(prepared):
    labels = Labels(prepared)
    for row in range(0, labels.num_rows, 5):
        empty = read_crop(prepared, labels, row, "bg_crop").astype(int)
        inside = read_crop(prepared, labels, row).max(-1) > FLOOR + 30
        assert np.abs(empty[inside] - FLOOR).max() < 8


def test_cameras_are_in_meters_with_z_up(source):
    cameras = read_cameras(source[0] / "mpi_inf_3dhp/S1/Seq1/camera.calibration")
    assert sorted(cameras) == list(range(14)) and (cameras[3].width, cameras[3].height) == (256, 256)
    np.testing.assert_allclose([camera.center[2] for camera in cameras.values()], 1.5, atol=1e-4)
    assert all(camera.rotation[1, 2] < -0.9 for camera in cameras.values())  # their y axes point down


def test_every_nth_frame_resume_and_no_background(source, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.sources.mpi_inf_3dhp.prepare.LayoutWriter.finish", lambda *_, **__: None)
    options = dict(every=3, cameras=(0, 2), background=False)
    prepare(source[0], tmp_path / "out", **options)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"holds a set of .*'every': 3"):
        prepare(source[0], tmp_path / "out", cameras=(0, 2), background=False)
    monkeypatch.setattr("datasets.video.crops_of_views.crop_map", None)  # nothing is cropped again
    report = prepare(source[0], tmp_path / "out", **options)
    assert prepare(source[0], tmp_path / "out", **options) == report and report.count("nothing") == 2
    assert sorted(set(Labels(tmp_path / "out")["frame"])) == [0, 3, 6]
    assert not list((tmp_path / "out").glob("*/*/bg_crop*"))


@pytest.fixture
def unfinished(monkeypatch):
    """Preparations end before labels.h5, in pieces of four crops."""
    monkeypatch.setattr("datasets.video.crops_of_views.CHUNK", 4)
    with monkeypatch.context() as patch:
        patch.setattr("datasets.sources.mpi_inf_3dhp.prepare.LayoutWriter.finish", lambda *_, **__: None)
        yield patch


def test_pieces_that_were_lost_or_damaged_are_written_again(source, prepared, tmp_path, unfinished):
    output = tmp_path / "out"
    prepare(source[0], output, every=1)
    (output / ".parts/seq_011_cam_00_000000.npz").unlink()
    (output / ".parts/seq_012_cam_01_000000.npz").write_bytes(b"")
    unfinished.undo()
    kept = (output / "seq_011/cam_00/img_crop_000004.png").stat().st_mtime_ns
    prepare(source[0], output, every=1)
    assert (output / "seq_011/cam_00/img_crop_000004.png").stat().st_mtime_ns == kept
    for name, values in Labels(prepared).items():
        np.testing.assert_array_equal(Labels(output)[name], values)
    validate(output)


@pytest.mark.parametrize("frames", [(5, 8), (8, 3)])
def test_a_video_that_is_replaced_on_the_way_gives_all_its_crops(own_source, tmp_path, unfinished, frames):
    video = own_source / "S1/Seq1/imageSequence/video_1.avi"
    for count in frames:
        write_3dhp(tmp_path / str(count), frames=count)
    for count in frames:
        shutil.copy(tmp_path / f"{count}/S1/Seq1/imageSequence/video_1.avi", video)
        if count == frames[-1]:
            unfinished.undo()
        prepare(own_source, tmp_path / "out", every=1)
    labels = Labels(tmp_path / "out")
    own = (labels["seq"] == 11) & (labels["cam"] == 1)
    assert labels["frame"][own].tolist() == list(range(frames[-1]))


def test_frames_about_which_the_cameras_disagree_are_left_out(own_source, tmp_path):
    """One wrong pose of one camera: its crop would have another pose than those of the others."""

    cameras = iter(range(14))

    def spoil(cell):
        if next(cameras) == 0:
            cell[2, 15:] += 100  # millimeters: joints behind the root
        return cell

    annotate(own_source / "S1/Seq1", annot3=spoil)
    report = prepare(own_source, tmp_path / "out", every=1)
    assert "S1 Seq1: crops by camera 0: 7, 1: 7, 2: 7" in report
    assert report.count("1 frames about whose person the cameras disagree") == 1
    assert Labels(tmp_path / "out").num_rows == 3 * 7 + 3 * 8
    validate(tmp_path / "out")


def test_a_finished_set_needs_no_source_and_another_one_is_refused_first(source, prepared, tmp_path):
    report = (prepared / "report.txt").read_text()
    assert prepare(tmp_path / "gone", prepared, every=1) == report
    with pytest.raises(UserError, match="holds a set of"):
        prepare(tmp_path / "gone", prepared, every=2)


def test_statistics_are_an_option_of_the_set(source, prepared):
    with pytest.raises(UserError, match=r"expected \{'statistics': "):
        prepare(source[0], prepared, every=1, statistics=prepared)


def test_stage_1_trains_on_it(source, tmp_path):
    prepare(source[0], tmp_path / "train", size=32, every=1)
    config = tiny_config(tmp_path / "train", tmp_path / "runs", num_training_iterations=3)
    assert (train_novel_views(config).path / "models/network_last_val.pth").is_file()


def test_script(source, tmp_path):
    done = run_script(
        "prepare_3dhp.py", "--source", source[0], "--output", tmp_path / "out", "--subjects", "1", "--size", "16",
        "--workers", "1",
    )  # fmt: skip
    assert done.returncode == 0 and "S1 Seq2: crops by camera" in done.stdout, done.stderr


def annotate(folder, **changes):
    content = {name: value for name, value in scipy_io.loadmat(folder / "annot.mat").items() if name[0] != "_"}
    for name, change in changes.items():
        cells = np.empty_like(content[name])
        cells[:, 0] = [change(cell) for cell in content[name][:, 0]]
        content[name] = cells
    scipy_io.savemat(folder / "annot.mat", content)


def calibrate(folder, old, new):
    path = folder / "camera.calibration"
    path.write_text(path.read_text().replace(old, new))


WRONG = [
    (lambda s: annotate(s, annot2=lambda cell: cell + 9), r"annot3 of camera 0 projects 13 px from annot2"),
    (lambda s: annotate(s, annot3=lambda cell: cell / 1000), r"cameras 0 and 1 disagree .*expected annot\.mat, in mm"),
    (lambda s: annotate(s, annot3=lambda cell: cell[:, :51]), r"annot3 of camera 0 has shape \(8, 51\); .*\(N, 84\)"),
    (lambda s: (s / "annot.mat").write_bytes(b"rubbish" * 99), r"annot\.mat' cannot be read .*expected a MATLAB file"),
    (lambda s: scipy_io.savemat(s / "annot.mat", {"a": 1}), r"annot\.mat has no cell array 'annot2'"),
    (lambda s: (s / "annot.mat").unlink(), r"no .*annot\.mat; expected it as downloaded"),
    (lambda s: calibrate(s, "radial      0", "radial      0.1"), r"calibration line 8: radial distortion \[0\.1\]"),
    (lambda s: calibrate(s, "size        256 256", "size 256"), r"calibration line 4: 1 numbers after 'size'"),
    (lambda s: calibrate(s, "Skeletool Camera Calibration", "My"), r"camera\.calibration holds no cameras"),
    (
        lambda s: calibrate(s, "256 256", "512 512"),
        r"video_0\.avi is 256x256 px; expected 512x512 px, the calibrated size of camera 0 of S1",
    ),
    (lambda s: [v.unlink() for v in (s / "imageSequence").glob("*[12].avi")], r"1 of the cameras .* have a video"),
    (lambda s: (s / "imageSequence/video_1.avi").write_bytes(b"RIFF"), r"video_1\.avi cannot be read as video"),
]


@pytest.mark.parametrize(("spoil", "message"), WRONG)
def test_broken_files_are_named(own_source, tmp_path, spoil, message):
    spoil(own_source / "S1/Seq1")
    with pytest.raises(UserError, match=message) as error:
        prepare(own_source, tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_calibration_of_another_sequence_is_noticed(own_source, tmp_path):
    """The cameras moved between the sequences, but still show the poses where annot2 says."""
    path = own_source / "S1/Seq1/camera.calibration"
    lines = path.read_text().splitlines()
    moved = np.array(lines[6].split()[1:], dtype=float)
    moved[3] += 300
    lines[6] = "  extrinsic   " + " ".join(map(str, moved))
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"cameras 0 and 1 disagree about the position of the person by 0\.\d+ m"):
        prepare(own_source, tmp_path / "out")


def test_a_short_video_is_reported(own_source, tmp_path):
    write_3dhp(tmp_path / "short", frames=5)
    shutil.copy(tmp_path / "short/S1/Seq1/imageSequence/video_1.avi", own_source / "S1/Seq1/imageSequence")
    report = prepare(own_source, tmp_path / "out", every=1)
    assert "crops by camera 0: 8, 1: 5, 2: 8" in report and "camera 1 ends 3 frames before its poses" in report


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(split="val"), "split 'val'"),
        (dict(cameras=(1, 1)), "two different cameras"),
        (dict(cameras=(0, 77)), "no camera 77; it has 0, 1"),
        (dict(every=0), "every is 0"),
        (dict(size=4), "size is 4"),
        (dict(subjects=[2]), r"no .*S2/Seq1/annot\.mat; expected it as downloaded"),
    ],
)
def test_bad_arguments(source, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        prepare(source[0], tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_wrong_folder_is_named(tmp_path):
    (tmp_path / "TS1").mkdir()
    with pytest.raises(UserError, match=r"no S1/Seq1 in .*, which holds TS1; expected S1 to S8"):
        prepare(tmp_path, tmp_path / "out")
