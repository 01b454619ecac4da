"""Packed crops: the bytes of the PNG files without decoding them, and never those of another set."""

import json

import h5py
import numpy as np
import pytest
import torch

from datasets.layout.packed import PACKED_FOLDER, UNFINISHED_FOLDER, open_packed, pack
from datasets.layout.png import read_png, write_png
from datasets.layout.writer import LayoutWriter, image_path
from datasets.reader import MultiViewDataset
from tests.moments import run_script_until
from tests.processes import fork_script
from tests.runs import losses
from tests.synthetic import write_synthetic_layout
from tests.tiny import run_script, tiny_config
from training.loop.loaders import cache_on_device
from training.stages.novel_views import train_novel_views
from utils.errors import UserError

SIZE = 16


@pytest.fixture
def layout(tmp_path):
    return write_synthetic_layout(tmp_path / "set", size=SIZE, subjects=(1,), instants=5)


def crops_of(dataset):
    return {kind: dataset.__getitems__(range(len(dataset)))[kind] for kind in ("img_crop", "bg_crop")}


def forbid_png(monkeypatch):
    def refuse(path, channels=3):
        raise AssertionError(f"{path} was decoded")

    monkeypatch.setattr("datasets.layout.crops.read_png", refuse)


@pytest.mark.parametrize("preload", [False, True])
def test_packed_crops_are_the_bytes_of_the_png_files(layout, preload, monkeypatch):
    expected = crops_of(MultiViewDataset(layout))
    assert MultiViewDataset(layout).decodes
    pack(layout, progress=False)
    forbid_png(monkeypatch)
    dataset = MultiViewDataset(layout, preload=preload)
    assert dataset.size == SIZE and not dataset.decodes
    for kind, crops in crops_of(dataset).items():
        assert crops.dtype == torch.uint8 and torch.equal(crops, expected[kind])
    rows = np.array([7, 3, 3, -1])
    batch = dataset.__getitems__(rows)
    assert torch.equal(batch["bg_crop"], expected["bg_crop"][rows])
    assert torch.equal(batch["3D"], torch.from_numpy(dataset.labels["3D"][rows]))
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_a_batch_is_not_a_view_of_the_file(layout):
    pack(layout, progress=False)
    before = crops_of(MultiViewDataset(layout))["img_crop"]
    dataset = MultiViewDataset(layout)
    dataset.__getitems__(range(4))["img_crop"].zero_()
    assert torch.equal(crops_of(dataset)["img_crop"], before)
    assert torch.equal(crops_of(MultiViewDataset(layout))["img_crop"], before)


def test_backgrounds_that_repeat_are_stored_once(layout):
    # The synthetic cameras are static: one background each.
    line = pack(layout, progress=False)
    packed = open_packed(MultiViewDataset(layout).labels)
    assert len(packed["bg_crop"].images) == 4 and len(packed["img_crop"].images) == 40
    assert "4 distinct bg_crop" in line and "40 rows" in line


def test_a_layout_without_backgrounds(tmp_path):
    root = write_synthetic_layout(tmp_path / "set", SIZE, (1,), 1, 2, background=False)
    pack(root, progress=False)
    assert MultiViewDataset(root, keys=("img_crop",))[0]["img_crop"].shape == (3, SIZE, SIZE)
    with pytest.raises(UserError, match=r"missing crop .*bg_crop"):
        MultiViewDataset(root)


def test_crops_held_on_a_device_give_the_same_batches(layout):
    plain = MultiViewDataset(layout).__getitems__(range(8))
    with pytest.raises(UserError, match="expected preloaded or packed"):
        MultiViewDataset(layout).to(torch.device("cpu"))
    held = [MultiViewDataset(layout, preload=True).to("cpu")]
    pack(layout, progress=False)
    held.append(MultiViewDataset(layout).to("cpu"))
    (layout / PACKED_FOLDER / "img_crop.npy").write_bytes(b"")  # in memory now, not mapped
    for dataset in held:
        batch = dataset.__getitems__(range(8))
        assert batch.keys() == plain.keys() and all(torch.equal(batch[key], plain[key]) for key in plain)


def test_training_on_packed_crops_is_the_same_training(tmp_path, monkeypatch):
    data = write_synthetic_layout(tmp_path / "set", 32, (1, 5), 2, 4)

    def train(name, **changes):
        config = tiny_config(data, tmp_path / name, num_training_iterations=3, **changes)
        return losses(train_novel_views(config))

    from_png = train("png")
    pack(data, progress=False)
    forbid_png(monkeypatch)
    assert train("packed", num_workers=2) == from_png
    assert train("held", crops_on_device="always") == from_png
    assert train("preloaded", preload_images=True) == from_png


def test_training_on_some_preloaded_rows_is_the_same_training(tmp_path):
    """Rows of other people, and those held out that no score reads, are not loaded: to read one would be an error."""
    data = write_synthetic_layout(tmp_path / "set", 32, (1, 5, 6), 2, 4)
    chosen = {"actor_subset": [1, 5], "validation_crops": 4, "plot_every": 2, "num_training_iterations": 3}
    runs = [
        train_novel_views(tiny_config(data, tmp_path / str(preload), preload_images=preload, **chosen))
        for preload in (False, True)
    ]
    assert losses(runs[0]) == losses(runs[1])


def test_where_crops_are_held(layout):
    def held(wanted):
        dataset = MultiViewDataset(layout)
        return cache_on_device(dataset, {"crops_on_device": wanted}, torch.device("cpu"))

    assert held("auto").decodes and held("never").decodes
    with pytest.raises(UserError, match="expected preloaded or packed"):
        held("always")


def test_crops_of_other_labels_are_refused_and_packed_anew(layout):
    pack(layout, progress=False)
    with h5py.File(layout / "labels.h5", "r+") as file:
        file["bounding_box_cam"][3] += 0.01
    with pytest.raises(UserError, match=r"belong to other labels; pack again \(python configs/pack_dataset.py"):
        MultiViewDataset(layout)
    path = image_path(layout, 1, 0, 0, "img_crop")
    write_png(path, 255 - read_png(path))
    pack(layout, progress=False)
    np.testing.assert_array_equal(MultiViewDataset(layout)[0]["img_crop"].numpy(), read_png(path).transpose(2, 0, 1))


def break_json(folder):
    (folder / "packed.json").write_text("{")


def cut(name, keep):
    def damage(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:keep])

    return damage


def wrong_rows(folder):
    np.save(folder / "bg_crop_rows.npy", np.full(40, 4))


def wrong_size(folder):
    about = json.loads((folder / "packed.json").read_text())
    (folder / "packed.json").write_text(json.dumps({**about, "size": 2 * SIZE}))


DAMAGES = {
    "truncated crops": cut("img_crop.npy", -1),
    "truncated backgrounds": cut("bg_crop.npy", 1000),
    "no header": cut("img_crop.npy", 10),
    "empty": cut("bg_crop_rows.npy", 0),
    "not JSON": break_json,
    "rows out of range": wrong_rows,
    "another size": wrong_size,
    "missing": lambda folder: (folder / "img_crop.npy").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_one_line_and_packed_anew(layout, damage):
    expected = crops_of(MultiViewDataset(layout))
    pack(layout, progress=False)
    damage(layout / PACKED_FOLDER)
    with pytest.raises(UserError, match=r"packed are damaged .*; pack again") as error:
        MultiViewDataset(layout)
    assert len(str(error.value).splitlines()) == 1
    pack(layout, progress=False)
    assert all(torch.equal(crops, expected[kind]) for kind, crops in crops_of(MultiViewDataset(layout)).items())


@pytest.mark.parametrize("kept", [0, 50, 1000, 128 + 7 * 3 * SIZE**2, 128 + 40 * 3 * SIZE**2])
def test_an_interrupted_packing_goes_on_where_it_stopped(layout, kept, monkeypatch):
    expected = crops_of(MultiViewDataset(layout))
    pack(layout, progress=False)
    whole = (layout / PACKED_FOLDER / "img_crop.npy").read_bytes()
    unfinished = layout / UNFINISHED_FOLDER
    (layout / PACKED_FOLDER).rename(unfinished)
    (unfinished / "img_crop.npy").write_bytes(whole[:kept])
    assert MultiViewDataset(layout).decodes  # what is unfinished is not read
    decoded = []
    monkeypatch.setattr(
        "datasets.layout.crops.read_png", lambda path, channels=3: decoded.append(path) or read_png(path, channels)
    )
    pack(layout, progress=False)
    again = sum("img_crop" in path for path in decoded) - 1  # the first tells the size
    assert again == 40 - max(0, kept - 128) // (3 * SIZE**2)
    assert (layout / PACKED_FOLDER / "img_crop.npy").read_bytes() == whole and not unfinished.exists()
    assert all(torch.equal(crops, expected[kind]) for kind, crops in crops_of(MultiViewDataset(layout)).items())


def test_a_finished_packing_is_left_as_it_is(layout):
    pack(layout, progress=False)
    before = (layout / PACKED_FOLDER / "img_crop.npy").stat().st_mtime_ns
    pack(layout, progress=False)
    assert (layout / PACKED_FOLDER / "img_crop.npy").stat().st_mtime_ns == before


@pytest.mark.parametrize("finished", [True, False])
def test_images_that_are_newer_are_packed_anew(layout, finished):
    pack(layout, progress=False)
    if not finished:
        (layout / PACKED_FOLDER).rename(layout / UNFINISHED_FOLDER)
    path = image_path(layout, 1, 0, 0, "img_crop")
    write_png(path, 255 - read_png(path))
    pack(layout, progress=False)
    np.testing.assert_array_equal(MultiViewDataset(layout)[0]["img_crop"].numpy(), read_png(path).transpose(2, 0, 1))


def test_packed_images_whose_files_are_gone_are_kept(layout):
    pack(layout, progress=False)
    before = (layout / PACKED_FOLDER / "img_crop.npy").stat().st_mtime_ns
    for path in layout.rglob("*.png"):
        path.unlink()
    assert "40 rows" in pack(layout, progress=False)
    assert (layout / PACKED_FOLDER / "img_crop.npy").stat().st_mtime_ns == before


def test_a_full_disk_is_one_line(layout, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match=r"GiB of disk are free; expected .* GiB to pack"):
        pack(layout, progress=False)


def test_the_script_survives_a_kill(tmp_path):
    count = 600
    rows = {
        "frame": np.arange(count), "cam": np.zeros(count), "seq": np.ones(count), "subj": np.ones(count),
        "extrinsic_rot": np.tile(np.eye(3), (count, 1, 1)), "extrinsic_rot_inv": np.tile(np.eye(3), (count, 1, 1)),
        "bounding_box_cam": np.zeros((count, 4)), "intrinsic_crop": np.tile(np.eye(3), (count, 1, 1)),
    }  # fmt: skip
    crops = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    writer = LayoutWriter(tmp_path / "set", SIZE)
    writer.add(crops, crops, rows, "seq_001")
    writer.finish()
    # After the first block of images, of 512.
    run_script_until("datasets.layout.crops.read_png", 560, "pack_dataset.py", tmp_path / "set")
    assert (tmp_path / "set" / UNFINISHED_FOLDER / "img_crop.npy").stat().st_size > 512 * 3 * SIZE**2
    result = fork_script("pack_dataset.py", tmp_path / "set")
    assert result.returncode == 0 and "600 rows" in result.stdout, result.stderr
    keys = ("img_crop", "bg_crop")
    batch = MultiViewDataset(tmp_path / "set", keys).__getitems__(range(count))
    for kind in keys:
        np.testing.assert_array_equal(batch[kind].numpy(), crops.transpose(0, 3, 1, 2))


def test_the_script_names_what_is_wrong(layout, tmp_path):
    assert fork_script("pack_dataset.py", "--help", cwd=tmp_path).returncode == 0
    result = run_script("pack_dataset.py", tmp_path / "nowhere", cwd=tmp_path)
    assert result.returncode == 2 and "nowhere" in result.stderr and len(result.stderr.strip().splitlines()) == 1
    path = layout / "seq_002/cam_01/img_crop_000005.png"
    path.write_bytes(path.read_bytes()[:100])
    result = fork_script("pack_dataset.py", layout)
    assert result.returncode == 2 and "corrupt crop" in result.stderr.strip().splitlines()[-1]
    assert not (layout / PACKED_FOLDER).exists()
