"""Frames are found by their exact number, and a broken video is an error, never a wrong image."""

import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("av")

from datasets.video.frames import (
    count_frames,
    decode_frames,
    frame_rate,
    frame_times,
    numbers_by_time,
    pyav,
    read_frames,
    read_key_frames,
)
from tests.video_files import write_video
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


def test_a_picture_that_stands_before_the_film_is_not_the_film(tmp_path):
    path = tmp_path / "cover.mkv"
    with pyav().open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1, width=64, height=64)
        cover.pix_fmt, cover.disposition = "yuvj420p", pyav().stream.Disposition.attached_pic
        film = container.add_stream("libx264", rate=50, width=96, height=48, options={"crf": "10"})
        film.pix_fmt = "yuv420p"
        for stream, images in ((cover, [np.zeros((64, 64, 3), np.uint8)]), (film, map(numbered, range(6)))):
            for image in images:
                container.mux(stream.encode(pyav().VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    assert count_frames(path) == 6 and [number_of(frame) for _, frame in read_frames(path, [0, 5])] == [0, 5]


def filmed(path, frames, options=(), first=0, codec="libx264"):
    """A video as other tools write it: x264's own choice of kinds of frames, times from `first` on, gaps between."""
    with pyav().open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=50, width=96, height=48, options=dict(options))
        stream.pix_fmt = "yuv420p"
        for index, image in enumerate(frames):
            frame = pyav().VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = first + index + index // 20, Fraction(1, 50)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def moving():
    """Noise that drifts, for predictions from both sides."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 400, 3), dtype=np.uint8)
    return [np.minimum(noise[:, 3 * i : 3 * i + 96] // 2 + numbered(i) // 2, 255) for i in range(COUNT)]


PYRAMID = {"bf": "5", "b_strategy": "0", "x264-params": "b-pyramid=normal:keyint=25"}
KINDS = [
    ("pyramid.mp4", PYRAMID, 0, True),
    ("plain.mp4", {"bf": "2", "b_strategy": "0", "x264-params": "b-pyramid=none"}, 0, True),
    ("forwards.mp4", {"bf": "0"}, 0, True),
    ("open.mp4", {"bf": "3", "x264-params": "open-gop=1:keyint=12:b-adapt=0"}, 0, True),
    ("late.mp4", PYRAMID, 700, True),  # an edit list tells that it starts late
    ("early.mp4", PYRAMID, -5, False),  # an edit list cuts its first frames off
    ("many_references.mp4", {"bf": "4", "refs": "6", "x264-params": "b-pyramid=strict:weightp=2"}, 0, True),
    ("unlisted.mkv", PYRAMID, 0, False),  # no index of frames
]


@pytest.mark.parametrize("name, options, first, sure", KINDS, ids=[kind[0] for kind in KINDS])
def test_leaving_frames_out_changes_no_other(name, options, first, sure, moving, tmp_path):
    path = filmed(tmp_path / name, moving, options, first)
    with pyav().open(str(path)) as container:
        everything = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert (numbers_by_time(path) is not None) == sure
    for wanted in (range(0, len(everything), 5), [3, 4, 17, len(everything) - 1], [2], range(1, len(everything), 2)):
        found = list(decode_frames(path, wanted))
        assert [index for index, _ in found] == list(wanted)
        for index, frame in found:
            np.testing.assert_array_equal(frame.to_ndarray(), everything[index])


def test_frames_that_no_other_needs_are_not_decoded(moving, tmp_path, monkeypatch):
    from datasets.video import frames as video

    path, decoded, decode = filmed(tmp_path / "pyramid.mp4", moving, PYRAMID), [], video._decode

    def counting(*arguments):
        for frame in decode(*arguments):
            decoded.append(frame)
            yield frame

    monkeypatch.setattr(video, "_decode", counting)
    assert len(list(read_frames(path, range(0, COUNT, 5)))) == COUNT // 5
    assert len(decoded) < 0.8 * COUNT


def test_colors_survive(tmp_path):
    colors = np.zeros((32, 96, 3), dtype=np.uint8)
    colors[:, :32], colors[:, 32:64], colors[:, 64:] = (200, 30, 30), (30, 200, 30), (30, 30, 200)
    write_video(tmp_path / "colors.mp4", [colors] * 3)
    ((_, frame),) = read_frames(tmp_path / "colors.mp4", [2])
    for start in (0, 32, 64):
        inner = slice(start + 8, start + 24)
        assert np.abs(frame[8:24, inner].astype(int) - colors[8:24, inner]).max() < 8


def test_frames_are_counted(video):
    assert count_frames(video) == COUNT


@pytest.mark.parametrize(
    ("ending", "codec", "options", "rate"),
    [
        ("mp4", "libx264", {}, 60),
        ("h264", "libx264", {}, 60),
        ("hevc", "libx265", {"x265-params": "vui-timing-info=0:log-level=none"}, None),
        ("mjpeg", "mjpeg", {}, None),
    ],
)
def test_raw_streams_have_the_rate_that_they_say_or_none(tmp_path, ending, codec, options, rate):
    """FFmpeg gives them 25 frames per second, and times to match."""
    path = tmp_path / f"raw.{ending}"
    with pyav().open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=60, width=96, height=48, options=options)
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for image in map(numbered, range(6)):
            container.mux(stream.encode(pyav().VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    assert frame_rate(path) == rate
    assert np.isnan(frame_times(path)).all() == (ending != "mp4")
    assert [number_of(frame) for _, frame in read_frames(path, range(6))] == list(range(6)) and count_frames(path) == 6


def test_key_frames_are_frames_of_the_video(video):
    keys = [number_of(frame) for frame in read_key_frames(video)]
    assert keys and keys[0] == 0 and keys == sorted(set(keys))


def test_wanting_nothing_opens_nothing():
    assert list(read_frames("nowhere.mp4", [])) == []


def test_too_few_frames_are_reported_after_those_that_exist(video):
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
        with pytest.raises(UserError, match=f"{path.name} cannot be read as video"):
            count_frames(path)


def test_a_video_without_frames_is_one_line(tmp_path):
    path = tmp_path / "header.avi"
    with pyav().open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=50, width=96, height=48)
        stream.pix_fmt = "yuv420p"
        container.start_encoding()
    for read in (count_frames, frame_times):
        with pytest.raises(UserError, match=r"header\.avi has no frame; expected a complete file"):
            read(path)
    assert numbers_by_time(path) is None
    with pytest.raises(UserError, match=r"header\.avi has 0 frames that decode; expected at least 4"):
        list(read_frames(path, [3]))


READERS = [
    frame_times,
    numbers_by_time,
    lambda video: [*read_frames(video, range(3))],
    lambda video: [*read_key_frames(video)],
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("error", ["MemoryError", "InvalidDataError"])
def test_damage_between_packets_is_an_error(read, error, video, monkeypatch):
    opened, error = pyav().open, getattr(pyav().error, error)

    class Damaged:
        def __init__(self, *arguments, **options):
            self.whole = opened(*arguments, **options)

        def __getattr__(self, name):
            return getattr(self.whole, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.whole.close()

        def demux(self, *_):
            raise error(12, "no packet")

    monkeypatch.setattr(pyav(), "open", Damaged)
    with pytest.raises(UserError, match=r"cannot be read as video \(no packet\); expected a complete file"):
        read(video)


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


def test_missing_decoder_is_one_line_with_the_remedy(video, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"'av': pip install"):
        count_frames(video)


def test_frames_of_several_sizes_are_an_error(tmp_path):
    sizes = [(64, 48), (64, 48), (32, 24)]
    for number, size in enumerate(sizes):
        Image.new("RGB", size).save(tmp_path / f"{number}.jpg")
    # Pictures in a row are a video.
    (tmp_path / "a.mjpeg").write_bytes(b"".join((tmp_path / f"{number}.jpg").read_bytes() for number in range(3)))
    assert [frame.shape for _, frame in read_frames(tmp_path / "a.mjpeg", [0, 1])] == [(48, 64, 3)] * 2
    with pytest.raises(UserError, match=r"a\.mjpeg: frame 2 is 32x24 px; expected 64x48 px, the size of its first"):
        list(read_frames(tmp_path / "a.mjpeg", [2]))
    with pytest.raises(UserError, match=r"2\.jpg is 32x24 px; expected 64x48 px as 0\.jpg"):
        next(read_frames(tmp_path, [0]))
