"""Picture files of users, as 8-bit RGB: what would come out white or black is refused."""

import functools
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.errors import UserError
from utils.readers import reason

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
# Phones' pictures of many tiles: FFmpeg takes one tile for a video, and Pillow reads few of them.
_TILED_SUFFIXES = {".avif", ".heic", ".heif", ".hif"}
_TWELVE_BITS = 4095
_NEARLY = 0.9  # of a folder's pictures: so many names of one kind make the others strays
_QUARTER_TURNS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


def read_picture(path: str | Path) -> np.ndarray:
    """A picture as RGB (H,W,3) uint8, rotated as its EXIF orientation tells. Raises UserError where it cannot be."""
    with _opened(path) as image:
        return as_rgb(image, repr(str(path)))


def common_size(pictures: Sequence[Path]) -> tuple[int, int]:
    """Width and height of all pictures of a folder, as `read_picture` rotates them; their pixels are not read.

    Raises UserError where they differ.
    """
    size = _shown_size(pictures[0])
    for picture in pictures[1:]:
        if (other := _shown_size(picture)) != size:
            raise UserError(
                f"{picture} is {other[0]}x{other[1]} px; expected {size[0]}x{size[1]} px as {pictures[0].name} (a "
                "folder is the video of one camera: give other photos one by one, or a folder for each size)"
            )
    return size


def _shown_size(path: Path) -> tuple[int, int]:
    # A missing file gets its error where it is opened.
    return _size_in_header(path, path.stat().st_mtime_ns if path.exists() else None)


# A folder is asked for its size whenever its frames are read; changed: what tells that a file was written again.
@functools.lru_cache(maxsize=1 << 16)
def _size_in_header(path: Path, changed: int | None) -> tuple[int, int]:
    from PIL import ExifTags, Image

    with _opened(path) as image:
        # Not the method of PNG files, which decodes a whole picture to look for more behind it.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
        return image.size[::-1] if orientation in _QUARTER_TURNS else image.size


@contextmanager
def _opened(path: str | Path) -> Iterator["Image"]:
    """The PIL image of a file. Raises UserError for whatever goes wrong in the body."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow warns, in two lines of its own, about what it repairs or refuses.
            warnings.simplefilter("ignore")
            with Image.open(Path(path).expanduser()) as image:
                yield image
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"no such file: {str(path)!r}; expected an image") from error
    # Pillow's decoders raise whatever their parts raise, one of them for a picture that declares too many pixels.
    except Exception as error:
        why = "not an image" if isinstance(error, UnidentifiedImageError) else reason(error)
        raise UserError(f"{str(path)!r} cannot be read ({why}); expected an image such as PNG or JPEG") from error


def as_rgb(image: "Image", name: str = "a picture") -> np.ndarray:
    """A PIL image as RGB (H,W,3) uint8, rotated as its EXIF orientation tells.

    Raises UserError for one whose values have no known range.
    """
    from PIL import ImageOps

    file_format, image = image.format, ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PNG"):
        # Pillow's conversion cuts all that is above 255.
        values = np.asarray(image, dtype=np.int64)
        if values.max(initial=0) <= _TWELVE_BITS:
            raise UserError(
                f"{name} has 16 bits, of which at most 12 are used: up to {values.max(initial=0)}; expected 8 bits, "
                "or values up to 65535"
            )
        return np.repeat((values // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode.startswith(("I", "F")):
        kind = "floating-point numbers" if image.mode.startswith("F") else "integers of 32 bits"
        raise UserError(f"{name} holds {kind}, whose range is unknown; expected 8 or 16 bits")
    return np.array(image.convert("RGB"))


def picture_files(path: str | Path) -> list[Path] | None:
    """The pictures of a folder in the order of their names and numbers, or the one picture; None for other files.

    Raises UserError for a folder without pictures, and for pictures such as HEIC, which are not read.
    """
    path = Path(path)
    folder = path.is_dir()
    files = [file for file in path.iterdir() if file.name[0] != "."] if folder else [path]
    for file in files:
        if file.suffix.lower() in _TILED_SUFFIXES:
            raise UserError(f"{str(file)!r} is a picture that is not read; expected JPEG or PNG: convert it to JPEG")
    pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
    if not folder:
        return pictures or None
    if not pictures:
        # Such as a video, whose folder was given.
        but = f"has {min(file.name for file in files)!r} and no pictures" if files else "has no pictures"
        raise UserError(f"folder {str(path)!r} {but}; expected {', '.join(sorted(PICTURE_SUFFIXES))}")
    return sorted(pictures, key=_by_number)


def picture_numbers(files: Sequence[Path]) -> list[int] | None:
    """The numbers of pictures; None unless their names differ in one number, and in nothing else but the suffix."""
    parts = [re.split(r"(\d+)", file.stem) for file in files]
    if len({tuple(part[::2]) for part in parts}) != 1:
        return None
    columns = [list(map(int, column)) for column in zip(*(part[1::2] for part in parts), strict=True)]
    varying = [column for column in columns if len(set(column)) > 1]
    return varying[0] if len(varying) == 1 else None


def stray_pictures(files: Sequence[Path]) -> list[Path]:
    """Pictures whose names differ from those of nearly all `files` in more than numbers and the suffix."""
    texts = [tuple(re.split(r"\d+", file.stem)) for file in files]
    usual, count = Counter(texts).most_common(1)[0]
    return [file for file, text in zip(files, texts, strict=True) if text != usual and count >= _NEARLY * len(files)]


def _by_number(file: Path) -> tuple:
    # 10.png follows 9.png, even without leading zeros.
    parts = re.split(r"(\d+)", file.name)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts), file.name
