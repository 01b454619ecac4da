"""RGB of a part of a frame is that part of the RGB of the whole, in all usual kinds of colour."""

import numpy as np
import pytest

pytest.importorskip("av")

import av

from datasets.rgb import Box, RgbConverter

WIDTH, HEIGHT = 102, 76
BOXES = [Box(0, 0, 64, 64), Box(10, 6, 74, 62), Box(34, 0, WIDTH, HEIGHT), Box(0, 0, WIDTH, HEIGHT)]
COLOURS = [  # format, colour space, range
    ("yuv420p", "ITU601", "MPEG"),
    ("yuv420p", "ITU709", "MPEG"),
    ("yuv420p", "ITU709", "JPEG"),
    ("yuv420p", "DEFAULT", "UNSPECIFIED"),
    ("yuvj420p", "ITU601", "JPEG"),
    ("yuv422p", "ITU709", "MPEG"),
    ("nv12", "ITU601", "MPEG"),
]


def frame_of(kind: str, space: str, colour_range: str, height: int = HEIGHT):
    image = np.random.default_rng(0).integers(0, 255, (height, WIDTH, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=kind)
    frame.colorspace = av.video.reformatter.Colorspace[space]
    frame.color_range = av.video.reformatter.ColorRange[colour_range]
    return frame


@pytest.mark.parametrize("colour", COLOURS, ids="-".join)
def test_part_is_a_part_of_the_whole(colour):
    frame, rgb = frame_of(*colour), RgbConverter()
    whole = rgb.full(frame)
    assert whole.shape == (HEIGHT, WIDTH, 3) and whole.std() > 20
    for box in BOXES:
        np.testing.assert_array_equal(rgb.part(frame, box), box.of(whole))


def test_colour_spaces_differ():
    images = [RgbConverter().part(frame_of("yuv420p", space, "MPEG"), BOXES[0]) for space in ("ITU601", "ITU709")]
    assert np.abs(images[0].astype(int) - images[1]).max() > 5


def test_pictures_of_odd_size():
    frame, rgb, box = frame_of(*COLOURS[0], height=75), RgbConverter(), Box(10, 20, 50, 75)
    np.testing.assert_array_equal(rgb.part(frame, box), box.of(rgb.full(frame)))
