"""Videos of one recording keep time with each other, or an error names the camera."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

from datasets.sources.own_videos.clocks import check_drift, common_rate
from tests.video_files import write_video
from utils.errors import UserError

EVEN = np.arange(100) / 25
OFFSETS = {"left": 0, "right": 3}


@pytest.mark.parametrize(("rates", "fine"), [((25, 25), True), ((25, 50), False), ((30, Fraction(30000, 1001)), False)])
def test_frame_rates(tmp_path, rates, fine):
    videos = {name: tmp_path / f"{name}.mp4" for name in ("left", "right")}
    for path, rate in zip(videos.values(), rates, strict=True):
        write_video(path, np.zeros((5, 48, 64, 3), np.uint8), fps=rate)
    if fine:
        assert common_rate(videos, "walk") == rates[0]
    else:
        with pytest.raises(UserError, match=r"walk: frame rates differ: left \d+, right [\d.]+ frames per second"):
            common_rate(videos, "walk")


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
