"""Ski-PosePTZ-Camera: crops, rotations and poses of the layout agree with the images they come from."""

import shutil
import sys

import h5py
import numpy as np
import pytest

pytest.importorskip("cv2")

from datasets.cameras.camera import Camera
from datasets.cameras.crop_camera import crop_camera, project_to_crop
from datasets.layout.labels import Labels
from datasets.sources.ski import fraction_outside, prepare_ski, read_labels, root_positions, split_folder
from datasets.validation import validate
from datasets.video.cropping import crop_map
from tests.markers import marker_offsets
from tests.miniature_ski import write_ski
from tests.tiny import run_script, tiny_config
from training.stages.novel_views import train_novel_views
from utils.errors import UserError

SIZE = 64


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("ski")
    write_ski(root, "train")
    return root


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    output = tmp_path_factory.mktemp("prepared") / "train"
    assert "36 crops; left out: no row" in prepare_ski(source, output, SIZE, progress=False)
    return output


def edit(path, name, change):
    with h5py.File(path, "a") as file:
        array = change(file[name][()])
        del file[name]
        file[name] = array


def test_layout_is_valid_without_backgrounds(prepared):
    summary = validate(prepared)
    assert "img_crop;" in summary and "cameras per instant: 6 to 6" in summary
    assert set(Labels(prepared)["subj"]) == {1, 2}


def test_crops_show_the_joints_where_the_labels_say(prepared):
    offs = marker_offsets(prepared)
    assert len(offs) > 60
    assert max(offs) < 0.25


def test_roots_are_found_from_2d_and_relative_3d(source):
    labels = read_labels(source / "train/labels.h5")
    seen = project_to_crop(labels.poses + root_positions(labels)[:, None], labels.intrinsics)
    np.testing.assert_allclose(seen, labels.points, atol=1e-6)


def test_extrinsics_are_those_of_the_crop_cameras(source, prepared):
    """Camera-frame poses of all cameras are one pose of the world, the one of the source."""
    labels, truth = Labels(prepared), read_labels(source / "train/labels.h5")
    world = np.einsum("nij,npj->npi", labels["extrinsic_rot_inv"], labels["3D"].reshape(-1, 17, 3))
    np.testing.assert_allclose(world, truth.poses @ truth.rotations, atol=1e-5)
    assert np.abs(labels["extrinsic_rot"] - truth.rotations).max() > 0.01


def test_resumes_and_takes_statistics_over(source, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.sources.ski.LayoutWriter.finish", lambda *_, **__: None)
    prepare_ski(source, tmp_path / "test", SIZE, "train", prepared, progress=False)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"holds a set of .*2\.0.*; expected .*1\.5"):
        prepare_ski(source, tmp_path / "test", SIZE, "train", prepared, box_metres=1.5, progress=False)
    monkeypatch.setattr("datasets.sources.ski.crop_map", None)  # nothing is cropped again
    report = prepare_ski(source, tmp_path / "test", SIZE, "train", prepared, progress=False)
    np.testing.assert_array_equal(Labels(tmp_path / "test")["pose_std"], Labels(prepared)["pose_std"])
    # Finished: left alone, also when the source is gone.
    assert prepare_ski(tmp_path / "gone", tmp_path / "test", SIZE, "train", prepared, progress=False) == report
    # As sets of before reports were stored.
    (tmp_path / "test/report.txt").unlink()
    again = prepare_ski(tmp_path / "gone", tmp_path / "test", SIZE, "train", prepared, progress=False)
    assert again == f"{tmp_path / 'test'} is finished already"
    with pytest.raises(UserError, match=r"holds a set of \{'statistics': "):
        prepare_ski(source, tmp_path / "test", SIZE, "train", progress=False)


def test_the_area_outside_is_that_of_all_crops_also_after_an_interruption(source, tmp_path, monkeypatch):
    from datasets.sources import ski

    crop_rows, fractions = ski._crop_rows, iter([0.1, KeyboardInterrupt, 0.5])

    def cropped(*arguments):
        crops, rows, _ = crop_rows(*arguments)
        fraction = next(fractions)
        if fraction is KeyboardInterrupt:
            raise KeyboardInterrupt
        return crops, rows, fraction

    monkeypatch.setattr(ski, "_crop_rows", cropped)
    with h5py.File(source / "train/labels.h5") as file:
        rows = np.flatnonzero((file["seq"][:, 0] == 0) | (file["frame"][:, 0] == 0))
    shutil.copytree(source, tmp_path / "own")
    for name in ("seq", "cam", "frame", "subj", "3D", "2D", "cam_intrinsic", "cam_position", "R_cam_2_world"):
        edit(tmp_path / "own/train/labels.h5", name, lambda array: array[rows])
    with pytest.raises(KeyboardInterrupt):
        prepare_ski(tmp_path / "own", tmp_path / "out", 32, progress=False)
    report = prepare_ski(tmp_path / "own", tmp_path / "out", 32, progress=False)
    # 18 rows of 0.1 and 6 of 0.5.
    assert report.endswith("20% of the crops' area lies outside of the images and is black")
    assert (tmp_path / "out/report.txt").read_text() == report


def test_instants_about_which_the_cameras_disagree_are_left_out(source, tmp_path):
    shutil.copytree(source, tmp_path / "own")
    edit(tmp_path / "own/train/labels.h5", "3D", set_row(0, 1.1))
    report = prepare_ski(tmp_path / "own", tmp_path / "out", 32, progress=False)
    assert "30 crops; left out: 6 rows of instants about whose pose the cameras disagree" in report
    validate(tmp_path / "out")


def set_row(row, factor):
    def change(array):
        array[row] *= factor
        return array

    return change


def test_a_missing_package_is_reported_before_anything_is_written(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"needs? the package 'opencv.*pip install"):
        prepare_ski(source, tmp_path / "out", SIZE, progress=False)
    assert not (tmp_path / "out").exists()


def test_missing_images_are_counted(tmp_path):
    folder = write_ski(tmp_path, "test", sequences=1, instants=2, cameras=2)
    (folder / "seq_000/cam_01/image_000004.png").unlink()
    report = prepare_ski(tmp_path, tmp_path / "out", 32, "test", progress=False)
    assert "2 crops; left out: 1 rows without an image, 1 rows that are alone in their instant" in report
    assert Labels(tmp_path / "out")["frame"].tolist() == [0, 0]


def test_a_second_row_of_an_image_is_counted_and_is_no_second_camera(tmp_path):
    folder = write_ski(tmp_path, sequences=1, instants=2, cameras=2)
    # Twice the first image. The second instant keeps one camera, whose row is there twice, too.
    for name in ("seq", "cam", "frame", "subj", "3D", "2D", "cam_intrinsic", "cam_position", "R_cam_2_world"):
        edit(folder / "labels.h5", name, lambda array: array[[0, 1, 0, 2, 2]])
    report = prepare_ski(tmp_path, tmp_path / "out", 32, progress=False)
    assert (
        "2 crops; left out: 2 rows of an image that has one already, 1 rows that are alone in their instant" in report
    )
    assert Labels(tmp_path / "out")["cam"].tolist() == [0, 1]
    validate(tmp_path / "out")


WRONG = [
    ("2D", lambda array: 256 * array, r"'3D' projected by 'cam_intrinsic' misses '2D' by .* expected at most 0\.05"),
    ("3D", lambda array: array[:, :48], r"'3D' has shape \(24, 48\); expected finite numbers of \(24, 17, 3\)"),
    ("R_cam_2_world", lambda array: np.tile(np.eye(3).reshape(9), (24, 1)), r"disagree about '3D' by .* m in the"),
    ("seq", lambda array: 5, r"no rows in 'seq', which has shape \(\)"),
    ("subj", lambda array: np.arange(24), r"seq 0 has subjects 0 and 1; expected one subject per sequence"),
]


@pytest.mark.parametrize(("name", "change", "message"), WRONG)
def test_wrong_labels_are_named(tmp_path, name, change, message):
    folder = write_ski(tmp_path, instants=2)
    edit(folder / "labels.h5", name, change)
    with pytest.raises(UserError, match=message) as error:
        prepare_ski(tmp_path, tmp_path / "out", 32, progress=False)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(size=8), "size is 8; expected at least 16"),
        (dict(split="val"), "split 'val'"),
        (dict(box_metres=0), "box_metres is 0; expected 0.1 to 100 meters"),
    ],
)
def test_bad_arguments(source, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        prepare_ski(source, tmp_path / "out", progress=False, **arguments)
    assert not (tmp_path / "out").exists()


def test_wrong_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no train/labels\.h5 in .*; expected the unpacked Ski-PosePTZ"):
        prepare_ski(tmp_path, tmp_path / "out")


def test_a_folder_of_a_split_is_taken_for_that_split_only(source, tmp_path, monkeypatch):
    for path in (source, source / "train"):
        assert split_folder(path, "train") == source / "train"
    with pytest.raises(UserError, match=r"no test/labels\.h5 in .*; expected the unpacked .* or its folder 'test'"):
        prepare_ski(source / "train", tmp_path / "out", split="test")
    assert not (tmp_path / "out").exists()
    monkeypatch.chdir(source / "train")
    assert split_folder(".", "train").samefile(source / "train")


def test_script(source, tmp_path):
    done = run_script("prepare_ski.py", "--source", source, "--output", tmp_path / "train", "--size", "16")
    assert done.returncode == 0 and done.stdout.startswith("36 crops"), done.stderr


def test_stage_1_trains_on_it(source, tmp_path):
    prepare_ski(source, tmp_path / "train", 32, progress=False)
    config = tiny_config(tmp_path / "train", tmp_path / "runs", skip_background=False, num_training_iterations=3)
    assert (train_novel_views(config).path / "models/network_last_val.pth").is_file()


@pytest.mark.parametrize("root", [[0.0, 0.0, 5.0], [1.9, 0.0, 5.0], [-1.9, 1.0, 5.0]])
def test_the_fraction_outside_the_image_is_what_is_black(root):
    camera = Camera(
        np.eye(3), np.zeros(3), np.array([[250.0, 0, 127.5], [0, 250, 127.5], [0, 0, 1]]), np.zeros(5), 256, 256
    )
    crop = crop_camera(np.array(root))
    samples = crop_map(camera, crop.rotation, crop.intrinsic_crop, SIZE)
    black = (samples.sample(np.full((256, 256), 255, np.uint8)) < 128).mean()
    assert fraction_outside(samples, camera) == pytest.approx(black, abs=0.03)
    assert (black > 0.2) == (root[0] != 0)
