"""A folder of captured motion becomes a rendered set: its split, segments that fit the room, and resuming."""

import json
import pickle
import sys

import numpy as np
import pytest

pytest.importorskip("anny")
pytest.importorskip("warp")

from configs.render_dataset import main
from datasets.layout.labels import Labels
from datasets.motion.captured.bvh import read_bvh
from datasets.motion.captured.capture import analyze
from datasets.motion.captured.clips import describe_clips, find_clips, retarget_segment, segment_clips, split_clips
from datasets.motion.captured.retarget import retarget
from datasets.people.body import load_body
from datasets.rendered.dataset import MOTION_FRAMES, SPLIT_SUBJECTS, RenderSet, plan_captured, render_dataset
from datasets.validation import validate
from tests.moving_figure import squat_and_wave, write_figure
from utils.errors import UserError


def walking_away(meters, frames=301):
    pose, root = squat_and_wave(frames)
    root[:, 0] = np.linspace(0, meters, frames)
    return pose, root


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Six clips: five of 2 s, and one that moves 12 m in 10 s. Also files that are not motions."""
    folder = tmp_path_factory.mktemp("clips")
    for name in "abcde":
        write_figure(folder / f"{name}.bvh")
    write_figure(folder / "far.BVH", motion=walking_away(12.0))
    (folder / "LICENSE").write_text("free")
    (folder / "._a.bvh").write_bytes(b"Mac OS X")
    return folder


def test_clips_are_found_sorted(clips):
    assert [file.name for file in find_clips(clips)] == ["a.bvh", "b.bvh", "c.bvh", "d.bvh", "e.bvh", "far.BVH"]
    assert find_clips(clips / "b.bvh") == [clips / "b.bvh"]


def test_no_clips_is_one_line(clips, tmp_path):
    for nothing in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"no motion in .*; expected a folder with"):
            find_clips(nothing)


def test_train_and_test_share_no_clip(clips):
    files = find_clips(clips)
    train, test = split_clips(files, "train"), split_clips(files, "test")
    assert sorted(train + test) == files and not {*train} & {*test}
    assert len(test) == 2
    assert split_clips(files, "test") == test


def test_few_clips_serve_both_splits_with_a_message(clips, capsys):
    files = find_clips(clips)[:4]
    assert split_clips(files, "train") == split_clips(files, "test") == files
    assert "train and test share them" in capsys.readouterr().err


def test_segments_cover_the_clips_and_fit_the_room(clips, capsys):
    segments = segment_clips(find_clips(clips), 10, MOTION_FRAMES, 1.5, progress=False)
    assert "far.BVH" in capsys.readouterr().err
    far = [segment for segment in segments if segment.name == "far"]
    assert sum(segment.num_frames for segment in far) == 101 and len(far) >= 3
    ends = [segment.start + 3 * segment.num_frames for segment in far]
    assert [segment.start for segment in far] == [0, *ends[:-1]]
    assert all(segment.num_frames == 21 for segment in segments if segment.name != "far")
    body, rng = load_body(6), np.random.default_rng(0)
    for segment in far * 4:
        motion = retarget_segment(segment, body, 10, rng, 1.5)
        assert len(motion.translation) == segment.num_frames and np.abs(motion.translation[:, :2]).max() <= 1.5


def test_people_high_above_the_floor_are_left_out(tmp_path, capsys, monkeypatch):
    pose, root = squat_and_wave(301)
    root[120:210, 2] += 2  # up a ladder after 4 s, and down again after 7 s
    files = [write_figure(tmp_path / "ladder.bvh", motion=(pose, root)), write_figure(tmp_path / "floor.bvh")]
    segments = segment_clips(files, 10, MOTION_FRAMES, 1.5, progress=False)
    parts = [(segment.start, segment.num_frames) for segment in segments if segment.name == "ladder"]
    assert parts == [(0, 40), (210, 31)]
    assert capsys.readouterr().err == "left out where hips are more than 1.4 m above the floor: ladder.bvh\n"
    assert max(segment.capture.hips[segment.first :][: 3 * segment.num_frames, 2].max() for segment in segments) < 1.4
    monkeypatch.setattr("datasets.motion.captured.clips._HIGHEST", 0.1)
    with pytest.raises(UserError, match=r"no motion is left of ladder\.bvh, floor\.bvh; expected people on the floor"):
        segment_clips(files, 10, MOTION_FRAMES, 1.5, progress=False)


def test_clips_are_read_once(tmp_path, capsys):
    files = [write_figure(tmp_path / f"{number}.bvh") for number in range(9)]
    for file in files:
        file.write_text(file.read_text().replace("Frames: 61", "Frames: 62"))
    segments = segment_clips(files, 10, 10, 1.5, progress=False)
    for file in files:
        file.unlink()
    body, rng = load_body(1), np.random.default_rng(0)
    for segment in pickle.loads(pickle.dumps(segments[::5])):  # as a worker gets them
        assert len(retarget_segment(segment, body, 10, rng, 1.5).translation) == segment.num_frames
    lines = [f"{number}.bvh: 'Frames: 62', but there are 61, which are used" for number in range(9)]
    assert capsys.readouterr().err.splitlines() == lines


def test_segments_move_as_in_the_whole_clip(clips):
    capture = analyze(read_bvh(clips / "far.BVH"), "far.BVH")
    for segment in segment_clips([clips / "far.BVH"], 10, MOTION_FRAMES, 1.5, progress=False):
        whole = retarget(capture, load_body(1), segment.start, segment.num_frames, 10, 0.5)
        part = retarget(segment.capture, load_body(1), segment.first, segment.num_frames, 10, 0.5)
        np.testing.assert_array_equal(part.rotations, whole.rotations)
        np.testing.assert_array_equal(part.translation, whole.translation)


def test_heading_and_place_are_random(clips):
    segment, *_ = segment_clips([clips / "a.bvh"], 10, MOTION_FRAMES, 1.5, progress=False)
    body = load_body(1)
    first, again, other = (retarget_segment(segment, body, 10, np.random.default_rng(seed), 1.5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.rotations, again.rotations)
    np.testing.assert_array_equal(first.translation, again.translation)
    assert np.abs(first.rotations[:, 0] - other.rotations[:, 0]).max() > 0.1
    assert np.abs(first.translation - other.translation).max() > 0.1


@pytest.mark.parametrize("crops, every", [(4, 1), (160, 1), (3000, 1), (3000, 3)])
def test_plan_has_what_was_asked_for(clips, crops, every):
    segments = segment_clips(find_clips(clips), 10, MOTION_FRAMES, 1.5, progress=False)
    sequences = plan_captured(RenderSet(crops, 64, 0, "train", every), segments)
    assert 4 * sum(len(sequence.frames) for sequence in sequences) == crops
    assert [sequence.seq for sequence in sequences] == list(range(len(sequences)))
    for sequence in sequences:
        assert sequence.frames[-1] < sequence.segment.num_frames and sequence.motion == sequence.segment.name
        assert sequence.frames.step >= every
    if crops >= 160:
        assert {sequence.subject for sequence in sequences} == {*SPLIT_SUBJECTS["train"]}
        assert len({sequence.segment for sequence in sequences[:5]}) == 5


def test_rendered_set(clips, tmp_path, monkeypatch):
    source = tmp_path / "clips"
    source.mkdir()
    for name in "ab":
        (source / f"{name}.bvh").write_bytes((clips / f"{name}.bvh").read_bytes())
    output = tmp_path / "set"
    command = ["render_dataset.py", "--motion", source, "--output", output, "--crops", 24, "--size", 16, "--workers", 1]
    monkeypatch.setattr(sys, "argv", [str(word) for word in command])
    main()
    assert "24" in validate(output)
    assert {*np.char.decode(Labels(output)["motion"].astype("S"))} == {"a", "b"}
    held = json.loads((output / "render.json").read_text())
    assert held["motion"] == ["a", "b"] and held.items() >= describe_clips(find_clips(source)).items()
    with monkeypatch.context() as patch:
        patch.setattr("datasets.rendered.dataset.segment_clips", None)  # clips of a finished set are not analyzed
        render_dataset(output, 24, 16, motion=source, workers=1, progress=False)
    (source / "b.bvh").write_text((source / "b.bvh").read_text() + "\n")
    with pytest.raises(UserError, match=r"holds a set of \{'motion_sha256': .*; expected \{'motion_sha256': "):
        render_dataset(output, 24, 16, motion=source, workers=1, progress=False)


def test_a_broken_clip_is_one_line_and_writes_nothing(clips, tmp_path):
    broken = tmp_path / "broken.bvh"
    broken.write_text((clips / "a.bvh").read_text()[:-200])
    with pytest.raises(UserError, match=r"broken\.bvh line \d+: "):
        render_dataset(tmp_path / "set", 24, 16, motion=broken, workers=1, progress=False)
    assert not (tmp_path / "set").exists()
