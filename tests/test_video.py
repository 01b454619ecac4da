"""Frames are found by their exact number, and a broken video is an error, never a wrong picture."""

import sys

import numpy as np
import pytest

pytest.importorskip("av")

from datasets.video import count_frames, read_frames, read_key_frames, write_video
from utils.errors import UserError

COUNT = 60


def numbered(index: int) -> np.ndarray:
    """A frame whose number can be read from its stripes: six bits."""
    bits = [(index >> bit) & 1 for bit in range(6)]
    return np.repeat(np.repeat(np.array(bits, dtype=np.uint8)[None, :, None] * 200 + 20, 48, 0), 16, 1).repeat(3, 2)


def number_of(frame: np.ndarray) -> int:
    return sum(int(frame[:, 16 * bit + 4 : 16 * bit + 12].mean() > 120) << bit for bit in range(6))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "numbers.mp4"
    write_video(path, map(numbered, range(COUNT)))
    return path


@pytest.mark.parametrize("wanted", [range(COUNT), range(0, COUNT, 5), [0], [1, 2, 30, 59], [59]])
def test_exactly_the_wanted_frames_come(video, wanted):
    frames = list(read_frames(video, wanted))
    assert [index for index, _ in frames] == list(wanted)
    assert [number_of(frame) for _, frame in frames] == list(wanted)
    assert all(frame.shape == (48, 96, 3) and frame.dtype == np.uint8 for _, frame in frames)


def test_colours_survive(tmp_path):
    colours = np.zeros((32, 96, 3), dtype=np.uint8)
    colours[:, :32], colours[:, 32:64], colours[:, 64:] = (200, 30, 30), (30, 200, 30), (30, 30, 200)
    write_video(tmp_path / "colours.mp4", [colours] * 3)
    ((_, frame),) = read_frames(tmp_path / "colours.mp4", [2])
    for start in (0, 32, 64):
        inner = slice(start + 8, start + 24)
        assert np.abs(frame[8:24, inner].astype(int) - colours[8:24, inner]).max() < 8


def test_frames_are_counted(video):
    assert count_frames(video) == COUNT


def test_key_frames_are_frames_of_the_video(video):
    keys = [number_of(frame) for frame in read_key_frames(video)]
    assert keys and keys[0] == 0 and keys == sorted(set(keys))


def test_wanting_nothing_opens_nothing():
    assert list(read_frames("nowhere.mp4", [])) == []


def test_too_few_frames_are_told_after_those_that_exist(video):
    frames = read_frames(video, [10, 99])
    assert next(frames)[0] == 10
    with pytest.raises(UserError, match=r"numbers.mp4 has 60 frames that decode; expected at least 100"):
        next(frames)


@pytest.mark.parametrize("wanted", [[3, 3], [5, 2], [-1]])
def test_frames_must_be_wanted_in_order(video, wanted):
    with pytest.raises(UserError, match="expected increasing numbers from 0"):
        list(read_frames(video, wanted))


def test_missing_and_unreadable_files_are_named(video, tmp_path):
    with pytest.raises(UserError, match=r"no video .*nowhere.mp4"):
        count_frames(tmp_path / "nowhere.mp4")
    text, half = tmp_path / "text.mp4", tmp_path / "half.mp4"
    text.write_text("not a video" * 50)
    half.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    for path in (text, half):
        with pytest.raises(UserError, match=f"{path.name} is no readable video"):
            count_frames(path)


def test_damaged_data_are_an_error(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (30, 48, 96, 3), dtype=np.uint8)
    path = tmp_path / "noise.mp4"
    write_video(path, noise)
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 3, 2 * len(data) // 3, 50):
        data[place] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"noise.mp4.* frame"):
        list(read_frames(path, [29]))


def test_interrupted_writing_leaves_nothing(tmp_path):
    def frames():
        yield numbered(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "part.mp4", frames())
    assert list(tmp_path.iterdir()) == []


def test_missing_decoder_is_one_line_with_the_remedy(video, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"'av': pip install"):
        count_frames(video)
