"""The wild world under a recording's cameras: people stand where they look, as they are turned, in their image."""

import json

import numpy as np
import pytest

pytest.importorskip("anny")
pytest.importorskip("warp")

from configs import render_dataset as script
from datasets.layout.labels import Labels
from datasets.rendered.dataset import render_dataset
from datasets.rendered.scene import look_at
from datasets.rendered.wild.interiors import Space, draw_interior
from datasets.rendered.wild.recorded import read_recorded_cameras
from datasets.validation import validate
from utils.errors import UserError

PLACE = np.array([2.0, -1.0, 0.0])
AROUND = np.array([[3.0, 0, 1.5], [0, 3.5, 2.0], [-4.0, 0, 1.0]])
ROLL = np.radians([20.0, -10.0, 0.0])


def write_calibration(path, centers=AROUND, targets=(0, 0, 1.0), roll=None, width=1280, focal=900.0, shift=PLACE):
    """Cameras at `centers` that look at `targets`, both relative to a place of the floor."""
    centers = np.asarray(centers, dtype=float)
    roll = np.zeros(len(centers)) if roll is None else roll
    rotations = look_at(centers, np.broadcast_to(targets, centers.shape).astype(float), roll)
    cameras = {
        f"cam{number}": {
            "width": width,
            "height": 720,
            "K": [[focal, 0, width / 2], [0, focal, 360], [0, 0, 1]],
            "R": rotation.tolist(),
            "centre": (center + shift).tolist(),
        }
        for number, (center, rotation) in enumerate(zip(centers, rotations, strict=True))
    }
    path.write_text(json.dumps({"unit": "m", "up": "z", "cameras": cameras}))
    return path


def test_the_origin_is_below_the_point_where_the_axes_meet(tmp_path):
    found = read_recorded_cameras(write_calibration(tmp_path / "c.json", roll=ROLL))
    assert np.allclose(found.centers, AROUND, atol=1e-3)
    assert np.allclose(found.frustum, [1280 / 1800, 720 / 1800])
    assert 0.3 <= found.area <= 1.5 and found.up is None


def test_people_keep_to_where_all_cameras_see_their_hips(tmp_path):
    wide = read_recorded_cameras(write_calibration(tmp_path / "c.json", focal=600.0))
    narrow = read_recorded_cameras(write_calibration(tmp_path / "c.json", focal=2500.0))
    assert narrow.area < wide.area


def test_two_cameras_that_face_each_other_look_at_the_middle(tmp_path):
    found = read_recorded_cameras(write_calibration(tmp_path / "c.json", [[3, 0, 1], [-3, 0, 1]]))
    assert np.allclose(found.centers[:, :2], [[3, 0], [-3, 0]], atol=1e-3)


def test_rooms_hold_the_cameras_and_nothing_stands_before_them(tmp_path):
    far = read_recorded_cameras(write_calibration(tmp_path / "c.json", 1.2 * AROUND))
    interior = draw_interior(0, far.space)
    assert interior.height > far.centers[:, 2].max() and interior.half.min() > far.space.reach
    for center in far.centers:
        assert not interior.hidden(center, np.array([[0, 0, 0.1], [0.3, 0.3, 1.0], [0, 0, 1.7]])).any()


def test_things_on_the_floor_keep_their_size_from_given_cameras():
    # In this room, a table stood with its middle just outside of the cameras' square.
    targets = np.array([(x, y, z) for x in (-0.6, 0, 0.6) for y in (-0.6, 0, 0.6) for z in (0.05, 0.5, 1.0)])
    assert not draw_interior(1019, Space(3.5, 0.6, 0.6)).hidden(np.array([0, -3.5, 0.6]), targets).any()


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        ({"centers": AROUND[:1]}, "has 1 camera; expected 2 or more"),
        ({"targets": 2 * AROUND}, "does not see somebody who stands"),
        ({"centers": [[0, 0, 1], [1, 0, 1]], "targets": [[0, 5, 1], [1, 5, 1]]}, "does not see somebody who stands"),
        ({"centers": AROUND * [1, 1, -1]}, "'cam0' is at a height of -1.50 m"),
        ({"centers": 10 * AROUND}, "to 15 m away"),
        ({"focal": 9000.0}, "does not see somebody who stands"),
    ],
)
def test_cameras_without_a_common_place_are_refused(tmp_path, cameras, message):
    with pytest.raises(UserError, match=message) as error:
        read_recorded_cameras(write_calibration(tmp_path / "c.json", **cameras))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("upright", [False, True])
def test_a_set_is_seen_by_these_cameras(tmp_path, upright):
    calibration = write_calibration(tmp_path / "c.json", roll=ROLL)
    folder = render_dataset(tmp_path / "set", 6, 16, world="wild", people=1, cameras=calibration, upright=upright,
                            workers=1, progress=False)  # fmt: skip
    validate(folder)
    labels, cameras = Labels(folder), read_recorded_cameras(calibration, upright)
    assert sorted(set(labels["cam"])) == [0, 1, 2]
    turned = labels["extrinsic_rot"].reshape(-1, 3, 3)
    recorded = cameras.rotations[labels["cam"]]
    # The crop's camera turns to where the person is, from where the camera looks.
    assert (np.einsum("ni,ni->n", turned[:, 2], recorded[:, 2]) > np.cos(0.6)).all()
    up = turned[:, :, 2]
    roll = np.degrees(np.arctan2(-up[:, 0], -up[:, 1]))
    expected = 0 if upright else np.degrees(ROLL)[labels["cam"]]
    assert np.allclose(roll, expected, atol=1e-4 if upright else 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cameras", "c.json"], "world 'room', which has its own; expected world wild"),
        (["--cameras", "c.json", "--frames"], "--cameras given with --frames"),
        (["--upright", "--world", "wild"], "upright given without cameras"),
    ],
)
def test_the_script_says_what_does_not_go_with_cameras(tmp_path, monkeypatch, arguments, message):
    command = ["render_dataset.py", "--output", str(tmp_path / "set"), "--crops", "8", *arguments]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(UserError, match=message):
        script.main()
    assert not (tmp_path / "set").exists()


def test_the_same_folder_refuses_other_cameras(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "render.json").write_text(json.dumps({"crops": 6}))
    with pytest.raises(UserError, match="cameras"):
        render_dataset(tmp_path / "set", 6, 16, world="wild", people=1,
                       cameras=write_calibration(tmp_path / "c.json"), workers=1)  # fmt: skip
