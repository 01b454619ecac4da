"""Crops of a layout: decoded from their PNG files, or gathered from one array."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from datasets.layout.labels import Labels
from datasets.layout.png import map_threads, read_png
from datasets.layout.writer import CROP_CHANNELS, image_path
from utils.errors import UserError


class PngCrops:
    """The PNG files of a layout, decoded on demand."""

    def __init__(self, labels: Labels):
        self.root = labels.root
        self._ids = np.stack([labels[name] for name in ("seq", "cam", "frame")], axis=1)

    def __len__(self) -> int:
        return len(self._ids)

    @cached_property
    def size(self) -> int:
        """Side R of the crops, pixels (that of the first crop)."""
        return read_png(self.path(0, "img_crop")).shape[0]

    def path(self, row: int, kind: str) -> str:
        """The file of one crop; `kind` is one of `CROP_CHANNELS`."""
        return image_path(self.root, *self._ids[row], kind)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of crops of the layout: those of its first row. A kind that one row has, all should have."""
        return tuple(kind for kind in CROP_CHANNELS if Path(self.path(0, kind)).exists())

    def read(self, row: int, kind: str) -> np.ndarray:
        """One crop (C,R,R) uint8: RGB, or C = 1 for a mask.

        Raises UserError for a missing or corrupt file, and for another size.
        """
        path = self.path(row, kind)
        crop = read_png(path, CROP_CHANNELS[kind])
        if crop.shape[:2] != (self.size, self.size):
            raise UserError(f"{path} is {crop.shape[1]}x{crop.shape[0]} px; expected {self.size}x{self.size} px")
        return crop.transpose(2, 0, 1)

    def file_bytes(self, row: int, kind: str) -> bytes:
        """One crop as it is stored, not decoded. Raises UserError for a missing file."""
        path = self.path(row, kind)
        try:
            return Path(path).read_bytes()
        except FileNotFoundError as error:
            raise UserError(f"missing crop {path}; expected a PNG") from error

    def take(self, rows: Sequence[int] | np.ndarray, kind: str) -> torch.Tensor:
        """Crops (B,C,R,R) uint8 of these rows."""
        crops = np.empty((len(rows), CROP_CHANNELS[kind], self.size, self.size), np.uint8)
        for slot, row in enumerate(rows):
            crops[slot] = self.read(row, kind)
        return torch.from_numpy(crops)

    def fill(self, crops: np.ndarray, rows: Sequence[int] | np.ndarray, kind: str) -> Iterator[int]:
        """Decode these rows by threads into `crops` (B,C,R,R); yields the number of crops that were added."""

        def load(slot: int) -> None:
            crops[slot] = self.read(rows[slot], kind)

        return map_threads(load, range(len(rows)))


class CropArray(NamedTuple):
    """Crops (M,C,R,R) uint8 in memory, in a memory-mapped file, or on a device.

    `index` (N,) int64 is the crop of each row; None: row i has crop i.
    """

    crops: torch.Tensor
    index: torch.Tensor | None = None

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """Crops (B,C,R,R) of rows (B,) int64, an index on the same device."""
        if self.index is not None:
            rows = self.index.index_select(0, rows)
        # On a CPU, index_select is ten times as fast as crops[rows].
        return self.crops.index_select(0, rows)

    def to(self, device: torch.device) -> "CropArray":
        """A copy of the crops on `device`; a memory-mapped file is read into memory."""
        index = None if self.index is None else self.index.to(device)
        return CropArray(self.crops.to(device, copy=True), index)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the crops take."""
        return self.crops.nbytes
