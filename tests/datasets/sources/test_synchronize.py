"""Offsets between videos are found from motion and from sound, and what cannot be told is called unsure."""

import shlex
import sys
import wave
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("av")

from configs import synchronize_videos
from datasets.sources.own_videos import synchronize as module
from datasets.sources.own_videos.lags import Lag, find_lag
from datasets.sources.own_videos.recordings import one_recording
from datasets.sources.own_videos.synchronize import synchronize
from datasets.video.rgb import pyav
from tests.video_files import write_video
from utils.errors import UserError

RATE = 25
BLACK = np.zeros((16, 16, 3), np.uint8)


def signal(steps, seed=0):
    rng = np.random.default_rng(seed)
    return np.convolve(rng.normal(size=steps), np.hanning(9), "same")[:, None] * np.ones((1, 3))


@pytest.mark.parametrize("lag", [0, 7, -12])
def test_lags_of_noisy_signals_with_gaps(lag):
    long, rng = signal(400), np.random.default_rng(5)
    first, second = long[40:300], long[40 - lag : 320 - lag] + rng.normal(0, 0.3, (280, 3))
    first = first.copy()
    first[50:70] = np.nan
    found = find_lag(first, second, RATE, 2.0)
    assert found.steps == pytest.approx(lag, abs=0.5) and found.sure
    assert find_lag(second, first, RATE, 2.0).steps == pytest.approx(-lag, abs=0.5)


def test_an_unsure_offset_is_not_recommended():
    lags = {"sure": Lag(3.4, 0.8, 0.5), "unsure": Lag(50.0, 0.3, 0.01), "unknown": None}
    lines = module._report("first", lags, 1.0, RATE, "motion").split("\n")
    assert "sure: +3.4 frames (+0.136 s), correlation 0.80, 0.50 above the next best: sure" in lines[1]
    assert "UNSURE" in lines[2] and "UNKNOWN" in lines[3]
    assert lines[4].startswith("WARNING: 2 not known: replace each ?")
    assert lines[5] == "--offsets first=0 sure=3 unsure=? unknown=?"


def test_names_with_spaces_are_quoted():
    line = module._report("GoPro 1", {"b": Lag(-10.0, 0.8, 0.5)}, 1.0, RATE, "sound").split("\n")[-1]
    assert shlex.split(line) == ["--offsets", "GoPro 1=10", "b=0"]


def test_options_with_an_unsure_offset_are_refused(tmp_path):
    lags = {"b": Lag(-10.0, 0.8, 0.5), "c": Lag(1.0, 0.3, 0.01)}
    options = module._report("a", lags, 1.0, RATE, "sound").split("\n")[-1].split()
    # Left out, camera c would have offset 0, ten frames from a.
    assert options == ["--offsets", "a=10", "b=0", "c=?"]
    for name in ("a.mp4", "b.mp4", "c.mp4", "cameras.json"):
        (tmp_path / name).touch()
    videos = [str(tmp_path / f"{name}.mp4") for name in "abc"]
    with pytest.raises(UserError, match=r"'offsets/c' is '\?'; expected a whole number"):
        one_recording(videos, tmp_path / "cameras.json", offsets=options[1:])


def test_what_cannot_be_told_is_unsure():
    assert not find_lag(signal(300, 1), signal(300, 2), RATE, 2.0).sure
    periodic = np.sin(2 * np.pi * np.arange(300) / 20)[:, None]
    assert not find_lag(periodic, periodic, RATE, 3.0).sure
    assert find_lag(np.full((50, 2), np.nan), signal(50)[:, :2], RATE, 1.0) is None


def write_sound(path, start, seconds=4.0, rate=8000):
    """A wav file of claps at the same moments, from `start` seconds on."""
    rng, samples = (
        np.random.default_rng(3),
        np.random.default_rng(round(100 * start)).normal(0, 30, int(seconds * rate)),
    )
    for moment in (1.0, 1.7, 2.2, 3.4):
        place = int((moment - start) * rate)
        if place >= 0:
            clap = rng.normal(0, 8000, 400) * np.exp(-np.arange(400) / 60)
            part = samples[place : place + 400]
            part += clap[: len(part)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(rate)
        file.writeframes(samples.clip(-32000, 32000).astype("<i2").tobytes())


def test_offsets_from_sound(tmp_path, monkeypatch):
    for gray, name in enumerate(("left", "right")):
        write_video(tmp_path / f"{name}.mp4", [BLACK + gray] * 3, fps=RATE)
    write_sound(tmp_path / "left.wav", 0.0)
    write_sound(tmp_path / "right.wav", 0.4)
    heard = module.onsets
    monkeypatch.setattr(module, "onsets", lambda file: heard(file.with_suffix(".wav")))
    report = synchronize([str(tmp_path / "left.mp4"), str(tmp_path / "right.mp4")], "sound", progress=False)
    # The right camera started 0.4 s later: its frames have smaller numbers.
    assert "right: -10.0 frames (-0.400 s)" in report and report.endswith("--offsets left=10 right=0")
    assert ": sure" in report


def write_clip(path, picture, sound, gap=(0.0, 0.0), rate=8000):
    """A Matroska file whose picture and sound start at different times, seconds; claps are at the same moments."""
    av = pyav()
    write_sound(path.with_suffix(".wav"), sound, rate=rate)
    with wave.open(str(path.with_suffix(".wav")), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", rate=RATE), container.add_stream("pcm_s16le", rate=rate)
        video.width, video.height, video.pix_fmt, audio.layout = 16, 16, "yuv420p", "mono"
        for number in range(4 * RATE):
            frame = av.VideoFrame.from_ndarray(BLACK, format="rgb24")
            frame.pts, frame.time_base = number + round(picture * RATE), Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for first in range(0, len(samples) - 160, 160):
            time = first / rate + sound
            if not gap[0] <= time < gap[1]:
                part = np.ascontiguousarray(samples[None, first : first + 160])
                frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = rate, round(time * rate), Fraction(1, rate)
                container.mux(audio.encode(frame))
        container.mux(audio.encode())


@pytest.mark.parametrize(
    ("picture", "sound", "gap", "offsets"),
    [
        pytest.param(0.0, 0.5, (0.0, 0.0), "left=0 right=0", id="sound starts later"),
        pytest.param(0.0, 0.0, (1.2, 1.6), "left=0 right=0", id="sound has a gap"),
        pytest.param(0.4, 0.0, (2.6, 3.3), "left=10 right=0", id="picture starts later"),
    ],
)
def test_sound_is_placed_by_its_time_stamps(picture, sound, gap, offsets, tmp_path):
    write_clip(tmp_path / "left.mkv", 0.0, 0.0)
    write_clip(tmp_path / "right.mkv", picture, sound, gap)
    report = synchronize([str(tmp_path / f"{name}.mkv") for name in ("left", "right")], "sound", 2.0, progress=False)
    assert ": sure" in report and report.endswith(f"--offsets {offsets}"), report


@pytest.mark.parametrize("seconds", [0, 0.0005])
def test_a_track_without_a_sound_is_one_line(seconds, tmp_path):
    write_sound(tmp_path / "a.wav", 0.0, seconds)
    with pytest.raises(UserError, match=r"a\.wav has no sound; expected a video with sound, or --by motion"):
        module.onsets(tmp_path / "a.wav")


def test_offsets_from_motion(tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    from datasets.video.frames import read_frames
    from tests.tiny import ROOT

    frames = {}
    for name in ("cam01", "cam04"):
        video = ROOT / f"examples/recording/videos/{name}.mp4"
        frames[name] = [frame[::4, ::4] for _, frame in read_frames(video, range(0, 100, 2))]
    write_video(tmp_path / "cam01.mp4", frames["cam01"][4:], fps=30, crf=18)
    write_video(tmp_path / "cam04.mp4", frames["cam04"], fps=30, crf=18)
    arguments = [str(tmp_path / f"{name}.mp4") for name in frames]
    report = synchronize(arguments, most=0.6, workers=1, progress=False)
    assert report.endswith(("cam01=0 cam04=4", "cam01=0 cam04=3", "cam01=0 cam04=5")), report


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a.mp4"], "1 video; expected at least two"),
        (["a.mp4", "b.mp4"], "no video 'b.mp4'; expected videos that were filmed together"),
        (["a.mp4", "x=a.mp4", "--workers", "0"], "workers is 0; expected at least 1"),
        (["a.mp4", "x=a.mp4", "--most", "-1"], "most is -1; expected seconds"),
        (["a.mp4", "x=a.mp4", "--most", "nan"], "most is nan; expected seconds"),
        (["a.mp4", "c.mp4", "--by", "sound"], "a.mp4 has no sound; expected a video with sound, or --by motion"),
        (["a.mp4", "x=a.mp4"], "cameras 'a' and 'x' have one video, 'a.mp4'; expected one of each"),
        (["a.mp4", "d.mp4"], "cameras 'a' and 'd' have copies of one video, 'a.mp4' and 'd.mp4'; expected one of each"),
    ],
)
def test_bad_input(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, gray in (("a", 0), ("c", 90), ("d", 0)):
        write_video(f"{name}.mp4", [BLACK + gray] * 3, fps=RATE)
    monkeypatch.setattr(sys, "argv", ["synchronize", *given])
    with pytest.raises(UserError, match=message):
        synchronize_videos.main()
