"""The frames that count are those that players show: rotated by the file's note, without what an edit list hides."""

import struct

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

import cv2

from datasets.video.frames import count_frames, frame_times, read_frames
from datasets.video.rgb import pyav
from tests.tiny import ROOT
from tests.video_files import write_video
from utils.errors import UserError

COUNT = 6
TRIMMED = ROOT / "tests" / "data" / "cases" / "trimmed.mp4"  # an edit list hides the first 7 of 47 frames


def scene(index: int) -> np.ndarray:
    """A frame of which no two sides, and no two numbers, look alike."""
    image = np.full((48, 96, 3), 90, np.uint8)
    image[4:16, 8:40] = (200, 60, 60)
    image[30:44, 60 + index : 90] = (60, 60, 220)
    return image


def noted(path, matrix):
    """A video whose header says how it is to be shown: the four numbers of a 2 x 2 matrix."""
    write_video(path, map(scene, range(COUNT)), crf=4)
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44
    a, b, c, d = (round(65536 * value) for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def opencv_frames(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (found := capture.read())[0]:
        frames.append(found[1][..., ::-1])
    return frames


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotated_videos_are_those_of_opencv(tmp_path, degrees):
    cosine, sine = np.cos(np.radians(degrees)).round(), np.sin(np.radians(degrees)).round()
    path = noted(tmp_path / "a.mp4", (cosine, sine, -sine, cosine))
    ours, theirs = [frame for _, frame in read_frames(path, range(COUNT))], opencv_frames(path)
    assert len(theirs) == COUNT
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        assert np.abs(one.astype(int) - other).mean() < 3


@pytest.mark.parametrize(("matrix", "kind"), [((-1, 0, 0, 1), "mirrored"), ((0.8, 0.6, -0.6, 0.8), "rotated by -37")])
def test_other_notes_are_refused(tmp_path, matrix, kind):
    with pytest.raises(UserError, match=f"a.mp4 is to be shown {kind}"):
        list(read_frames(noted(tmp_path / "a.mp4", matrix), [0]))


def test_trimmed_videos_have_the_frames_that_are_shown():
    theirs = opencv_frames(TRIMMED)
    assert count_frames(TRIMMED) == len(frame_times(TRIMMED)) == len(theirs) == 40
    wanted = [0, 1, 20, 39]
    for index, frame in read_frames(TRIMMED, wanted):
        assert np.abs(frame.astype(int) - theirs[index]).mean() < 3


def encode(path, count, codec, options):
    """A video of `count` scenes, encoded with `options` of the codec."""
    with pyav().open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, width=96, height=48, options=options)
        stream.pix_fmt = "yuv420p"
        for index in range(count):
            container.mux(stream.encode(pyav().VideoFrame.from_ndarray(scene(index), format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts"])
def test_a_stream_that_starts_between_key_frames_says_so(tmp_path, ending):
    whole, cut = tmp_path / "whole.mp4", tmp_path / f"cut.{ending}"
    encode(whole, 20, "libx264", {"g": "10", "sc_threshold": "0"})
    with pyav().open(str(whole)) as container, pyav().open(str(cut), "w") as target:
        stream = container.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in list(container.demux(stream))[4:]:
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    for read in (count_frames, frame_times):
        with pytest.raises(UserError, match=rf"cut.{ending} starts between two key frames, and its first 6 frames"):
            read(cut)


@pytest.mark.parametrize("ending", ["mkv", "ts"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_pictures_before_the_first_key_frame_do_not_count(tmp_path, codec, ending):
    """An open group of pictures, cut at its key frame: those shown before it refer to what was cut off."""
    whole, cut, params = tmp_path / f"whole.{ending}", tmp_path / f"cut.{ending}", codec.replace("lib", "") + "-params"
    options = {params: "open-gop=1:keyint=12:min-keyint=1:bframes=3:b-adapt=0:scenecut=0"}
    if codec == "libx265":
        options[params] += ":log-level=none:pools=1"
    encode(whole, 24, codec, options)
    with pyav().open(str(whole)) as container, pyav().open(str(cut), "w") as target:
        stream = container.streams.video[0]
        copy, keys = target.add_stream_from_template(stream), 0
        for packet in container.demux(stream):
            keys += packet.is_keyframe
            if keys == 2 and packet.size:
                packet.stream = copy
                target.mux(packet)
    with pyav().open(str(cut)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    theirs = opencv_frames(cut)
    assert count_frames(cut) == len(theirs) == len(times) == 12
    np.testing.assert_allclose(frame_times(cut), times)
    for wanted in (range(12), [0, 5, 11]):
        found = dict(read_frames(cut, wanted))
        assert list(found) == list(wanted)
        assert all(np.abs(frame.astype(int) - theirs[index]).mean() < 3 for index, frame in found.items())


def test_tags_in_any_encoding(tmp_path):
    path = tmp_path / "a.mkv"
    with pyav().open(str(path), "w", metadata_encoding="latin-1") as container:
        container.metadata["title"] = "Größe"
        stream = container.add_stream("libx264", rate=25, width=96, height=48)
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(pyav().VideoFrame.from_ndarray(scene(0), format="rgb24")))
        container.mux(stream.encode())
    assert b"Gr\xf6\xdfe" in path.read_bytes()
    assert count_frames(path) == 1


def test_an_unknown_codec_is_one_line(tmp_path):
    path = noted(tmp_path / "a.mp4", (1, 0, 0, 1))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz1"))
    with pytest.raises(UserError, match=r"a.mp4 has a codec that is unknown"):
        count_frames(path)


def test_times_of_frames(tmp_path):
    path = noted(tmp_path / "a.mp4", (1, 0, 0, 1))
    np.testing.assert_allclose(frame_times(path), np.arange(COUNT) / 50)


def test_a_folder_of_pictures_is_a_video(tmp_path):
    for index in range(COUNT):
        cv2.imwrite(str(tmp_path / f"{index}.png"), scene(index)[..., ::-1])
    assert count_frames(tmp_path) == COUNT and np.isnan(frame_times(tmp_path)).all()
    for index, frame in read_frames(tmp_path, [0, 3, 5]):
        np.testing.assert_array_equal(frame, scene(index))
    with pytest.raises(UserError, match="has 6 pictures; expected at least 7"):
        list(read_frames(tmp_path, [6]))
