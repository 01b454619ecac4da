"""The median background: without the person, from few frames in memory, the same every time."""

import numpy as np
import pytest

pytest.importorskip("av")

from datasets.video.background import FrameReservoir, evenly_spaced_frames, median_frame, median_of_videos
from tests.video_files import write_video
from utils.errors import UserError


def scene() -> np.ndarray:
    return np.random.default_rng(0).integers(40, 200, (4, 6, 3), dtype=np.uint8).repeat(12, 0).repeat(12, 1)


def walking_block(frames: int, seed: int = 0):
    """The scene with a white block that is somewhere else in every frame."""
    rng = np.random.default_rng(seed)
    for _ in range(frames):
        frame, (x, y) = scene(), rng.integers(0, (60, 36))
        frame[y : y + 12, x : x + 12] = 255
        yield frame


@pytest.mark.parametrize("offered", [1, 7, 8, 9, 100, 1000])
def test_reservoir_is_bounded_and_evenly_spread(offered):
    reservoir = FrameReservoir(8)
    for index in range(offered):
        reservoir.add(np.full((1, 1, 3), index, dtype=np.int64))
        assert len(reservoir.frames) <= 8
    kept = [int(frame[0, 0, 0]) for frame in reservoir.frames]
    assert kept[0] == 0 and len(set(np.diff(kept))) <= 1
    assert len(kept) >= min(offered, 4) and offered - kept[-1] <= max(1, reservoir.stride)


def test_median_forgets_the_person():
    np.testing.assert_array_equal(median_frame(list(walking_block(21))), scene())


def test_median_of_videos_is_the_scene(tmp_path):
    paths = [tmp_path / f"{seed}.mp4" for seed in range(3)]
    for seed, path in enumerate(paths):
        write_video(path, walking_block(20, seed))
    background = median_of_videos(paths, frames_per_video=7)
    assert np.abs(background.astype(int) - scene()).mean() < 4
    np.testing.assert_array_equal(background, median_of_videos(paths, frames_per_video=7))


def test_short_videos_give_what_they_have(tmp_path):
    write_video(tmp_path / "short.mp4", walking_block(3))
    assert len(list(evenly_spaced_frames(tmp_path / "short.mp4", 10))) == 3
    write_video(tmp_path / "long.mp4", walking_block(30))
    assert len(list(evenly_spaced_frames(tmp_path / "long.mp4", 10))) == 10


def test_frames_of_two_sizes_are_refused():
    reservoir = FrameReservoir()
    reservoir.add(scene())
    with pytest.raises(UserError, match=r"\(47, 72, 3\).*\(48, 72, 3\)"):
        reservoir.add(scene()[:47])


def test_no_frame_is_no_background():
    with pytest.raises(UserError, match="no frames for a background"):
        median_frame([])
