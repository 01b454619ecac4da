"""Disagreement of cameras: in meters, of the worst joint, per instant."""

import numpy as np

from datasets.cameras.agreement import view_disagreement


def test_worst_joint_of_each_instant():
    points = np.zeros((6, 17, 3))
    points[1, 4] = [0.03, 0, 0.04]  # the second camera of the first instant
    points[3, 2, 0], points[4, 2, 0] = 0.1, -0.2
    np.testing.assert_allclose(view_disagreement(points, np.array([0, 2, 5])), [0.05, 0.3, 0])


def test_one_common_place_is_no_disagreement():
    points = np.repeat(np.random.default_rng(0).normal(size=(4, 17, 3)), 3, axis=0)
    assert (view_disagreement(points, np.arange(0, 12, 3)) == 0).all()
    assert (view_disagreement(points[::3], np.arange(4)) == 0).all()
