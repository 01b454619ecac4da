"""Coverage: the distance of each pose to the nearest of another set, as N-MPJPE computes it pair by pair."""

import numpy as np
import pytest
import torch

from datasets import coverage
from datasets.coverage import coverage_report, nearest_distances
from tests.synthetic import write_synthetic_layout
from tests.synthetic_frames import write_synthetic_frames
from tests.tiny import run_script
from training.metrics import n_mpjpe
from utils.errors import UserError
from utils.skeleton import MIRRORED_JOINTS


def poses(count: int, seed: int) -> np.ndarray:
    joints = np.random.default_rng(seed).normal(0, 0.4, (count, 17, 3))
    return (joints - joints[:, :1]).reshape(count, 51).astype(np.float32)


def test_the_nearest_pose_is_that_of_all_pairs(monkeypatch):
    # Blocks of a few covering poses, so that several are joined.
    monkeypatch.setattr(coverage, "_BLOCK", 50)
    queries, covering = poses(7, 0), poses(23, 1)
    pairs = n_mpjpe(torch.from_numpy(covering)[None].expand(7, -1, -1), torch.from_numpy(queries)[:, None])
    np.testing.assert_allclose(nearest_distances(queries, covering), pairs.amin(1), rtol=1e-4)


def test_size_does_not_count_and_mirrored_poses_do_if_asked():
    queries = poses(5, 0)
    other = queries.reshape(5, 17, 3)[:, list(MIRRORED_JOINTS)] * [-1, 1, 1]
    assert nearest_distances(queries, 0.8 * queries).max() < 1e-3
    assert nearest_distances(queries, other.reshape(5, 51)).min() > 0.05
    assert nearest_distances(queries, other.reshape(5, 51), mirror=True).max() < 1e-3


def test_the_command_prints_one_line(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        write_synthetic_layout(tmp_path / name, 16, (1,), 1, 3, seed=seed)
    printed = run_script("coverage.py", tmp_path / "a", tmp_path / "b", "--mirror").stdout
    assert printed.count("\n") == 1 and "also mirrored: mean" in printed and "median" in printed
    assert "mean 0.0 mm" in coverage_report(tmp_path / "a", tmp_path / "a")
    with pytest.raises(UserError, match="no folder"):
        coverage_report(tmp_path / "a", tmp_path / "nowhere")


def test_a_set_without_a_finite_pose_is_named(tmp_path):
    people = write_synthetic_layout(tmp_path / "people", 16, (1,), 1, 3)
    nobody = write_synthetic_frames(tmp_path / "nobody", scenes=((),), instants=1)
    for pair in ((people, nobody), (nobody, people)):
        with pytest.raises(UserError, match=r"nobody/labels\.h5 has no finite pose in '3D'; expected a set with poses"):
            coverage_report(*pair)
