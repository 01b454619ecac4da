"""Photographs to stand behind people: those of a folder, or the free ones inside of installed packages."""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from utils.commands import install_extra
from utils.errors import UserError
from utils.pictures import PICTURE_SUFFIXES, read_picture

# Inside of scikit-image, which lists their licenses beside them: free, and without people.
PACKAGES = "packages"
FREE_PHOTOGRAPHS = ("brick", "chelsea", "coins", "grass", "gravel", "hubble_deep_field", "motorcycle_left", "rocket")
# Never trained with: those of scikit-learn (CC BY 2.0), and one of scikit-image.
HELD_OUT_PHOTOGRAPHS = ("china", "flower", "coffee")
_FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}


def photograph_files(folder: str) -> list[Path]:
    """Files of the pictures in `folder` and all folders in it; "packages": those of `free_photographs`.

    Raises UserError where there are none.
    """
    if folder == PACKAGES:
        return free_photographs()
    if not Path(folder).is_dir():
        wrong = "is not a folder" if Path(folder).exists() else "does not exist"
        raise UserError(f"photographs {folder!r} {wrong}; expected a folder of pictures")
    files = sorted(file for file in Path(folder).rglob("[!.]*") if file.suffix.lower() in PICTURE_SUFFIXES)
    if not files:
        raise UserError(f"folder {folder!r} has no pictures; expected {', '.join(sorted(PICTURE_SUFFIXES))}")
    return files


def random_squares(files: Sequence[Path], count: int, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    """`count` random squares (3,S,S) uint8 of the photographs `files`, about as many of each.

    Each is a view of its whole photograph, which it keeps in memory: resize one before the next.
    Raises UserError for a file that cannot be read.
    """
    chosen = [files[i] for i in rng.permutation(len(files))[:count]]
    for number, file in enumerate(chosen):
        picture = read_photograph(file)
        share = len(range(number, count, len(chosen)))
        for _ in range(share):
            yield _random_square(picture, rng)


def free_photographs(names: tuple[str, ...] = FREE_PHOTOGRAPHS) -> list[Path]:
    """Files of the free photographs `names` inside of installed packages. UserError where there are none."""
    found = []
    for package, inside in _FOLDERS.items():
        about = importlib.util.find_spec(package)
        if about is not None:
            folder = Path(about.origin).parent / inside
            found += sorted(file for file in folder.iterdir() if file.stem in names and file.suffix in PICTURE_SUFFIXES)
    if not found:
        raise UserError(f"there are no free photographs; expected scikit-image ({install_extra('photographs')})")
    return found


def read_photograph(file: str | Path) -> torch.Tensor:
    """A picture as RGB (3,H,W) uint8."""
    return torch.from_numpy(read_picture(file)).permute(2, 0, 1)


def _random_square(picture: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    height, width = picture.shape[1:]
    side = max(1, round(min(height, width) * rng.uniform(0.3, 1)))
    y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
    return picture[:, y : y + side, x : x + side]
