"""Triangles rasterized into depth buffers: the same depths as of rays through the samples that intersect them."""

import numpy as np
import pytest

pytest.importorskip("warp")

from datasets.rendered.raycast import DEVICE, RenderView, rasterize_mesh, warp_kernels

SAMPLES = 32
FOCAL = 0.8


def intersect(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse depth (S,S) and index of the nearest triangle on each sample's ray; 0 and -1 if there is none."""
    place = ((np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5) / FOCAL
    rays = np.stack([*np.meshgrid(place, place), np.ones((SAMPLES, SAMPLES))], axis=-1)
    # corners @ weights = ray. All weights are positive where the ray hits the triangle; their sum is the inverse depth.
    weights = np.einsum("tij,yxj->yxti", np.linalg.inv(triangles.swapaxes(1, 2)), rays)
    inverse = np.where(weights.min(-1) >= 0, weights.sum(-1), 0)
    return inverse.max(-1), np.where(inverse.max(-1) > 0, inverse.argmax(-1), -1)


def rasterize(triangles: np.ndarray, facing: int) -> tuple[np.ndarray, np.ndarray]:
    """The same by the kernels under test."""
    warp, *_ = warp_kernels()
    points = warp.array(triangles.reshape(-1, 3).astype(np.float32), dtype=warp.vec3, device=DEVICE)
    numbers = np.arange(3 * len(triangles), dtype=np.int32).reshape(-1, 3)
    faces = warp.array(numbers, dtype=warp.vec3i, device=DEVICE)
    view = RenderView(np.zeros((1, 3)), np.eye(3)[None], np.diag([FOCAL, FOCAL, 1])[None])
    nearest = rasterize_mesh(points, faces, view, SAMPLES, facing).nearest.numpy()[0]
    inverse = (nearest >> np.uint64(32)).astype(np.uint32).view(np.float32)
    return inverse, np.where(inverse > 0, (nearest & np.uint64(0xFFFFFFFF)).astype(int), -1)


@pytest.mark.parametrize("least_depth", [0.5, -3.0], ids=["in front of the camera", "also behind it"])
def test_nearest_triangles_are_those_that_rays_hit(least_depth):
    rng = np.random.default_rng(0)
    triangles = rng.uniform([-2, -2, least_depth], [2, 2, 4], (40, 3, 3))
    inverse, number = rasterize(triangles, facing=0)
    expected_inverse, expected = intersect(triangles)
    assert len(set(expected.ravel())) >= 4
    assert np.mean(number == expected) > 0.99
    np.testing.assert_allclose(inverse[number == expected], expected_inverse[number == expected], rtol=1e-3)


def test_fronts_and_backs():
    front = np.array([[-0.3, -0.3, 1.0], [-0.3, 0.3, 1.0], [0.3, -0.3, 1.0]])
    back = front[::-1] * [1, 1, 0.5]
    for facing, kept in ((1, 0), (-1, 1)):
        _, number = rasterize(np.stack([front, back]), facing)
        assert set(number.ravel()) == {-1, kept}
