"""Crops as PNG files: one at a time, and many at once by threads."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from utils.errors import UserError

Z_RLE = 3  # zlib strategy: on filtered photographs as small as the default, at less than twice the time


def write_png(path: str, crop: np.ndarray) -> None:
    """Write one crop (R,R,3) uint8 RGB."""
    from PIL import Image

    Image.fromarray(crop).save(path, "PNG", compress_type=Z_RLE)


def read_png(path: str) -> np.ndarray:
    """Read one crop as RGB uint8 (H,W,3). Raises UserError naming the file when it is missing or corrupt."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise UserError(f"missing crop {path}; expected a PNG") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"corrupt crop {path} ({error}); expected a whole PNG") from error


def map_threads(
    function: Callable[[Any], None], items: Sequence, threads: int | None = None, chunk: int = 64
) -> Iterator[int]:
    """Call `function` on every item by threads; yields how many more are done, in order. An error ends it at once."""

    def work(start: int) -> int:
        block = items[start : start + chunk]
        for item in block:
            function(item)
        return len(block)

    pool = ThreadPoolExecutor(threads)
    try:
        yield from pool.map(work, range(0, len(items), chunk))
    finally:
        pool.shutdown(cancel_futures=True)
