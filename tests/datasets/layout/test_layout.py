"""Writing a layout, resuming it, and reading it back."""

import os
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datasets.cameras.crop_camera import project_to_crop
from datasets.layout.labels import Labels, is_finished
from datasets.layout.pieces import pose_statistics
from datasets.layout.writer import LayoutWriter, image_path
from datasets.reader import MultiViewDataset, collate_batch
from datasets.sampler import GroupedBatchSampler
from tests.synthetic import write_synthetic_layout
from tests.tiny import ROOT, TIMEOUT
from utils.errors import UserError


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("layout"), size=32)


@pytest.fixture
def own_layout(tmp_path):
    return write_synthetic_layout(tmp_path / "layout", size=16, sequences_per_subject=1, instants=2)


def made_up_piece(seq, count=6, size=16, seed=0):
    rng = np.random.default_rng(seed + seq)
    img, bg = rng.integers(0, 256, (2, count, size, size, 3), dtype=np.uint8)
    eye = np.tile(np.eye(3), (count, 1, 1))
    rows = {"frame": np.arange(count) // 2, "cam": np.arange(count) % 2, "seq": np.full(count, seq)}
    rows |= {"subj": np.full(count, 5), "extrinsic_rot": eye, "extrinsic_rot_inv": eye, "intrinsic_crop": eye}
    rows |= {"3D": rng.normal(size=(count, 17, 3)), "bounding_box_cam": np.zeros((count, 4))}
    rows["3D"][:, 0] = 0
    return img, bg, rows, f"seq_{seq:03d}"


def edit_labels(root, name, change):
    """Replace a key of labels.h5 by change(array), or delete it (None)."""
    with h5py.File(root / "labels.h5", "a") as file:
        array = file[name][()]
        del file[name]
        if change is not None:
            file[name] = change(array)


def test_what_is_written_is_read(tmp_path):
    pieces = [made_up_piece(seq) for seq in (2, 1)]
    writer = LayoutWriter(tmp_path, 16, total=12)
    for piece in pieces:
        writer.add(*piece)
    writer.finish()
    dataset = MultiViewDataset(tmp_path)
    assert len(dataset) == 12 and dataset.size == 16
    assert dataset.labels["seq"].tolist() == [1] * 6 + [2] * 6  # ordered by key, not by when it was written
    img, bg, rows, _ = pieces[0]
    item = dataset[7]
    assert {key: value.dtype for key, value in item.items() if value.dtype != torch.float32} == dict.fromkeys(
        ("img_crop", "bg_crop"), torch.uint8
    ) | dict.fromkeys(("frame", "cam", "seq", "subj"), torch.int64)
    np.testing.assert_array_equal(item["img_crop"].permute(1, 2, 0), img[1])
    np.testing.assert_array_equal(item["bg_crop"].permute(1, 2, 0), bg[1])
    np.testing.assert_allclose(item["3D"], rows["3D"][1].reshape(51), rtol=1e-6)
    assert (item["subj"], item["seq"], item["frame"], item["cam"]) == (5, 2, 0, 1)


def test_published_file_names(layout):
    assert image_path("data", 3, 1, 42, "bg_crop") == "data/seq_003/cam_01/bg_crop_000042.png"
    assert (layout / "seq_001/cam_03/img_crop_000025.png").is_file()
    assert not (layout / ".parts").exists()


def test_statistics_are_those_of_the_set(layout):
    dataset = MultiViewDataset(layout)
    poses = dataset.labels["3D"].astype(np.float64)
    np.testing.assert_allclose(dataset.pose_mean, poses.mean(0), atol=1e-6)
    np.testing.assert_allclose(dataset.pose_std[3:], poses.std(0)[3:], rtol=1e-4)
    np.testing.assert_array_equal(dataset.pose_std[:3], 1)
    mean, std = pose_statistics(poses, chunk=7)
    np.testing.assert_allclose(np.stack([mean, std])[:, 3:], np.stack([poses.mean(0), poses.std(0)])[:, 3:])


def test_what_never_varies_has_a_deviation_of_one():
    poses = np.random.default_rng(0).normal(size=(9, 51))
    poses[:, 5:8] = (0.1, -0.3, 1 / 3)
    std = pose_statistics(poses)[1]
    assert (std[5:8] == 1).all() and not (std[8:] == 1).any()
    np.testing.assert_array_equal(pose_statistics(poses[:1])[1], 1)
    # Sums of many rows are rounded more.
    np.testing.assert_array_equal(pose_statistics(np.full((150_000, 51), 1.2 / 7))[1], 1)


def test_statistics_can_be_given(tmp_path):
    writer = LayoutWriter(tmp_path, 16)
    writer.add(*made_up_piece(1))
    writer.finish(np.arange(51), np.arange(51).reshape(17, 3) + 1)
    dataset = MultiViewDataset(tmp_path)
    np.testing.assert_array_equal(dataset.pose_mean, np.arange(51))
    np.testing.assert_array_equal(dataset.pose_std, np.arange(51) + 1)


def test_a_set_without_poses_has_no_statistics(tmp_path):
    img, bg, rows, key = made_up_piece(1)
    writer = LayoutWriter(tmp_path, 16)
    writer.add(img, bg, {name: value for name, value in rows.items() if name != "3D"}, key)
    writer.finish()
    assert not {"3D", "pose_mean", "pose_std"} & set(Labels(tmp_path))
    assert MultiViewDataset(tmp_path, keys=("img_crop", "extrinsic_rot"))[0]["extrinsic_rot"].shape == (3, 3)


def test_geometry_of_the_synthetic_layout_is_exact(layout):
    """Poses rotated between cameras agree, and each crop shows the joints where the labels say."""
    labels = Labels(layout)
    pose = labels["3D"].reshape(-1, 17, 3)
    world = np.einsum("nij,npj->npi", labels["extrinsic_rot_inv"], pose).reshape(-1, 4, 17, 3)
    np.testing.assert_allclose(world, np.tile(world[:, :1], (1, 4, 1, 1)), atol=1e-5)
    root = 2 * labels["intrinsic_crop"][:, None, :1, 0] * np.array([0, 0, 1])
    pixels = (32 * project_to_crop(pose + root, labels["intrinsic_crop"])).astype(int)
    batch = MultiViewDataset(layout).__getitems__(range(len(pose)))
    difference = (batch["img_crop"].int() - batch["bg_crop"].int()).abs().sum(1).numpy()
    at_root = difference[np.arange(len(pose)), pixels[:, 0, 1], pixels[:, 0, 0]]
    assert (at_root > 15).all()
    y, x = np.mgrid[:32, :32]
    far = (np.hypot(x - pixels[..., 0, None, None], y - pixels[..., 1, None, None]) > 5).all(axis=1)
    assert (difference[far] == 0).all()


def test_extra_keys_and_strings_are_kept(layout):
    motion = Labels(layout)["motion"]
    assert set(motion.tolist()) == {"walking", "reaching"}
    with pytest.raises(UserError, match="'motion' is not numeric per row"):
        MultiViewDataset(layout, keys=("motion",))


def test_resumes_where_it_stopped(tmp_path):
    writer = LayoutWriter(tmp_path, 16)
    writer.add(*made_up_piece(1))
    resumed = LayoutWriter(tmp_path, 16)
    assert resumed.finished_keys == ["seq_001"] and resumed.has("seq_001") and not resumed.has("seq_002")
    resumed.add(*made_up_piece(2))
    assert not is_finished(tmp_path)
    resumed.finish()
    assert is_finished(tmp_path) and len(MultiViewDataset(tmp_path)) == 12
    with pytest.raises(UserError, match="already holds a finished layout"):
        LayoutWriter(tmp_path, 16)


def test_a_piece_that_cannot_be_read_is_written_again(tmp_path):
    writer, pieces = LayoutWriter(tmp_path, 16), [made_up_piece(seq) for seq in (1, 2, 3)]
    for piece in pieces:
        writer.add(*piece)
    (tmp_path / ".parts/seq_001.npz").write_bytes(b"")  # as a power cut may leave it
    whole = (tmp_path / ".parts/seq_002.npz").read_bytes()
    (tmp_path / ".parts/seq_002.npz").write_bytes(whole[:300] + bytes(8) + whole[308:])
    frames = pieces[2][2]["frame"]
    assert [writer.has(f"seq_{seq:03d}") for seq in (1, 2, 3)] == [False, False, True]
    assert writer.has("seq_003", frames)
    assert not writer.has("seq_003", frames[:5]) and not writer.has("seq_003", -frames)
    with pytest.raises(UserError, match=r"seq_001\.npz' cannot be read .*remove it to write the piece again"):
        writer.finish()
    writer.add(*pieces[0])
    with pytest.raises(UserError, match=r"no file .*seq_004\.npz"):
        writer.finish(keys=["seq_003", "seq_004"])
    writer.finish(keys=["seq_003", "seq_001"])
    assert set(Labels(tmp_path)["seq"]) == {1, 3}


KILLED_JOB = """
import sys
from tests.datasets.layout.test_layout import LayoutWriter, made_up_piece
from tests.moments import kill_in_call
kill_in_call("datasets.layout.writer.write_png", 2 * 80 + 50)
writer = LayoutWriter(sys.argv[1], 64)
for seq in range(1, 5):
    writer.add(*made_up_piece(seq, count=40, size=64))
"""


def test_a_killed_job_loses_only_its_last_piece(tmp_path):
    job = subprocess.run([sys.executable, "-c", KILLED_JOB, tmp_path], cwd=ROOT, timeout=TIMEOUT)
    assert job.returncode == -signal.SIGKILL and any(tmp_path.glob("seq_003/*/*.png"))
    writer = LayoutWriter(tmp_path, 64)
    assert writer.finished_keys == ["seq_001", "seq_002"]
    writer.finish()
    batch = MultiViewDataset(tmp_path).__getitems__(range(40))
    np.testing.assert_array_equal(batch["img_crop"].permute(0, 2, 3, 1), made_up_piece(1, 40, 64)[0])


def test_half_written_layout_says_so(tmp_path):
    LayoutWriter(tmp_path, 16).add(*made_up_piece(1))
    with pytest.raises(UserError, match=r"is unfinished.*resume"):
        MultiViewDataset(tmp_path)
    with pytest.raises(UserError, match="unfinished with crops of 16 px; got 32"):
        LayoutWriter(tmp_path, 32)
    with pytest.raises(UserError, match="has 6 rows; expected 7"):
        LayoutWriter(tmp_path, 16, total=7).finish()


def test_writer_refuses_wrong_input(tmp_path):
    writer = LayoutWriter(tmp_path, 16)
    img, bg, rows, key = made_up_piece(1)
    with pytest.raises(UserError, match=r"bg_crop is float64 \(6, 16, 16, 3\)"):
        writer.add(img, bg / 255, rows, key)
    with pytest.raises(UserError, match="rows lack subj"):
        writer.add(img, bg, {name: value for name, value in rows.items() if name != "subj"}, key)
    with pytest.raises(UserError, match="3D has rows of shape"):
        writer.add(img, bg, rows | {"3D": np.zeros((6, 16, 3))}, key)
    with pytest.raises(UserError, match="frame has 5 rows"):
        writer.add(img, bg, rows | {"frame": np.arange(5)}, key)
    assert writer.finished_keys == []
    with pytest.raises(UserError, match="expected at least one"):
        writer.finish()


def test_batches_are_stacked_items_preloaded_or_not(layout):
    dataset, preloaded = MultiViewDataset(layout), MultiViewDataset(layout, preload=True)
    rows = [5, 90, 5, 33]
    batch, fast = dataset.__getitems__(rows), preloaded.__getitems__(np.array(rows))
    assert list(batch) == list(fast) == list(dataset.keys)
    for key, value in batch.items():
        assert torch.equal(value, torch.stack([dataset[row][key] for row in rows])), key
        assert torch.equal(value, fast[key]), key


@pytest.mark.parametrize("workers", [0, 1])
def test_data_loader(layout, workers):
    dataset = MultiViewDataset(layout, keys=("img_crop", "subj", "frame"))
    sampler = GroupedBatchSampler(dataset.labels, 16)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate_batch, num_workers=workers)
    batches = list(loader)
    assert len(batches) == len(loader) == 6
    assert all(batch["img_crop"].shape == (16, 3, 32, 32) for batch in batches)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int64])
def test_labels_of_other_types_and_shapes(own_layout, dtype):
    expected = MultiViewDataset(own_layout)[13]
    for name in ("frame", "cam", "seq", "subj"):
        edit_labels(own_layout, name, lambda array: array.astype(dtype)[:, None])
    edit_labels(own_layout, "3D", lambda array: array.reshape(-1, 17, 3).astype(np.float64))
    edit_labels(own_layout, "extrinsic_rot", lambda array: array.reshape(-1, 9))
    edit_labels(own_layout, "pose_mean", lambda array: array[None])
    item = MultiViewDataset(own_layout)[13]
    for key, value in expected.items():
        assert torch.equal(value, item[key]) and value.dtype == item[key].dtype, key
    assert MultiViewDataset(own_layout).pose_mean.shape == (51,)


def test_labels_without_3d(own_layout):
    edit_labels(own_layout, "3D", None)
    with pytest.raises(UserError, match="has no '3D'; it has"):
        MultiViewDataset(own_layout)
    assert set(MultiViewDataset(own_layout, keys=("img_crop", "extrinsic_rot"))[0]) == {"img_crop", "extrinsic_rot"}


def test_labels_of_wrong_shape(own_layout):
    edit_labels(own_layout, "bounding_box_cam", lambda array: array[:-1])
    with pytest.raises(UserError, match=r"'bounding_box_cam' has shape \(15, 4\); expected \(16, 4\)"):
        MultiViewDataset(own_layout)


def test_missing_backgrounds_matter_only_when_asked_for(tmp_path):
    root = write_synthetic_layout(tmp_path, 16, (1,), 1, 2, background=False)
    with pytest.raises(UserError, match=r"missing crop .*bg_crop_000000\.png"):
        MultiViewDataset(root)
    assert MultiViewDataset(root, keys=("img_crop",))[0]["img_crop"].shape == (3, 16, 16)


@pytest.mark.parametrize("preload", [False, True])
def test_corrupt_crop_is_named(own_layout, preload):
    path = own_layout / "seq_002/cam_01/img_crop_000005.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"corrupt crop .*seq_002/cam_01/img_crop_000005\.png"):
        MultiViewDataset(own_layout, preload=preload).__getitems__(range(16))


def test_flipped_bytes_never_escape_as_another_error(own_layout):
    path = own_layout / "seq_001/cam_00/img_crop_000005.png"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    dataset = MultiViewDataset(own_layout, keys=("img_crop", "frame", "cam", "seq"))
    row = 4
    assert (dataset[row]["seq"], dataset[row]["cam"], dataset[row]["frame"]) == (1, 0, 5)
    refused = 0
    for _ in range(200):
        broken = bytearray(whole)
        broken[rng.integers(len(broken))] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        try:
            dataset[row]
        except UserError as error:
            refused += "img_crop_000005" in str(error)
    assert refused > 100


def test_crop_of_another_size_is_named(own_layout):
    other = write_synthetic_layout(own_layout.parent / "other", size=24, subjects=(1,), sequences_per_subject=1)
    name = "seq_001/cam_02/img_crop_000005.png"
    os.replace(other / name, own_layout / name)
    with pytest.raises(UserError, match=r"img_crop_000005.png is 24x24 px; expected 16x16 px"):
        MultiViewDataset(own_layout).__getitems__(range(8))


def test_no_layout_at_all(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        MultiViewDataset(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no labels\.h5"):
        MultiViewDataset(tmp_path)
    (tmp_path / "labels.h5").write_bytes(b"not HDF5")
    with pytest.raises(UserError, match=r"cannot be read .*expected an HDF5 file"):
        MultiViewDataset(tmp_path)
