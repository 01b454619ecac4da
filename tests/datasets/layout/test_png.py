"""PNG files that any reader reads, the same bytes each time, and small."""

import numpy as np
import pytest
from PIL import Image

from datasets.layout.png import read_png, write_png

SHAPES = [(128, 128), (1, 1), (3, 70), (50, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_come_back(shape, tmp_path):
    path = tmp_path / "crop.png"
    for crop in (np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8), np.full((*shape, 3), 255)):
        write_png(str(path), crop.astype(np.uint8))
        with Image.open(path) as image:
            image.verify()
        np.testing.assert_array_equal(read_png(str(path)), crop)


def test_smooth_pictures_are_small_and_bytes_are_the_same(tmp_path):
    y, x = np.mgrid[:128, :128]
    crop = np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8)
    for name in ("a.png", "b.png"):
        write_png(str(tmp_path / name), crop[:, :64])  # a view with gaps between rows, too
    data = (tmp_path / "a.png").read_bytes()
    assert data == (tmp_path / "b.png").read_bytes() and len(data) < crop[:, :64].nbytes / 5


def test_gray_pixels_come_back(tmp_path):
    path = tmp_path / "mask.png"
    for shape in SHAPES:
        mask = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        write_png(str(path), mask)
        with Image.open(path) as image:
            image.verify()
            assert image.mode == "L"
        np.testing.assert_array_equal(read_png(str(path), channels=1), mask[..., None])
