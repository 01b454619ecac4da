"""BlazePose finds the man of the recording in the box, wherever he is in the image, and nobody where nobody is."""

import sys

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("av")
pytest.importorskip("ai_edge_litert")

from datasets.detection.blazepose import LANDMARK_NAMES, BlazePose, Region, _sample, _to_image
from datasets.sources.own_videos.boxes import read_boxes
from datasets.sources.own_videos.landmarks import boxes_of
from datasets.video.frames import read_frames
from tests.tiny import ROOT
from utils.errors import UserError

RECORDING = ROOT / "examples/recording"


@pytest.fixture(scope="module")
def detector():
    return BlazePose()


@pytest.fixture(scope="module")
def frame():
    return next(read_frames(RECORDING / "videos/cam03.mp4", [0]))[1]


def test_the_man_is_found(detector, frame):
    (person,) = detector.people(frame)
    assert person.score > 0.9
    expected = read_boxes(RECORDING / "boxes.csv", ["cam01", "cam02", "cam03", "cam04"])["cam03"][0]
    found = boxes_of("cam03", np.array([0]), person.landmarks[None], person.visibility[None])["cam03"][0]
    assert np.abs(found - expected).max() < 20
    at = dict(zip(LANDMARK_NAMES, person.landmarks, strict=True))
    # He is seen from behind: his left hand is on the left.
    assert at["left_shoulder"][0] < at["right_shoulder"][0] and at["nose"][1] < at["left_hip"][1] < at["left_ankle"][1]
    height = np.ptp(person.world[:, 1])
    assert 1.3 < height < 1.9


def test_a_man_who_lies_on_his_side_is_found_at_the_same_places(detector, frame):
    (person,) = detector.people(frame)
    (turned,) = detector.people(np.ascontiguousarray(np.rot90(frame, -1)))
    # Clockwise: (x, y) becomes (height - 1 - y, x).
    back = np.stack([turned.landmarks[:, 1], frame.shape[0] - 1 - turned.landmarks[:, 0]], axis=1)
    assert np.median(np.linalg.norm(back - person.landmarks, axis=1)) < 25
    world = np.stack([turned.world[:, 1], -turned.world[:, 0]], axis=1)
    assert np.median(np.linalg.norm(world - person.world[:, :2], axis=1)) < 0.1


def test_nobody_is_found_in_gray_and_in_an_empty_floor(detector, frame):
    assert detector.people(np.full((300, 200, 3), 128, np.uint8)) == []
    assert detector.people(np.ascontiguousarray(frame[1400:])) == []


def test_the_square_of_the_frame_before_helps(detector, frame):
    (person,) = detector.people(frame)
    (again,) = detector.people(frame, [person.region])
    assert np.median(np.linalg.norm(again.landmarks - person.landmarks, axis=1)) < 15


def test_squares_are_sampled_where_they_are():
    image = np.zeros((200, 300, 3), np.uint8)
    image[80:83, 120:123] = 255
    region = Region(np.array([130.0, 90]), 64.0, 0.6)
    sampled = _sample(image, region, 64)[..., 0]
    row, column = np.unravel_index(np.argmax(sampled), sampled.shape)
    place = _to_image((np.array([[column, row]]) + 0.5) / 64, region)[0]
    assert np.abs(place - 121 - [0, -40]).max() < 1.5


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"no model .*pose_detection\.tflite"):
        BlazePose(tmp_path)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(UserError, match=r"needs the package 'ai-edge-litert': pip install .*detect"):
        BlazePose()


@pytest.mark.parametrize("content", [b"", b"<html>a login page</html>"])
def test_damaged_models_are_named(tmp_path, content):
    (tmp_path / "pose_detection.tflite").write_bytes(content)
    with pytest.raises(UserError, match=r"pose_detection\.tflite' cannot be read \("):
        BlazePose(tmp_path)


def test_native_code_is_silent(capfd):
    BlazePose()
    assert capfd.readouterr().err == ""
