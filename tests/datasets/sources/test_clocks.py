"""Videos of one recording keep time with each other, or an error names the camera."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

from datasets.sources.own_videos import clocks
from datasets.sources.own_videos.clocks import check_drift, check_pictures, common_rate, rate_of_video
from datasets.video.frames import frame_times
from tests.video_files import write_video
from utils.errors import UserError

EVEN = np.arange(100) / 25
OFFSETS = {"left": 0, "right": 3}


@pytest.mark.parametrize(("rates", "fine"), [((25, 25), True), ((25, 50), False), ((30, Fraction(30000, 1001)), False)])
def test_frame_rates(tmp_path, rates, fine):
    videos = {name: tmp_path / f"{name}.mp4" for name in ("left", "right")}
    for path, rate in zip(videos.values(), rates, strict=True):
        write_video(path, np.zeros((5, 48, 64, 3), np.uint8), fps=rate)
    times = {name: frame_times(video) for name, video in videos.items()}
    if fine:
        assert common_rate(videos, times, "walk") == (rates[0], [])
    else:
        with pytest.raises(UserError, match=r"walk: frame rates differ: left \d+, right [\d.]+ frames per second"):
            common_rate(videos, times, "walk")


def test_equal_times_are_one_rate_whatever_the_files_state(monkeypatch):
    """Some programs count the last frame as longer."""
    stated, times = {"left": 25.0, "right": 25 * 100 / 104}, {"left": EVEN, "right": EVEN + 7}
    monkeypatch.setattr(clocks, "frame_rate", stated.get)
    videos = {name: name for name in stated}
    assert common_rate(videos, times, "walk") == (pytest.approx(25), [])
    times["right"] = EVEN * 1.04
    with pytest.raises(UserError, match=r"frame rates differ: left 25, right 24\.0385 frames per second"):
        common_rate(videos, times, "walk")


def test_a_pause_that_all_cameras_share_is_a_warning(monkeypatch):
    """They agree about each instant, but not about how long it lasts."""
    paused = np.where(EVEN > 2, EVEN + 1, EVEN)
    times, stated = {"left": paused, "right": paused + 7, "back": np.full(100, np.nan)}, 25 * 99 / 124
    monkeypatch.setattr(clocks, "frame_rate", {"left": stated, "right": stated, "back": None}.get)
    check_drift(times, dict.fromkeys(times, 0), stated, "walk")
    rate, notes = common_rate({name: name for name in times}, times, "walk")
    assert rate == pytest.approx(stated) and len(notes) == 2
    for name, note in zip(("left", "right"), notes, strict=True):
        assert note.startswith(f"WARNING: camera '{name}': a variable frame rate: frame 50, shown at")


@pytest.mark.parametrize(
    "right",
    [
        pytest.param(np.delete(EVEN, 40), id="a dropped frame"),
        pytest.param(np.where(EVEN > 2, 1.6 * EVEN - 1.2, EVEN), id="slower in the dark"),
        pytest.param(EVEN + 0.03 * (np.arange(100) % 7 == 5), id="late frames"),
    ],
)
def test_variable_frame_rates_are_named(right):
    with pytest.raises(UserError, match=r"walk: camera 'right' has a variable frame rate, .* s apart"):
        check_drift({"left": EVEN, "right": right}, OFFSETS, 25.0, "walk")
    # One video has times of its own, and nothing to be at odds with.
    rate, (note,) = rate_of_video(right, 25.0)
    assert 15 < rate < 26 and note.startswith("WARNING: a variable frame rate: frame ") and "ffmpeg -i" in note


@pytest.mark.parametrize(
    "right",
    [
        pytest.param(EVEN + 7, id="another start"),
        pytest.param(EVEN[:20], id="shorter"),
        pytest.param(EVEN.round(3), id="milliseconds"),
        pytest.param(np.full(100, np.nan), id="unknown"),
    ],
)
def test_small_differences_are_fine(right):
    check_drift({"left": EVEN, "right": right}, OFFSETS, 25.0, "walk")
    assert rate_of_video(right, 25.0) == (25.0, [])


def test_times_tell_the_rate_where_the_file_states_another_or_none():
    # Of 100 frames, the last of which lasts no time, or a second.
    for stated in (None, 25 * 100 / 99, 25 * 100 / 124):
        assert rate_of_video(EVEN, stated) == (pytest.approx(25), [])
    for times in (EVEN[:1], np.full(3, np.nan), np.zeros(2)):
        assert rate_of_video(times, None) == (None, [])


def folder_of(path, names):
    path.mkdir()
    for name in names:
        (path / name).touch()
    return path


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["000003.jpg", "000004.jpg", "000006.jpg"], r"000004\.jpg is followed by 000006\.jpg; expected number 5,"),
        (["c2_8.png", "c2_10.png", "c2_16.png"], r"c2_10\.png is followed by c2_16\.png; expected number 12,"),
        (["1.jpg", "2.jpg", "2.png", "3.jpg"], r"2\.jpg is followed by 2\.png; expected number 3,"),
    ],
)
def test_a_missing_picture_is_named(tmp_path, names, message):
    videos = {"left": folder_of(tmp_path / "left", ["0.jpg", "1.jpg"]), "right": folder_of(tmp_path / "right", names)}
    with pytest.raises(UserError, match=r"walk: camera 'right': in .*right, " + message):
        check_pictures(videos, "walk")


def test_a_picture_that_is_no_frame_is_named(tmp_path):
    """An empty scene beside the frames would be instant 0, and all others one instant late."""
    videos = {"left": folder_of(tmp_path / "left", [*(f"frame_{i}.jpg" for i in range(20)), "empty.png"])}
    with pytest.raises(UserError, match=r"walk: camera 'left': in .*left, empty\.png is named unlike nearly all"):
        check_pictures(videos, "walk")


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([f"{number}.jpg" for number in range(5, 35, 5)], id="every fifth"),
        pytest.param(["0033.jpg", "0067.jpg", "0100.jpg", "0133.jpg"], id="milliseconds"),
        pytest.param(["1.jpg", "cover.jpg", "5.jpg"], id="names"),
        pytest.param(["1_07.jpg", "1_08.jpg", "2_01.jpg"], id="two numbers"),
        pytest.param(["9.jpg"], id="one"),
    ],
)
def test_even_or_unnumbered_pictures_are_fine(tmp_path, names):
    check_pictures({"left": folder_of(tmp_path / "left", names)}, "walk")
