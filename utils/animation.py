"""Pictures in sequence as one file: .gif, .webp or .mp4."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from utils.files import write_atomically
from utils.video import pyav, write_video

SUFFIXES = (".gif", ".webp", ".mp4")
_PALETTE = 256
_PACKING = np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)  # three bytes of a color as one number
_EXACT = 4  # colors that the palette has exactly
_NEAR = 100  # squared distance of colors that nobody tells apart
_EVERY = 4  # frames between those whose colors choose a palette


def save_animation(path: Path, frames: Iterable[np.ndarray], milliseconds: int) -> None:
    """Write frames (H,W,3) uint8, each shown for `milliseconds`, in the format of the suffix of `path`, atomically.

    .gif and .webp repeat for ever. UserError for .mp4 without the package av.
    """
    if path.suffix == ".mp4":
        write_video(path, frames, round(1000 / milliseconds))
    else:
        write = {".gif": _write_gif, ".webp": _write_webp}[path.suffix]
        frames = list(frames)
        write_atomically(path, lambda part: write(part, frames, milliseconds))


def require_writer(path: Path) -> None:
    """UserError where the package that writes the format of `path` is missing."""
    if path.suffix == ".mp4":
        pyav()


def common_palette(frames: list[np.ndarray]) -> Image.Image:
    """A picture whose palette of 256 colors serves all frames, also where a color is rare."""
    packed = np.concatenate([(frame.astype(np.uint32) @ _PACKING).ravel() for frame in frames[::_EVERY]])
    colors, counts = np.unique(packed, return_counts=True)
    # By numbers of pixels, white and gray would get most of the palette; by distinct colors alone, white is tinted.
    weighted = np.repeat(colors, np.ceil(np.sqrt(counts)).astype(int))
    pixels = np.stack([weighted >> 16, weighted >> 8 & 255, weighted & 255], axis=1).astype(np.uint8)
    picture = Image.fromarray(pixels[None]).quantize(_PALETTE, Image.Quantize.MEDIANCUT, kmeans=1)
    # The most frequent colors, such as the white around panels, are exact.
    palette = np.array(picture.getpalette(), dtype=np.int64).reshape(-1, 3)
    for color in colors[np.argsort(counts)[: -_EXACT - 1 : -1]].astype(np.int64):
        exact = np.array([color >> 16, color >> 8 & 255, color & 255])
        distances = np.square(palette - exact).sum(1)
        # All that are near, because Pillow looks up the nearest one only approximately.
        palette[distances <= max(distances.min(), _NEAR)] = exact
    picture.putpalette(palette.astype(np.uint8).tobytes())
    return picture


def _write_gif(part: Path, frames: list[np.ndarray], milliseconds: int) -> None:
    # With a palette for each frame, a color would change as the person turns. Dithering is noise that GIF cannot
    # compress: without it the file is half as large, and looks the same.
    palette = common_palette(frames)
    first, *rest = (Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    first.save(part, "GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)


def _write_webp(part: Path, frames: list[np.ndarray], milliseconds: int) -> None:
    first, *rest = map(Image.fromarray, frames)
    options = {"duration": milliseconds, "loop": 0, "quality": 85, "method": 4}
    first.save(part, "WEBP", save_all=True, append_images=rest, **options)
