"""RGB of frames and of crops of them is that of the standards, in all usual kinds of color."""

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

import av
import cv2
from av.video.reformatter import ColorRange, Colorspace

from datasets.video.cropping import Box, CropMap
from datasets.video.rgb import RgbConverter

WIDTH, HEIGHT = 102, 76
COLORS = [  # format, color space, range
    ("yuv420p", "ITU601", "MPEG"),
    ("yuv420p", "ITU709", "MPEG"),
    ("yuv420p", "ITU709", "JPEG"),
    ("yuv420p", "DEFAULT", "UNSPECIFIED"),
    ("yuvj420p", "ITU601", "JPEG"),
    ("yuv422p", "ITU709", "MPEG"),
    ("nv12", "ITU601", "MPEG"),
]


def frame_of(kind: str, space: str, color_range: str, height: int = HEIGHT):
    image = np.random.default_rng(0).integers(0, 255, (height // 10 + 1, WIDTH // 10 + 1, 3), dtype=np.uint8)
    image = cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_CUBIC)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=kind)
    frame.colorspace = Colorspace[space]
    frame.color_range = ColorRange[color_range]
    return frame


def crop_places(size: int = 32) -> CropMap:
    """A crop that shrinks the image to half."""
    x, y = np.meshgrid(np.arange(size) * 1.9 + 20.3, np.arange(size) * 1.9 + 7.6)
    return CropMap(np.dstack([x, y]).astype(np.float32), np.full(2, 1.9), Box(0, 0, WIDTH, HEIGHT))


def by_the_standard(frame) -> np.ndarray:
    """RGB (H,W,3) float of a frame in which brightness and colors are even."""
    y, u, v = (float(np.frombuffer(plane, np.uint8)[0]) for plane in frame.planes)
    red, blue = (0.2126, 0.0722) if frame.colorspace == Colorspace.ITU709 else (0.299, 0.114)
    if frame.color_range == ColorRange.JPEG or "j" in frame.format.name:
        y, u, v = y, u - 128, v - 128
    else:
        y, u, v = (y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    return np.clip([r, (y - red * r - blue * b) / (1 - red - blue), b], 0, 255)


@pytest.mark.parametrize("color", COLORS[:5], ids="-".join)
@pytest.mark.parametrize("values", [(16, 128, 128), (120, 90, 170), (200, 140, 110), (60, 128, 150)])
def test_colors_are_those_of_the_standard(color, values):
    frame, rgb = frame_of(*color), RgbConverter()
    for plane, value in zip(frame.planes, values, strict=True):
        np.frombuffer(plane, np.uint8)[:] = value
    expected = np.broadcast_to(by_the_standard(frame), (HEIGHT, WIDTH, 3))
    np.testing.assert_allclose(rgb.full(frame), expected, atol=0.6)
    np.testing.assert_allclose(rgb.crop(frame, crop_places()), expected[:32, :32], atol=0.6)


@pytest.mark.parametrize("color", COLORS, ids="-".join)
def test_a_crop_is_that_of_the_whole(color):
    """Where colors come in half the resolution, they are interpolated otherwise: edges differ, means do not."""
    frame, rgb = frame_of(*color), RgbConverter()
    whole = rgb.full(frame)
    assert whole.shape == (HEIGHT, WIDTH, 3) and whole.std() > 20
    crop, expected = rgb.crop(frame, crop_places()), crop_places().sample(whole)
    difference = crop.astype(int) - expected
    assert np.abs(difference).mean() < 2 and np.abs(difference.mean()) < 0.3
    shifted = crop_places().sample(np.roll(whole, 2, axis=1))
    assert np.abs(difference).mean() < 0.2 * np.abs(crop.astype(int) - shifted).mean()


@pytest.mark.parametrize("color", COLORS, ids="-".join)
def test_outside_of_the_image_is_black(color):
    outside = crop_places()._replace(pixels=np.full((32, 32, 2), -50, np.float32))
    assert not RgbConverter().crop(frame_of(*color), outside).any()


def test_color_spaces_differ():
    images = [RgbConverter().full(frame_of("yuv420p", space, "MPEG")) for space in ("ITU601", "ITU709")]
    assert np.abs(images[0].astype(int) - images[1]).max() > 5


def test_images_of_odd_size():
    frame, rgb = frame_of(*COLORS[0], height=75), RgbConverter()
    assert rgb.full(frame).shape == (75, WIDTH, 3)
    places = crop_places()._replace(box=Box(0, 0, WIDTH, 75))
    assert np.abs(rgb.crop(frame, places).astype(int) - places.sample(rgb.full(frame))).mean() < 2
