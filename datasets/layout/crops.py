"""Crops of a layout (version 1), decoded from their PNG files."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from datasets.layout.images import LayoutImages
from datasets.layout.png import read_png
from datasets.layout.writer import CROP_CHANNELS, image_path
from utils.errors import UserError


class PngCrops(LayoutImages):
    """The PNG files of a layout, decoded on demand: (C,R,R) uint8, RGB, or C = 1 for a mask."""

    channels = CROP_CHANNELS
    name, first_kind = "crop", "img_crop"

    @cached_property
    def size(self) -> int:
        """Side R of the crops, pixels (that of the first crop)."""
        return read_png(self.path(0, "img_crop")).shape[0]

    @classmethod
    def shape(cls, kind: str, size: int) -> tuple[int, ...]:
        """Shape (C,R,R) of one crop."""
        return (CROP_CHANNELS[kind], size, size)

    @classmethod
    def size_of(cls, shape: Sequence[int]) -> int:
        """Side R of the crops in an array (...,R,R)."""
        return shape[-1]

    def path(self, row: int, kind: str) -> str:
        """The file of one crop; `kind` is one of `CROP_CHANNELS`."""
        return image_path(self.root, *self._ids[row], kind)

    def read(self, row: int, kind: str) -> np.ndarray:
        """One crop (C,R,R) uint8. Raises UserError for a missing or corrupt file, and for another size."""
        path = self.path(row, kind)
        crop = read_png(path, CROP_CHANNELS[kind])
        if crop.shape[:2] != (self.size, self.size):
            raise UserError(f"{path} is {crop.shape[1]}x{crop.shape[0]} px; expected {self.size}x{self.size} px")
        return crop.transpose(2, 0, 1)
