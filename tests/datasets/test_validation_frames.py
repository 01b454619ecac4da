"""Checking a layout of full frames names the first thing wrong, in one line; packing it keeps what is read."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from datasets import FrameDataset, FrameWriter
from datasets.coverage import coverage_report
from datasets.layout.frame_writer import frame_path
from datasets.layout.packed import pack
from datasets.validation import validate
from tests.processes import fork_script
from tests.synthetic_frames import synthetic_scene, write_synthetic_frames
from utils.errors import UserError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_synthetic_frames(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def frames(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "frames"))


def edit(root, name, change):
    with h5py.File(root / "labels.h5", "a") as file:
        array = file[name][()]
        del file[name]
        if change is not None:
            changed = change(array)
            file[name] = array if changed is None else changed


def put(place, value):
    def change(array):
        array[place] = value

    return change


def times(factor):
    return lambda array: array * factor


def test_summary(whole):
    lines = validate(whole).splitlines()
    table = [line.split() for line in lines[:5]]
    assert table[0] == ["people", "sequences", "instants", "cameras", "frames"]
    assert table[1:4] == [["0", "1", "4", "3", "12"], ["1", "1", "4", "3", "12"], ["2", "2", "8", "3", "24"]]
    assert table[4] == ["all", "4", "16", "3", "48"]
    assert lines[5] == "frames: 64x48 px, img, bg and mask; cameras per instant: 3 to 3"
    assert lines[6] == "3 subjects in 2 columns: 1, 5, 6"
    assert lines[7].startswith("boxes: 60 of 60 people are in the frame; ")
    assert lines[-1].startswith("cameras agree about 3D within 0.00 mm")


def test_optional_keys_may_be_missing_altogether(frames):
    for name in ("3D", "pose_mean", "pose_std", "box", "position", "occlusion"):
        edit(frames, name, None)
    for mask in frames.rglob("mask_*.png"):
        mask.unlink()
    assert "no 3D poses: stage 1 only" in validate(frames) and "img and bg;" in validate(frames)


def test_places_of_cameras_are_compared(tmp_path):
    img, bg, rows, _ = synthetic_scene(1, (1, 5), (48, 64), 2, 3, 2, np.random.default_rng(0))
    # Where the cameras are: each sees the first person at the place at which the first camera sees it.
    seen = np.einsum("nij,nj->ni", rows["extrinsic_rot_inv"], rows["position"][:, 0])
    rows["camera_position"] = np.repeat(seen[::3], 3, axis=0) - seen
    for name, shift in (("good", 0), ("bad", 0.2)):
        writer = FrameWriter(tmp_path / name, (48, 64))
        rows["camera_position"][4, 0] += shift
        writer.add(img, bg, rows, "a")
        writer.finish()
    assert "cameras agree about places within 0.0" in validate(tmp_path / "good")
    with pytest.raises(UserError, match=r"disagree about 'position' by 0.2 m in row 3"):
        validate(tmp_path / "bad")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("subj", lambda array: array[:, 0], r"'subj' has shape \(48,\); expected \(48, people\)"),
        ("3D", lambda array: array[:, :1], r"'3D' has shape \(48, 1, 51\); expected \(48, 2, 51\)"),
        ("intrinsics", None, "has no 'intrinsics'; it has"),
        (
            "intrinsics",
            put((3, 0, 0), np.nan),
            r"'intrinsics' holds NaN or infinity in row 3 \(seq 1, frame 5",
        ),
        ("intrinsics", put((3, 0, 0), -40), "'intrinsics' is no camera matrix in pixels .* in row 3"),
        (
            "intrinsics",
            times([[2.0], [2.0], [1.0]]),
            "have their 'position' outside their 'box', the first in row",
        ),
        ("extrinsic_rot", put((5, 0, 0), 3), "'extrinsic_rot' differs from a rotation by .* in row 5"),
        ("subj", put((2, 1), 9), r"'subj' changes within its sequence in row \d"),
        ("subj", put((2, 1), 1), "'subj' has a person in two columns in row 2"),
        ("subj", put((2, 1), -2), "'subj' holds -2 in row 2"),
        ("subj", put((2, 1), -1), "'3D' is given where 'subj' is -1 in row 2"),
        ("box", put((2, 1, 3), np.nan), "'box' of a person is NaN in part in row 2"),
        ("box", put((2, 1, 2), 90), r"'box' reaches .* px beyond the frame in row 2 .*inside 64x48 px"),
        ("box", put((2, 1, 2), 0), "'box' is empty in row 2"),
        ("box", put((2, 1), [0, 0, 4, 4]), "mask_000000.png shows person 1 outside its 'box'"),
        ("position", put((2, 1, 2), -3), "'position' of a person with a box is behind the camera in row 2"),
        ("occlusion", put((2, 1), 1.5), "'occlusion' is beyond 0 to 1 by 0.5 in row 2"),
        ("3D", put((2, 1, 0), 0.1), "'3D' has its root 0.1 m from the origin in row 2"),
        ("3D", times(1000), "expected meters, at most 3"),
        (
            "3D",
            lambda array: np.roll(array, 3, axis=-1) - np.tile(array[..., -3:], 17),
            "expected the joints in the order",
        ),
        ("3D", put((2, 1), 0.0), r"disagree about '3D' by .* m in row 0"),
        ("frame", put(1, 5), "duplicate row in row"),
    ],
)
def test_wrong_labels_are_named(frames, name, change, message):
    edit(frames, name, change)
    with pytest.raises(UserError, match=message):
        validate(frames)


@pytest.mark.parametrize(
    ("kind", "damage", "message"),
    [
        ("img", lambda path: path.unlink(), "missing frame .*img_000005.png"),
        ("img", lambda path: path.write_bytes(path.read_bytes()[:300]), "corrupt frame .*img_000005.png"),
        ("img", lambda path: Image.new("RGB", (64, 47)).save(path), "is 64x47 px; expected 64x48 px like the first"),
        ("bg", lambda path: path.unlink(), "missing background .*cam_01/bg.png"),
        ("bg", lambda path: Image.new("RGB", (32, 24)).save(path), "bg.png is 32x24 px; expected 64x48 px"),
        ("mask", lambda path: path.unlink(), "missing mask .*mask_000005.png; expected a PNG of 8-bit gray"),
        ("mask", lambda path: Image.new("L", (64, 48), 3).save(path), "mask_000005.png holds 3; expected 0, or p"),
    ],
)
def test_wrong_images_are_named(frames, kind, damage, message):
    damage(Path(frame_path(frames, 2, 1, 5, kind)))
    with pytest.raises(UserError, match=message):
        validate(frames)


def test_packed_frames_are_the_same(frames, monkeypatch):
    rows = list(range(48))
    before = FrameDataset(frames).__getitems__(rows)
    report = pack(frames, progress=False)
    assert "48 distinct img, 12 distinct bg, 48 distinct mask" in report

    def refuse(*arguments):
        raise AssertionError("decoded")

    monkeypatch.setattr("datasets.layout.frame_files.read_png", refuse)
    dataset = FrameDataset(frames)
    assert not dataset.decodes and dataset.size == (48, 64) and dataset.kinds == ("img", "bg", "mask")
    assert dataset.nbytes == 48 * 64 * (48 * 3 + 12 * 3 + 48)
    for key, value in dataset.__getitems__(rows).items():
        torch.testing.assert_close(value, before[key], equal_nan=True, rtol=0, atol=0)
    edit(frames, "box", put((0, 0), [1, 1, 2, 2]))
    with pytest.raises(UserError, match=r"packed frames of .* belong to other labels; pack again"):
        FrameDataset(frames)


def test_scripts(frames):
    for script, expected in (
        ("validate_dataset", "frames: 64x48 px, img, bg and mask"),
        ("pack_dataset", "12 distinct bg"),
    ):
        done = fork_script(f"{script}.py", frames)
        assert done.returncode == 0 and expected in done.stdout


def test_coverage_counts_people(whole):
    assert coverage_report(whole, whole).startswith("60 poses of")


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_packed_frames_are_what_is_checked(frames, form):
    if form == "jpg":
        for path in frames.rglob("img_*.png"):
            Image.open(path).save(path.with_suffix(".jpg"), quality=95)
            path.unlink()
    pack(frames, progress=False)
    summary = validate(frames)
    path = sorted(frames.rglob(f"img_*.{form}"))[5]
    whole = path.read_bytes()
    image = Image.open(path).convert("RGB")
    image.transpose(Image.Transpose.ROTATE_180).save(path)
    with pytest.raises(UserError, match=rf"{path.name} differs from its packed frame; pack again"):
        validate(frames)
    path.write_bytes(whole)
    for kind in ("img", "mask", "bg"):
        for file in frames.rglob(f"{kind}*.{form}"):
            file.unlink()
        assert validate(frames) == summary
