"""Version 2 of the layout, full frames of several people: writing, resuming, reading and sampling."""

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from datasets import FrameDataset, FrameWriter, GroupedBatchSampler, Labels, MultiViewDataset
from datasets.layout.frame_writer import frame_path
from datasets.layout.pieces import pose_statistics
from datasets.sampler import select_rows, split_validation
from tests.synthetic import write_synthetic_layout
from tests.synthetic_frames import synthetic_scene, write_synthetic_frames
from utils.errors import UserError

SIZE = (32, 48)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return write_synthetic_frames(tmp_path_factory.mktemp("frames"))


@pytest.fixture
def own_frames(tmp_path):
    return write_synthetic_frames(tmp_path / "frames", SIZE, scenes=((1, 5), (5,)), instants=2, cameras=2)


def scene(seq, subjects, people=2):
    return synthetic_scene(seq, subjects, SIZE, 2, 2, people, np.random.default_rng(seq))


def test_what_is_written_is_read(tmp_path):
    scenes = {seq: scene(seq, subjects) for seq, subjects in ((2, (1, 5)), (1, (6,)))}
    writer = FrameWriter(tmp_path, SIZE, total=8)
    for seq, (img, bg, rows, mask) in scenes.items():
        writer.add(img, bg, rows, f"seq_{seq:03d}", mask)
    writer.finish()
    dataset = FrameDataset(tmp_path)
    assert (dataset.size, dataset.num_people, len(dataset)) == (SIZE, 2, 8)
    assert dataset.labels.version == 2 and dataset.kinds == ("img", "bg", "mask")
    batch = dataset.__getitems__(range(8))
    for part, seq in enumerate((1, 2)):
        img, bg, rows, mask = scenes[seq]
        own = {key: value[4 * part : 4 * part + 4].numpy() for key, value in batch.items()}
        np.testing.assert_array_equal(own["img"], img.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(own["mask"], mask)
        np.testing.assert_array_equal(own["bg"], [bg[seq, cam].transpose(2, 0, 1) for cam in rows["cam"]])
        for key in set(rows) - {"motion"}:
            np.testing.assert_allclose(own[key], rows[key].reshape(own[key].shape), rtol=1e-6)
    shapes = {"3D": (8, 2, 51), "box": (8, 2, 4), "position": (8, 2, 3), "occlusion": (8, 2), "subj": (8, 2)}
    shapes |= {"intrinsics": (8, 3, 3), "mask": (8, *SIZE), "img": (8, 3, *SIZE), "cam": (8,)}
    assert {key: tuple(batch[key].shape) for key in shapes} == shapes
    types = {key: value.dtype for key, value in batch.items()}
    assert types["subj"] == types["seq"] == torch.int64 and types["mask"] == torch.uint8
    assert types["occlusion"] == types["3D"] == torch.float32
    assert list(dataset.labels["motion"]) == ["walking"] * 8
    assert len(list(tmp_path.rglob("bg.png"))) == 4 and not (tmp_path / ".parts").exists()


def test_statistics_count_every_pose_once_and_nobody_never(frames):
    labels = Labels(frames)
    poses = labels["3D"].reshape(-1, 51)
    poses = poses[np.isfinite(poses).all(1)].astype(float)
    assert len(poses) == (labels["subj"] >= 0).sum() < labels["subj"].size
    np.testing.assert_allclose(labels["pose_mean"], poses.mean(0), atol=1e-6)
    np.testing.assert_allclose(labels["pose_std"][3:], poses.std(0)[3:], atol=1e-6)
    mean, std = pose_statistics(np.full((3, 2, 51), np.nan))
    assert (mean == 0).all() and (std == 1).all()


def test_a_killed_job_resumes_and_gives_the_same_bytes(tmp_path):
    folders = [tmp_path / name for name in ("whole", "resumed")]
    for folder in folders:
        FrameWriter(folder, SIZE).add(*scene(1, (1, 5))[:3], "a", scene(1, (1, 5))[3])
        writer = FrameWriter(folder, SIZE)
        assert writer.has("a") and not writer.has("b")
        img, bg, rows, mask = scene(2, (6,))
        writer.add(img, bg, rows, "b", mask)
        writer.finish()
    files = [sorted(path.relative_to(folder) for path in folder.rglob("*.*")) for folder in folders]
    assert files[0] == files[1]
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in files[0])


def test_pieces_of_fewer_people_get_columns_of_nobody(tmp_path):
    writer = FrameWriter(tmp_path, SIZE)
    writer.add(*scene(1, (1,), people=1)[:3], "a")
    writer.add(*scene(2, (5, 6), people=2)[:3], "b")
    writer.finish()
    labels = Labels(tmp_path)
    assert labels.num_people == 2 and (labels["subj"][:4] == [1, -1]).all() and (labels["subj"][4:] == [5, 6]).all()
    assert all(np.isnan(labels[key][:4, 1]).all() for key in ("3D", "box", "position", "occlusion"))
    assert np.isfinite(labels["3D"][:4, 0]).all() and FrameDataset(tmp_path).kinds == ("img", "bg")


def test_a_background_may_come_with_the_first_of_several_pieces(tmp_path):
    img, bg, rows, _ = scene(1, (1,))
    first, second = ({key: value[part] for key, value in rows.items()} for part in (slice(2), slice(2, 4)))
    writer = FrameWriter(tmp_path, SIZE)
    writer.add(img[:2], bg, first, "a")
    writer.add(img[2:], {}, second, "b")
    with pytest.raises(UserError, match="no background of seq 7, cam 0; expected one for each"):
        writer.add(img[2:], {}, second | {"seq": np.full(2, 7)}, "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": {"subj": np.zeros(4, int)}}, r"subj has shape \(4,\); expected \(N, people\), 1 to 254 people"),
        ({"rows": {"box": np.zeros((4, 3, 4))}}, r"box has rows of shape \(3, 4\); expected \(2, 4\)"),
        ({"rows": {"intrinsics": None}}, "rows lack intrinsics"),
        (
            {"img": np.zeros((4, 48, 32, 3), np.uint8)},
            r"img is uint8 \(4, 48, 32, 3\); expected uint8 \(4, 32, 48, 3\)",
        ),
        ({"bg": {(1, 0): np.zeros((9, 9, 3), np.uint8)}}, r"bg of seq 1, cam 0, is uint8 \(9, 9, 3\); expected"),
        ({"mask": np.full((4, *SIZE), 3, np.uint8)}, "mask holds 3; expected at most 2, the number of columns"),
    ],
)
def test_wrong_pieces_are_one_line(tmp_path, change, message):
    img, bg, rows, mask = scene(1, (1, 5))
    rows = {key: value for key, value in (rows | change.pop("rows", {})).items() if value is not None}
    piece = {"img": img, "bg": bg, "mask": mask} | change
    with pytest.raises(UserError, match=message):
        FrameWriter(tmp_path, SIZE).add(piece["img"], piece["bg"], rows, "a", piece["mask"])
    assert not list(tmp_path.rglob("*.png"))


def test_unfinished_work_of_another_size_or_version_is_one_line(tmp_path):
    FrameWriter(tmp_path / "frames", SIZE)
    with pytest.raises(UserError, match="unfinished with frames of 48x32 px; got 64x32 px, expected 48x32"):
        FrameWriter(tmp_path / "frames", (32, 64))
    write_synthetic_layout(tmp_path / "crops", size=16, sequences_per_subject=1, instants=1)
    with pytest.raises(UserError, match="already holds a finished layout"):
        FrameWriter(tmp_path / "crops", SIZE)


def test_each_version_has_its_reader(tmp_path, frames):
    crops = write_synthetic_layout(tmp_path / "crops", size=16, sequences_per_subject=1, instants=1)
    with pytest.raises(UserError, match=r"version 1 \(crops of one person\); expected version 2 \(full frames"):
        FrameDataset(crops)
    with pytest.raises(UserError, match=r"version 2 \(full frames of several people\); expected version 1 \(crops"):
        MultiViewDataset(frames)
    with h5py.File(crops / "labels.h5", "a") as file:
        file.attrs["layout_version"] = 3
    with pytest.raises(UserError, match=r"'layout_version' is 3; expected 1 \(crops of one person\) or 2"):
        Labels(crops)


def test_preloaded_and_moved_frames_are_the_same(frames):
    rows = [5, 0, -1, 30]
    read, held = FrameDataset(frames), FrameDataset(frames, preload=True, progress=False).to("cpu")
    assert read.decodes and not held.decodes and held.nbytes < read.size[0] * read.size[1] * 48 * 7
    for key, value in read.__getitems__(rows).items():
        torch.testing.assert_close(held.__getitems__(rows)[key], value, equal_nan=True, rtol=0, atol=0)
    with pytest.raises(UserError, match=r"frames of .* are PNG files; expected preloaded or packed frames to move"):
        read.to("cpu")
    item = read[3]
    assert item["img"].shape == (3, 48, 64) and item["subj"].tolist() == [1, 5]


def test_rows_choose_what_is_preloaded(frames, monkeypatch):
    rows = np.array([30, 5, 31, 5])
    read, held = FrameDataset(frames), FrameDataset(frames).preload(progress=False, rows=rows)
    monkeypatch.setattr(type(held._files), "read", lambda *_: pytest.fail("a file is read"))
    batch = held.__getitems__(rows)
    monkeypatch.undo()
    for key, value in read.__getitems__(rows).items():
        torch.testing.assert_close(batch[key], value, equal_nan=True, rtol=0, atol=0)
    backgrounds = len(set(read._files.index("bg")[rows]))
    height, width = read.size
    assert held.nbytes == height * width * (3 * 3 + 3 * backgrounds + 3)  # three rows: images, backgrounds, masks
    with pytest.raises(IndexError):
        held[6]


def test_keys_choose_what_is_read(frames):
    dataset = FrameDataset(frames, keys=("bg", "subj"))
    assert list(dataset[0]) == ["bg", "subj"]
    with pytest.raises(UserError, match="has no 'mask_crop'; it has"):
        FrameDataset(frames, keys=("mask_crop",))


def test_optional_keys_may_be_missing(tmp_path):
    img, bg, rows, _ = scene(1, (1, 5))
    optional = {"3D", "box", "position", "occlusion"}
    writer = FrameWriter(tmp_path, SIZE)
    writer.add(img, bg, {key: value for key, value in rows.items() if key not in optional}, "a")
    writer.finish()
    dataset = FrameDataset(tmp_path)
    assert not optional & set(dataset[0]) and "pose_mean" not in dataset.labels
    with pytest.raises(UserError, match="has no '3D'; it has"):
        FrameDataset(tmp_path, keys=("3D",))


def test_jpeg_frames_and_backgrounds_are_read(own_frames):
    before = FrameDataset(own_frames)[0]
    for kind in ("img", "bg"):
        path = own_frames / frame_path("", 1, 0, 0, kind)[1:]
        Image.open(path).save(path.with_suffix(".jpg"), quality=95, subsampling=0)
        path.unlink()
    after = FrameDataset(own_frames)[0]
    for kind in ("img", "bg"):
        difference = (after[kind].int() - before[kind].int()).abs()
        assert 0 < difference.max() < 40


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "missing frame .*img_000005.png; expected a PNG or JPEG"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "corrupt frame .*img_000005.png .* whole PNG or JPEG"),
        (lambda path: Image.new("RGB", (40, 32)).save(path), "is 40x32 px; expected 48x32 px like the first frame"),
    ],
)
def test_damaged_frames_are_one_line(own_frames, damage, message):
    damage(own_frames / frame_path("", 1, 1, 5, "img")[1:])
    dataset = FrameDataset(own_frames)
    with pytest.raises(UserError, match=message):
        dataset.__getitems__(range(len(dataset)))


def test_masks_with_a_palette_are_one_line(own_frames):
    path = own_frames / frame_path("", 1, 0, 0, "mask")[1:]
    Image.open(path).convert("P").save(path)
    with pytest.raises(UserError, match=r"mask .*mask_000000\.png has a palette of colors; expected 8-bit gray"):
        FrameDataset(own_frames)[0]


def test_a_missing_background_is_one_line(own_frames):
    (own_frames / frame_path("", 1, 0, 0, "bg")[1:]).unlink()
    with pytest.raises(UserError, match=r"missing background .*seq_001/cam_00/bg\.png"):
        FrameDataset(own_frames, keys=("img", "bg"))


def test_infinity_and_nan_where_none_may_be(own_frames):
    for name, value, message in (
        ("intrinsics", np.nan, "NaN or infinity in row 2"),
        ("box", np.inf, "infinity in row"),
    ):
        with h5py.File(own_frames / "labels.h5", "a") as file:
            held = file[name][2]
            file[name][2] = value
        with pytest.raises(UserError, match=rf"'{name}' holds {message}.*seq 1, frame 5, cam 0"):
            Labels(own_frames)[name]
        with h5py.File(own_frames / "labels.h5", "a") as file:
            file[name][2] = held


def test_a_batch_is_instants_of_a_scene(frames):
    labels = FrameDataset(frames, keys=()).labels
    sampler = GroupedBatchSampler(labels, 8, use_cam_batches=2, use_subject_batches=True)
    rows = np.concatenate(list(sampler)).reshape(-1, 2, 2)
    ids = np.stack([labels[name][rows] for name in ("seq", "frame", "cam")], axis=-1)
    assert (ids[:, :, 0, :2] == ids[:, :, 1, :2]).all() and (ids[:, :, 0, 2] != ids[:, :, 1, 2]).all()
    assert (ids[:, 0, 0, 0] == ids[:, 1, 0, 0]).all() and (ids[:, 0, 0, 1] != ids[:, 1, 0, 1]).all()
    first = {tuple(pair) for pair in ids[:, 0, 0, :2]}
    assert len(first) == len(rows) == 16


def test_actor_subset_keeps_instants_of_nobody_else(frames):
    labels = Labels(frames)
    assert set(labels["seq"][select_rows(labels, actor_subset=[5])]) == {2, 3}
    assert set(labels["seq"][select_rows(labels, actor_subset=[1, 5])]) == {1, 2, 3}
    assert set(labels["frame"][select_rows(labels, every_nth_frame=2)]) == {0, 10}
    for unknown in (9, -1):
        with pytest.raises(UserError, match=rf"no subject {unknown}; expected some of \[1 5 6\]"):
            select_rows(labels, actor_subset=[1, unknown])
    # A person whom only one camera shows is there for all of them.
    seen = {key: labels[key].copy() for key in ("subj", "seq", "frame", "cam")}
    seen["subj"][(seen["seq"] == 1) & (seen["cam"] > 0), 0] = -1
    assert set(seen["seq"][select_rows(seen, actor_subset=[5])]) == {2, 3}


def test_whole_scenes_are_held_out(frames):
    labels = Labels(frames)
    train, held_out = split_validation(labels, 0.25, seed=3)
    assert len(train) == 36 and len(held_out) == 12 and len(set(labels["seq"][held_out])) == 1
    assert not set(labels["seq"][train]) & set(labels["seq"][held_out])
