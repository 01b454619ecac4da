"""Rendered people: the labels agree with the images, and a set is the same however often it is interrupted."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("anny")
pytest.importorskip("warp")

from configs.render_dataset import report
from datasets.cameras.crop_camera import project_to_crop
from datasets.layout.labels import Labels
from datasets.layout.png import read_png
from datasets.layout.writer import image_path
from datasets.rendered.dataset import SPLIT_SUBJECTS, RenderSet, plan_sequences, render_dataset
from datasets.rendered.scene import subject_cameras
from datasets.validation import validate
from tests.moments import run_script_until
from tests.processes import FORKSERVER
from tests.synthetic import set_checksum
from tests.tiny import ROOT
from utils.errors import UserError

SCRIPT = ROOT / "configs" / "render_dataset.py"
SIZE = 48


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A training set of 160 crops."""
    return render_dataset(tmp_path_factory.mktemp("rendered") / "set", 160, SIZE, workers=1, progress=False)


def crops(root: Path, labels: Labels, row: int) -> tuple[np.ndarray, np.ndarray]:
    place = [int(labels[name][row]) for name in ("seq", "cam", "frame")]
    return tuple(read_png(image_path(root, *place, kind)).astype(int) for kind in ("img_crop", "bg_crop"))


def test_layout_is_valid_and_complete(rendered):
    assert "160" in validate(rendered)
    labels = Labels(rendered)
    assert labels.num_rows == 160 and set(labels["subj"]) == set(SPLIT_SUBJECTS["train"])
    assert len(set(labels["motion"])) >= 4
    assert set(labels["cam"]) == {0, 1, 2, 3}


def test_the_last_line_counts_what_was_written(rendered):
    assert report(rendered, "crops", 158, None) == f"160 crops in {rendered}"


def test_joints_project_onto_the_person(rendered):
    labels = Labels(rendered)
    inside = []
    for row in range(0, labels.num_rows, 3):
        img_crop, bg_crop = crops(rendered, labels, row)
        differs = np.pad((img_crop != bg_crop).any(-1), 1)
        near = sum(np.roll(differs, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1))[1:-1, 1:-1] > 0
        root_distance = 2.0 * labels["intrinsic_crop"][row, 0, 0]
        points = labels["3D"][row].reshape(17, 3) + np.array([0, 0, root_distance])
        pixels = np.floor(project_to_crop(points, labels["intrinsic_crop"][row]) * SIZE).astype(int)
        seen = pixels[(pixels >= 0).all(-1) & (pixels < SIZE).all(-1)]
        assert len(seen) >= 15
        inside.extend(near[seen[:, 1], seen[:, 0]])
    assert np.mean(inside) > 0.99


def test_person_fills_the_crop_and_background_is_elsewhere_unchanged(rendered):
    labels = Labels(rendered)
    for row in range(0, labels.num_rows, 7):
        img_crop, bg_crop = crops(rendered, labels, row)
        differs = (img_crop != bg_crop).any(-1)
        assert 0.03 < differs.mean() < 0.7
        assert bg_crop.std() > 5


def test_rotations_between_cameras_rotate_the_poses(rendered):
    labels = Labels(rendered)
    poses = labels["3D"].reshape(-1, 4, 17, 3).astype(np.float64)
    rotations = labels["extrinsic_rot"].reshape(-1, 4, 3, 3).astype(np.float64)
    inverses = labels["extrinsic_rot_inv"].reshape(-1, 4, 3, 3).astype(np.float64)
    for i, j in ((0, 1), (1, 3), (2, 0)):
        rotated = np.einsum("tab,tbc,tkc->tka", rotations[:, j], inverses[:, i], poses[:, i])
        np.testing.assert_allclose(rotated, poses[:, j], atol=1e-5)


def test_perspective_correction_is_applied(rendered):
    labels = Labels(rendered)
    cameras = subject_cameras(int(labels["subj"][0]))
    rotation = labels["extrinsic_rot"][0] @ cameras.rotations[int(labels["cam"][0])].T
    assert np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))) > 0.5


def test_cameras_are_around_the_room_and_differ_between_subjects():
    for subject in (1, 9):
        centers = subject_cameras(subject).centers
        assert np.all(np.abs(np.linalg.norm(centers[:, :2], axis=-1) - 5.1) < 0.8)
        assert np.all((centers[:, 2] > 1.3) & (centers[:, 2] < 1.9))
    assert not np.allclose(subject_cameras(1).centers, subject_cameras(9).centers)


def test_same_seed_same_bytes_after_a_kill_and_with_workers(rendered, tmp_path, monkeypatch):
    arguments = ["--output", tmp_path, "--crops", 160, "--size", SIZE, "--workers", 1]
    # In the middle of the images, and of a sequence: both kinds of crops are written.
    run_script_until("datasets.layout.writer.write_png", 160, "render_dataset.py", *arguments)
    assert not (tmp_path / "labels.h5").exists()
    kept = {path: os.stat(path).st_mtime_ns for path in (tmp_path / ".parts").glob("*.npz")}
    with pytest.raises(UserError, match="is unfinished"):
        Labels(tmp_path)
    assert kept and len(kept) < len(plan_sequences(RenderSet(160, SIZE, 0, "train")))
    # Workers that need not import torch.
    monkeypatch.setattr("datasets.layout.workers.get_context", lambda _: FORKSERVER)
    render_dataset(tmp_path, 160, SIZE, workers=2, progress=False)
    assert set_checksum(tmp_path) == set_checksum(rendered)


def test_a_finished_set_is_left_unchanged(rendered):
    before = (rendered / "labels.h5").stat().st_mtime_ns
    render_dataset(rendered, 160, SIZE, workers=1, progress=False)
    assert (rendered / "labels.h5").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="seed"):
        render_dataset(rendered, 160, SIZE, seed=1, progress=False)


def test_seeds_and_splits_differ(rendered, tmp_path):
    test = render_dataset(tmp_path / "test", 16, SIZE, split="test", workers=1, progress=False)
    assert set(Labels(test)["subj"]) == {9, 11} and not set(SPLIT_SUBJECTS["test"]) & set(SPLIT_SUBJECTS["train"])
    other = render_dataset(tmp_path / "other", 4, SIZE, seed=1, workers=1, progress=False)
    assert not np.allclose(Labels(other)["3D"][:4], Labels(rendered)["3D"][:4])


@pytest.mark.parametrize("crops", [1, 4, 400, 24000, 1000000])
def test_plan_covers_subjects_and_motions(crops):
    sequences = plan_sequences(RenderSet(crops, 64, 0, "train"))
    frames = sum(len(sequence.frames) for sequence in sequences)
    assert frames == -(-crops // 4)
    assert len({sequence.seq for sequence in sequences}) == len(sequences)
    assert all(0 < len(sequence.frames) <= 48 and sequence.frames[-1] < 48 for sequence in sequences)
    assert len({sequence.subject for sequence in sequences}) == min(5, frames)
    if crops >= 24000:
        assert len({(sequence.subject, sequence.motion) for sequence in sequences}) >= 50


@pytest.mark.parametrize("every", [2, 4, 24])
def test_every_nth_frame_makes_more_sequences_of_the_same_total_size(every):
    dense, thin = (plan_sequences(RenderSet(24000, 64, 0, "train", n)) for n in (1, every))
    assert sum(len(sequence.frames) for sequence in thin) == sum(len(sequence.frames) for sequence in dense)
    assert len(thin) == every * len(dense)
    assert all(np.all(np.diff(sequence.frames) >= every) and sequence.frames[-1] < 48 for sequence in thin)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(crops=0), "crops is 0"),
        (dict(crops=8, size=8), "size is 8"),
        (dict(crops=8, split="val"), "split 'val'"),
        (dict(crops=8, seed=-1), "seed is -1"),
        (dict(crops=8, workers=0), "workers is 0"),
        (dict(crops=8, every=0), "every is 0"),
        (dict(crops=8, every=30), "every is 30"),
        (dict(crops=8, device="cuda:99"), "device 'cuda:99'"),
        pytest.param(
            dict(crops=8, device="cuda"),
            "device 'cuda'; expected one that Warp finds",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="it is a device here"),
        ),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        render_dataset(tmp_path / "set", **arguments)
    assert not (tmp_path / "set").exists()


def test_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="other files"):
        render_dataset(tmp_path, 8)
    (tmp_path / "render.json").write_text(json.dumps({"crops": 9}))
    with pytest.raises(UserError, match="holds a set"):
        render_dataset(tmp_path, 8)
