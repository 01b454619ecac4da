"""Frames of several people: boxes, masks, depths and poses agree; nobody walks through anybody; sets resume."""

import sys

import numpy as np
import pytest

pytest.importorskip("anny")
pytest.importorskip("warp")

from configs import render_dataset as render_script
from datasets.layout.frame_writer import frame_path
from datasets.layout.labels import Labels
from datasets.layout.png import read_png
from datasets.people.body import load_body
from datasets.rendered.presets import KINDS, PRESETS, label_checksums
from datasets.rendered.scenes import dataset, placing
from datasets.rendered.scenes.dataset import render_frames
from datasets.rendered.scenes.planning import Scene, SceneSet, people_counts, plan_scenes, scene_rng
from datasets.rendered.scenes.rendering import dress_differently, fixed_room, pose_scene
from datasets.validation import validate
from tests.synthetic import set_checksum
from utils.errors import UserError

SIZE = (72, 128)
ARGUMENTS = dict(frames=96, people_per_scene="0,2,3", size=SIZE, workers=1, progress=False)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A set of three scenes, of nobody, two and three people."""
    return render_frames(tmp_path_factory.mktemp("scenes") / "set", **ARGUMENTS)


@pytest.fixture(scope="module")
def images(rendered):
    """Frames (N,H,W,3), backgrounds and masks (N,H,W) of all rows."""
    labels = Labels(rendered)
    ids = list(zip(labels["seq"], labels["cam"], labels["frame"], strict=True))

    def read(kind: str, channels: int) -> np.ndarray:
        return np.stack([read_png(frame_path(rendered, *place, kind), channels) for place in ids])

    return read("img", 3), read("bg", 3), read("mask", 1)[..., 0]


def test_a_set_is_valid_and_has_all_labels(rendered):
    validate(rendered)
    labels = Labels(rendered)
    assert labels.num_rows == 96 and labels.num_people == 3
    assert sorted((labels["subj"] >= 0).sum(1)) == [0] * 32 + [2] * 32 + [3] * 32
    for key in ("box", "position", "occlusion", "camera_position", "3D"):
        assert key in labels
    present = labels["subj"] >= 0
    assert np.isnan(labels["3D"][~present]).all() and np.isfinite(labels["3D"][present]).all()


def test_boxes_are_the_masks_bounding_boxes_where_nothing_is_hidden(rendered, images):
    labels, (_, _, masks) = Labels(rendered), images
    checked = 0
    for row, person in np.argwhere(np.isfinite(labels["box"][..., 0])):
        left, top, width, height = labels["box"][row, person]
        rows, columns = np.nonzero(masks[row] == person + 1)
        occlusion = labels["occlusion"][row, person]
        if occlusion == 0:
            found = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
            assert found == (left, top, width, height)
            checked += 1
        elif occlusion < 1:
            assert left <= columns.min() and columns.max() < left + width
            assert top <= rows.min() and rows.max() < top + height
    assert checked > 50


def test_occlusion_is_the_share_that_others_hide(rendered, images):
    labels, (_, _, masks) = Labels(rendered), images
    occlusion, found = labels["occlusion"], 0
    for row in np.flatnonzero(np.nan_to_num(occlusion).max(1) > 0.3):
        hidden = int(np.nanargmax(occlusion[row]))
        left, top, width, height = labels["box"][row, hidden].astype(int)
        inside = masks[row, top : top + height, left : left + width]
        others = inside[(inside > 0) & (inside != hidden + 1)]
        assert len(others) > 0
        # Depth order agrees with the masks: whoever hides most of this person stands in front.
        front = np.bincount(others).argmax() - 1
        assert labels["position"][row, front, 2] < labels["position"][row, hidden, 2]
        found += 1
    assert found > 0


def test_poses_project_into_silhouettes(rendered, images):
    labels, (_, _, masks) = Labels(rendered), images
    hits = []
    for row, person in np.argwhere(labels["occlusion"] == 0):
        points = labels["3D"][row, person].reshape(17, 3) + labels["position"][row, person]
        pixels = points @ labels["intrinsics"][row].T
        column, line = np.rint(pixels[:, :2] / pixels[:, 2:]).astype(int).T
        inside = (column >= 0) & (column < SIZE[1]) & (line >= 0) & (line < SIZE[0])
        hits += list(masks[row, line[inside], column[inside]] == person + 1)
    assert np.mean(hits) > 0.97


def test_cameras_place_the_people_where_they_are_in_the_world(rendered):
    labels = Labels(rendered)
    world = (
        np.einsum("nij,npj->npi", labels["extrinsic_rot_inv"], labels["position"]) + labels["camera_position"][:, None]
    )
    for start in range(0, labels.num_rows, 4):  # the four cameras of an instant
        assert np.allclose(world[start : start + 4], world[start], atol=1e-4, equal_nan=True)


def test_frames_differ_from_the_background_only_by_people_and_their_shadows(images):
    frames, backgrounds, masks = images
    differing = (frames != backgrounds).any(-1)
    empty = (masks == 0).all((1, 2))
    assert empty.sum() == 32 and not differing[empty].any()
    assert differing[masks > 0].mean() > 0.95
    # Shadows darken, and nothing but shadows is outside of the masks and their edges.
    brighter = (frames.astype(int) - backgrounds).max(-1) > 12
    assert (brighter & (masks == 0)).mean() < 0.01


def test_nobody_walks_through_anybody():
    rng = np.random.default_rng(0)
    bodies = [load_body(subject) for subject in (1, 5, 6, 9)]
    performances = placing.perform_together(bodies, KINDS["train"], 40, 10, 1.7, rng)
    points = [placing.body_points(body, done.motion) for body, done in zip(bodies, performances, strict=True)]
    for first in range(4):
        assert np.abs(points[first][:, 0, :2]).max() < 1.7 + 1e-6
        for second in range(first):
            roots = points[first][:, 0, :2] - points[second][:, 0, :2]
            assert np.hypot(*roots.T).min() >= placing.LEAST_DISTANCE - 1e-6
            assert not placing.collide(points[first], points[second])
    assert placing.collide(points[0], points[0] + [0.3, 0, 0])


def test_walkers_change_their_place_and_people_look_different():
    job = SceneSet(192, SIZE, 3, "train", "2")
    walked = []
    for scene in plan_scenes(job)[:2]:
        rows = pose_scene(job, scene, fixed_room(), scene_rng(job, scene)).rows
        assert len(set(scene.subjects)) == 2
        walked.append(np.ptp(rows["position"][rows["cam"] == 0], axis=0).max())
    assert max(walked) > 0.8
    first, second = dress_differently([load_body(1000)] * 2, np.random.default_rng(0))
    assert np.abs(np.sqrt(first.colors).mean((0, 1)) - np.sqrt(second.colors).mean((0, 1))).max() > 0.05


def test_the_same_set_comes_from_an_interrupted_call(rendered, tmp_path, monkeypatch):
    written, write = [], dataset._render_and_write

    def stop_after_two(scene: Scene) -> int:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(scene)
        return write(scene)

    monkeypatch.setattr(dataset, "_render_and_write", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        render_frames(tmp_path / "set", **ARGUMENTS)
    monkeypatch.setattr(dataset, "_render_and_write", write)
    render_frames(tmp_path / "set", **ARGUMENTS)
    assert set_checksum(tmp_path / "set") == set_checksum(rendered)


def test_splits_share_neither_people_nor_random_numbers():
    jobs = {split: PRESETS["scenes"].render_set(split) for split in ("train", "test")}
    scenes = {split: plan_scenes(job) for split, job in jobs.items()}
    people = {split: {subject for scene in some for subject in scene.subjects} for split, some in scenes.items()}
    assert not people["train"] & people["test"]
    for split, job in jobs.items():
        assert sum(scene.num_frames for scene in scenes[split]) == job.frames
        assert {len(scene.subjects) for scene in scenes[split]} == set(people_counts(job.people_per_scene))
    draws = [scene_rng(jobs[split], scenes[split][0]).random() for split in jobs]
    assert draws[0] != draws[1]


def test_checksums_tell_labels_of_frames_apart(rendered):
    labels = {name: np.array(Labels(rendered)[name]) for name in Labels(rendered)}
    found = label_checksums(labels)
    assert np.isfinite(found["pose_statistics"]).all()
    # Boxes come from pixels, which another device rounds differently.
    assert label_checksums(labels | {"box": labels["box"] + 1}) == found
    moved = label_checksums(labels | {"position": labels["position"] + 1e-3})
    assert moved["ids_sha256"] == found["ids_sha256"] and moved["labels_sha256"] != found["labels_sha256"]


def test_a_wild_scene_has_an_interior_of_its_own(tmp_path):
    folder = render_frames(tmp_path / "wild", 4, "1", SIZE, world="wild", workers=1, progress=False)
    labels = Labels(folder)
    assert labels.num_rows == 4 and np.isfinite(labels["box"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "--people-per-scene", "5"], "people-per-scene is '5'"),
        (["--frames", "--people-per-scene", "3-1"], "people-per-scene is '3-1'"),
        (["--frames", "--people-per-scene", "two"], "people-per-scene is 'two'"),
        (["--frames", "--people-per-scene", "1-3", "--people", "2"], "people is 2; expected 3 or more"),
        (["--frames", "--frame-size", "128"], "frame-size is '128'"),
        (["--frames", "--frame-size", "8x8"], "size is 8"),
        (["--frames", "--size", "64"], "--size given with --frames"),
        (["--frames", "--split", "val"], "split 'val'"),
        (["--frames", "--world", "moon"], "world 'moon'"),
        (["--people-per-scene", "2"], "--people-per-scene given without --frames"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, tmp_path, monkeypatch):
    command = ["render_dataset.py", "--output", str(tmp_path / "set"), "--crops", "8", *arguments]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(UserError, match=message) as error:
        render_script.main()
    assert "\n" not in str(error.value) and not (tmp_path / "set").exists()


def test_the_script_renders_frames(tmp_path, monkeypatch, capsys):
    command = ["render_dataset.py", "--output", str(tmp_path / "set"), "--crops", "4", "--frames", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", [*command, "--people-per-scene", "1", "--frame-size", "64x48"])
    render_script.main()
    assert "4 frames" in capsys.readouterr().out
    assert read_png(frame_path(tmp_path / "set", 0, 0, 0, "img"), 3).shape == (48, 64, 3)
