"""Checking a layout names the first thing wrong, in one line."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from datasets.layout.packed import pack
from datasets.layout.png import read_png, write_png
from datasets.validation import validate
from tests.processes import fork_script
from tests.synthetic import write_synthetic_layout
from tests.tiny import run_script
from utils.errors import UserError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("whole"), size=16, instants=3)


@pytest.fixture
def layout(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "layout"))


def edit(root, name, change):
    with h5py.File(root / "labels.h5", "a") as file:
        array = file[name][()]
        del file[name]
        if change is not None:
            changed = change(array)
            file[name] = array if changed is None else changed


def keep_rows(root, rows):
    with h5py.File(root / "labels.h5", "a") as file:
        for name in list(file):
            if not name.startswith("pose_"):
                array = file[name][()]
                del file[name]
                file[name] = array[rows]


def set_row(row, value):
    def change(array):
        array[row] = value

    return change


def test_summary(whole):
    summary = validate(whole)
    lines = [line.split() for line in summary.splitlines()]
    assert lines[0] == ["subject", "sequences", "instants", "cameras", "crops"]
    assert lines[1:4] == [["1", "2", "6", "4", "24"], ["5", "2", "6", "4", "24"], ["all", "4", "12", "4", "48"]]
    assert "16x16 px, img_crop and bg_crop" in summary


def test_backgrounds_may_be_missing_altogether(layout):
    for path in layout.glob("*/*/bg_crop_*.png"):
        path.unlink()
    assert "16x16 px, img_crop;" in validate(layout)


def test_poses_may_be_missing_altogether(layout):
    for name in ("3D", "pose_mean", "pose_std"):
        edit(layout, name, None)
    assert "no 3D poses" in validate(layout)


WRONG_ROTATION = 1.01 * np.eye(3)
MIRROR = np.diag([1.0, 1.0, -1.0])
WRONG_LABELS = [
    ("intrinsic_crop", None, r"has no 'intrinsic_crop'"),
    ("pose_std", None, r"has no 'pose_std'"),
    ("3D", lambda array: array[:, :48], r"'3D' has shape \(48, 48\); expected \(48, 51\)"),
    ("3D", set_row((7, 9), np.nan), r"'3D' holds NaN or infinity in row 7 \(subj 1, seq 1, frame 5, cam 3\)"),
    ("3D", lambda array: 1000 * array, r"'3D' has a joint .* expected meters"),
    ("3D", set_row((3, 1), 0.2), r"'3D' has its root 0.2 m from the origin in row 3"),
    ("extrinsic_rot", set_row(5, WRONG_ROTATION), r"'extrinsic_rot' differs from a rotation by .* in row 5"),
    ("extrinsic_rot", set_row(5, MIRROR), r"'extrinsic_rot' differs from a rotation by 2 in row 5"),
    ("extrinsic_rot_inv", set_row(6, np.eye(3)), r"'extrinsic_rot_inv' differs from the inverse .* in row 6"),
    ("pose_std", lambda array: 0 * array, r"'pose_std' is 0"),
    ("cam", set_row(2, 1), r"duplicate row in row 2 \(subj 1, seq 1, frame 0, cam 1\)"),
    ("seq", lambda array: np.where(array == 3, 2, array), r"two subjects share seq 2"),
    ("3D", lambda array: np.roll(array, 1, axis=0), r"cameras of one instant disagree about '3D' by"),
]


@pytest.mark.parametrize(("name", "change", "message"), WRONG_LABELS)
def test_wrong_labels_are_named(layout, name, change, message):
    edit(layout, name, change)
    with pytest.raises(UserError, match=message) as error:
        validate(layout)
    assert "\n" not in str(error.value)


def test_lonely_instants_are_named(layout):
    keep_rows(layout, np.delete(np.arange(48), [12, 13, 15]))
    with pytest.raises(UserError, match=r"1 of 12 instants have fewer than 2 cameras, the first in row 12 .*frame 0"):
        validate(layout)


@pytest.mark.parametrize("kind", ["img_crop", "bg_crop"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "empty", "text"])
def test_bad_crops_are_named(layout, kind, fault):
    path = layout / f"seq_003/cam_02/{kind}_000010.png"
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes({"truncated": path.read_bytes()[:-40], "empty": b"", "text": b"<html></html>"}[fault])
    with pytest.raises(UserError, match=rf"{'missing' if fault == 'missing' else 'corrupt'} crop .*{path.name}"):
        validate(layout)


def test_crop_of_another_size_is_named(layout):
    from PIL import Image

    path = layout / "seq_004/cam_00/img_crop_000005.png"
    Image.new("RGB", (16, 12)).save(path)
    with pytest.raises(UserError, match=r"img_crop_000005\.png is 16x12 px; expected 16x16 px"):
        validate(layout)


def test_packed_crops_are_what_is_checked(layout):
    """Training reads these: they must be those of the files, and are enough where somebody keeps them alone."""
    pack(layout, progress=False)
    summary = validate(layout)
    path = layout / "seq_003/cam_02/bg_crop_000010.png"
    crop = read_png(str(path)).copy()
    crop[3, 4] ^= 1
    write_png(str(path), crop)
    with pytest.raises(UserError, match=r"bg_crop_000010\.png differs from its packed crop; pack again .* or remove"):
        validate(layout)
    for file in layout.rglob("*.png"):
        file.unlink()
    assert validate(layout) == summary
    shutil.rmtree(layout / "packed")
    with pytest.raises(UserError, match="missing crop"):
        validate(layout)


def test_damaged_packed_crops_are_named(layout):
    pack(layout, progress=False)
    (layout / "packed/img_crop.npy").write_bytes(b"")
    with pytest.raises(UserError, match="packed are damaged"):
        validate(layout)


def test_script(layout, tmp_path):
    good = fork_script("validate_dataset.py", layout, cwd=tmp_path)
    assert good.returncode == 0 and "crops" in good.stdout
    edit(layout, "frame", None)
    bad = run_script("validate_dataset.py", layout, cwd=tmp_path)
    assert bad.returncode == 2 and not bad.stdout
    assert bad.stderr.count("\n") == 1 and "'frame'" in bad.stderr
