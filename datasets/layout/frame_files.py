"""Full frames of a layout (version 2), decoded from their PNG or JPEG files."""

import os
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from datasets.layout.frame_writer import FRAME_CHANNELS, frame_path
from datasets.layout.groups import group_rows
from datasets.layout.images import LayoutImages
from datasets.layout.labels import Labels
from datasets.layout.png import read_png
from utils.errors import UserError

NAMES = {"img": "frame", "bg": "background", "mask": "mask"}  # what messages call them


class FrameFiles(LayoutImages):
    """The image files of a layout of full frames, decoded on demand: (3,H,W) uint8 RGB, masks (H,W).

    A frame or background that has no PNG file may have a .jpg; masks must be exact.
    """

    channels = FRAME_CHANNELS
    name, first_kind = "frame", "img"

    def __init__(self, labels: Labels, size: tuple[int, int] | None = None):
        super().__init__(labels, size)
        cameras = group_rows(labels, ("seq", "cam"))
        self.background_index = np.empty(len(self), np.int64)
        self.background_index[cameras.order] = np.repeat(np.arange(len(cameras.start)), cameras.count)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frames, pixels (those of the first frame)."""
        height, width = self._decode(self.path(0, "img"), "img").shape[:2]
        return height, width

    @classmethod
    def shape(cls, kind: str, size: tuple[int, int]) -> tuple[int, ...]:
        """Shape of one image: (3,H,W), of a mask (H,W)."""
        return tuple(size) if kind == "mask" else (FRAME_CHANNELS[kind], *size)

    @classmethod
    def size_of(cls, shape: Sequence[int]) -> tuple[int, int]:
        """(height, width) of the frames in an array (...,H,W)."""
        height, width = shape[-2:]
        return height, width

    def path(self, row: int, kind: str) -> str:
        """The file of one image; `kind` is one of `FRAME_CHANNELS`."""
        path = frame_path(self.root, *self._ids[row], kind)
        photograph = path.removesuffix("png") + "jpg"
        return photograph if kind != "mask" and not os.path.exists(path) and os.path.exists(photograph) else path

    def read(self, row: int, kind: str) -> np.ndarray:
        """One image. Raises UserError for a missing or corrupt file, and for another size."""
        path = self.path(row, kind)
        image = self._decode(path, kind)
        if image.shape[:2] != tuple(self.size):
            height, width = self.size
            raise UserError(
                f"{path} is {image.shape[1]}x{image.shape[0]} px; expected {width}x{height} px like the first frame"
            )
        return image[..., 0] if kind == "mask" else image.transpose(2, 0, 1)

    @staticmethod
    def _decode(path: str, kind: str) -> np.ndarray:
        form = "PNG of 8-bit gray" if kind == "mask" else "PNG or JPEG"
        return read_png(path, FRAME_CHANNELS[kind], NAMES[kind], form)
