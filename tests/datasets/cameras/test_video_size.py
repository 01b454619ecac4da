"""Videos of another size than calibrated: scaled ones are known by their bars, cropped ones by rays, others refused."""

import re
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("av")

from datasets.cameras.calibration import Calibration
from datasets.cameras.camera import Camera
from datasets.cameras.plausibility import notes_on_cameras
from datasets.cameras.video_size import Area, Fit, fit_to_video
from datasets.sources.own_videos.consistency import ray_miss
from datasets.sources.own_videos.video_sizes import MAX_MISS, assumed_fits, best_fits, ways_to_fit
from datasets.video.image_area import image_area, video_size
from tests.synthetic import ring_cameras
from tests.tiny import ROOT
from tests.video_files import write_video
from utils.errors import UserError

CAMERA = Camera(np.eye(3), np.zeros(3), np.array([[500.0, 0, 321], [0, 500, 239], [0, 0, 1]]), np.zeros(5), 640, 480)
POINT = np.array([0.3, -0.2, 1.0])


def test_equal_sizes_and_unknown_ones_change_nothing():
    assumed = "a: no size in the calibration: that of the video, 640x480 px, assumed"
    for camera, sentence in ((CAMERA, ""), (CAMERA._replace(width=0, height=0), assumed)):
        (fit,) = fit_to_video(camera, 640, 480, Area(0, 0, 640, 480), "a")
        assert fit.sentence == sentence and (fit.camera.width, fit.camera.height) == (640, 480)
        np.testing.assert_array_equal(fit.camera.intrinsics, CAMERA.intrinsics)


@pytest.mark.parametrize("scale", [0.5, 2 / 3, 4 / 3, 2])
def test_a_matrix_of_another_size_is_noticed(scale):
    """It was taken, and a person was placed with rays through the wrong pixels."""
    size = round(640 * scale), round(480 * scale)
    message = rf"K has its principal point at \(321, 239\), .* 642x478 px, and the .* {size[0]}x{size[1]} px; "
    with pytest.raises(UserError, match=rf"^a: {message}expected K in the pixels .*W_ and H_ of intri\.yml"):
        fit_to_video(CAMERA._replace(width=0, height=0), *size, Area(0, 0, *size), "a")
    # A file that states the size of a part of the image may be right.
    camera = CAMERA._replace(width=size[0], height=size[1])
    (note,) = notes_on_cameras(Calibration({"a": camera}, np.eye(3)), {"a": camera})
    assert re.match(rf"WARNING: camera 'a': {message}right only for", note)
    for middle in ((321, 239), (321, 10), (10, 239), (280, 210), (360, 270)):
        matrix = CAMERA.intrinsics.copy()
        matrix[:2, 2] = middle
        camera = CAMERA._replace(intrinsics=matrix)
        assert not notes_on_cameras(Calibration({"a": camera}, np.eye(3)), {"a": camera})
        fit_to_video(camera._replace(width=0, height=0), 640, 480, Area(0, 0, 640, 480), "a")


def test_scaled_between_bars():
    # A 640 x 480 image of half its size in the middle of a video of 320 x 320.
    (fit,) = fit_to_video(CAMERA, 320, 320, Area(0, 40, 320, 240), "camera 'a'")
    expected = (CAMERA.project(POINT) + 0.5) / 2 - 0.5 + [0, 40]
    np.testing.assert_allclose(fit.camera.project(POINT), expected)
    assert "scaled by 0.5000" in fit.sentence and (fit.camera.width, fit.camera.height) == (320, 320)


@pytest.mark.parametrize(("size", "aspect"), [((480, 480), 4 / 3), ((640, 360), 3 / 4), ((632, 480), 80 / 79)])
def test_squeezed_as_the_pixels_say(size, aspect):
    """HDV has 1440 x 1080 pixels of 4:3; it was taken for cropped."""
    (fit,) = fit_to_video(CAMERA, *size, Area(0, 0, *size), "camera 'a'", aspect)
    expected = (CAMERA.project(POINT) + 0.5) * np.array(size) / [640, 480] - 0.5
    np.testing.assert_allclose(fit.camera.project(POINT), expected)
    assert "squeezed, as pixels say that are" in fit.sentence and (fit.camera.width, fit.camera.height) == size
    # Pixels of another shape explain nothing.
    with_other = fit_to_video(CAMERA, *size, Area(0, 0, *size), "camera 'a'", 1.1)
    assert len(with_other) == 3 and "cropped" in with_other[0].sentence


def test_cropped_at_a_place_that_rays_tell():
    fits = fit_to_video(CAMERA, 600, 480, Area(0, 0, 600, 480), "camera 'a'")
    for fit, first in zip(fits, (20, 0, 40), strict=True):
        np.testing.assert_allclose(fit.camera.project(POINT), CAMERA.project(POINT) - [first, 0])
    assert "cropped, 20 px left, 20 px right" in fits[0].sentence

    def miss(cameras):
        return 0.001 + abs(cameras["a"].intrinsics[0, 2] - 281) / 500

    chosen, (sentence,) = best_fits({"a": fits}, miss)
    assert chosen["a"] is fits[2] and "rays miss by 41, 81, 1 mm" in sentence
    chosen, (sentence,) = best_fits({"a": fits}, lambda cameras: 0.02)
    assert chosen["a"] is fits[0] and sentence.startswith("WARNING: ") and "(rays cannot tell: they miss" in sentence
    # A few pixels do not matter: many encoders crop an image of 1088 lines to 1080.
    few = fit_to_video(CAMERA, 632, 480, Area(0, 0, 632, 480), "camera 'a'")
    (sentence,) = best_fits({"a": few}, lambda cameras: 0.02)[1]
    assert sentence.startswith("camera 'a': video 632x480 px") and "(rays cannot tell: they miss" in sentence
    (sentence,) = assumed_fits({"a": fits, "b": [Fit(fits[0].camera)]})
    assert sentence.startswith("WARNING: ") and "20 px left, 20 px right: the middle, which nothing checked" in sentence


@pytest.mark.parametrize("count", [2, 4, 7])
def test_images_that_are_cropped_alike_are_placed_together(count):
    """Judged one after the other, four of a ring seem to be in the middle, and the person is 0.8 m beside the place."""
    rotation, center = ring_cameras(count, radius=4.0)
    names = [f"camera {number}" for number in range(count)]
    whole = [CAMERA._replace(rotation=rotation[c], center=center[c]) for c in range(count)]
    area = Area(0, 0, 480, 480)
    ways = {name: fit_to_video(camera, 480, 480, area, name) for name, camera in zip(names, whole, strict=True)}
    times = np.linspace(0, 6, 30)
    path = np.stack([0.8 * np.cos(times), 0.8 * np.sin(times), 0.9 + 0.2 * np.sin(3 * times)], axis=1)

    def filmed(corner):
        """Boxes (C,T,4) of somebody of 1.7 m in images that were cropped from `corner` on."""
        boxes, rng = [], np.random.default_rng(0)
        for camera in whole:
            inside = camera.world_to_cam(path)
            middle = camera.project(inside) - [corner, 0] + rng.normal(0, 2, (len(path), 2))
            size = 1.7 * 500 / inside[:, 2:] * [0.4, 1]
            boxes.append(np.concatenate([middle - size / 2, size], axis=1))
        return np.stack(boxes)

    for way, corner in ((1, 0), (2, 160), (0, 80)):
        boxes = filmed(corner)
        chosen, sentences = best_fits(ways, lambda cameras, boxes=boxes: ray_miss(list(cameras.values()), boxes))
        assert all(chosen[name] is ways[name][way] for name in names) and len(sentences) == count
        assert all("(rays miss by " in sentence for sentence in sentences)
    # Every second image is too low, which no place explains.
    boxes = filmed(0)
    boxes[::2, :, 1] += 100
    chosen, sentences = best_fits(ways, lambda cameras: ray_miss(list(cameras.values()), boxes))
    assert sentences[-1].startswith("WARNING: at the best places of the cropped images (camera 0, camera 1")
    assert ray_miss([fit.camera for fit in chosen.values()], boxes) > MAX_MISS


@pytest.mark.parametrize("size", [(320, 240), (600, 400), (640, 500), (1280, 720)])
def test_other_sizes_are_refused(size):
    with pytest.raises(UserError, match=rf"video {size[0]}x{size[1]} px, calibration 640x480 px; expected"):
        fit_to_video(CAMERA, *size, Area(0, 0, *size), "camera 'a'")


def test_a_quarter_turn_is_named():
    with pytest.raises(UserError, match="video 480x640 px, calibration 640x480 px: rotated by a quarter turn; exp"):
        fit_to_video(CAMERA, 480, 640, Area(0, 0, 480, 640), "camera 'a'")


def test_bars_are_measured(tmp_path):
    frames = np.zeros((6, 96, 128, 3), np.uint8)
    frames[:, 12:84] = np.random.default_rng(0).integers(60, 200, (6, 72, 128, 3))
    write_video(tmp_path / "a.mp4", frames, crf=10)
    assert video_size(tmp_path / "a.mp4") == (128, 96)
    area = image_area(tmp_path / "a.mp4")
    assert np.abs(np.array(area) - (0, 12, 128, 72)).max() <= 1


def test_the_shape_of_pixels_is_read_of_the_video(tmp_path):
    frames = np.random.default_rng(0).integers(60, 200, (3, 96, 96, 3)).astype(np.uint8)
    write_video(tmp_path / "a.mp4", frames, aspect=Fraction(4, 3))
    camera = CAMERA._replace(width=128, height=96)
    (fit,) = ways_to_fit(Calibration({"a": camera}, np.eye(3)), {"a": tmp_path / "a.mp4"})["a"]
    assert fit.sentence.endswith("squeezed, as pixels say that are 1.333 times as wide as high")


def test_the_recording_in_the_box_was_scaled():
    assert image_area(ROOT / "examples/recording/videos/cam01.mp4") == (0, 7, 1080, 1906)
