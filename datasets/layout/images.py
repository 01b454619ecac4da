"""Images of a layout: decoded from their files, or gathered from one array."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from datasets.layout.labels import Labels
from datasets.layout.png import map_threads
from utils.errors import UserError


class LayoutImages:
    """The image files of a layout, decoded on demand; what both versions share.

    size: of the images, pixels, where it is known already; None: that of the first image.
    """

    channels: Mapping[str, int]  # of each kind of images
    name: str  # what messages call them
    first_kind: str  # the kind that all rows have

    def __init__(self, labels: Labels, size: Any = None):
        self.root = labels.root
        self._ids = np.stack([labels[name] for name in ("seq", "cam", "frame")], axis=1)
        # Number (N,) of the background of each row, where labels tell it; None: equal files are one background.
        self.background_index: np.ndarray | None = None
        if size is not None:
            self.size = size

    def __len__(self) -> int:
        return len(self._ids)

    @cached_property
    def size(self) -> Any:
        """Size of the images as the data set gives it, read from the first."""
        raise NotImplementedError

    @classmethod
    def shape(cls, kind: str, size: Any) -> tuple[int, ...]:
        """Shape of one image in a batch."""
        raise NotImplementedError

    @classmethod
    def size_of(cls, shape: Sequence[int]) -> Any:
        """Size of the images, as `size` gives it, of an array of them with this shape."""
        raise NotImplementedError

    def path(self, row: int, kind: str) -> str:
        """The file of one image; `kind` is one of `channels`."""
        raise NotImplementedError

    def read(self, row: int, kind: str) -> np.ndarray:
        """One image, uint8, in its `shape`. Raises UserError for a missing or corrupt file, and for another size."""
        raise NotImplementedError

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of images of the layout: those of its first row. A kind that one row has, all should have."""
        return tuple(kind for kind in self.channels if Path(self.path(0, kind)).exists())

    def index(self, kind: str) -> np.ndarray | None:
        """Number (N,) of the image of each row, where several rows share one file; None: each row has its own."""
        return self.background_index if kind.startswith("bg") else None

    def file_bytes(self, row: int, kind: str) -> bytes:
        """One image as it is stored, not decoded. Raises UserError for a missing file."""
        path = self.path(row, kind)
        try:
            return Path(path).read_bytes()
        except FileNotFoundError as error:
            raise UserError(f"missing {self.name} {path}; expected a PNG") from error

    def take(self, rows: Sequence[int] | np.ndarray, kind: str) -> torch.Tensor:
        """Images (B,...) uint8 of these rows."""
        images = np.empty((len(rows), *self.shape(kind, self.size)), np.uint8)
        index = self.index(kind)
        first: dict[int, int] = {}
        for slot, row in enumerate(rows):
            # A file that several rows share is decoded once.
            known = first.setdefault(row if index is None else index[row], slot)
            images[slot] = self.read(row, kind) if known == slot else images[known]
        return torch.from_numpy(images)

    def fill(self, images: np.ndarray, rows: Sequence[int] | np.ndarray, kind: str) -> Iterator[int]:
        """Decode these rows by threads into `images` (B,...); yields the number of images that were added."""

        def load(slot: int) -> None:
            images[slot] = self.read(rows[slot], kind)

        return map_threads(load, range(len(rows)))


class ImageArray(NamedTuple):
    """Images (M,...) uint8 in memory, in a memory-mapped file, or on a device.

    `index` (N,) int64 is the image of each row; None: row i has image i.
    """

    images: torch.Tensor
    index: torch.Tensor | None = None

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """Images (B,...) of rows (B,) int64, an index on the same device."""
        if self.index is not None:
            rows = self.index.index_select(0, rows)
        # On a CPU, index_select is ten times as fast as images[rows].
        return self.images.index_select(0, rows)

    def to(self, device: torch.device) -> "ImageArray":
        """A copy of the images on `device`; a memory-mapped file is read into memory."""
        index = None if self.index is None else self.index.to(device)
        return ImageArray(self.images.to(device, copy=True), index)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the images take."""
        return self.images.nbytes
