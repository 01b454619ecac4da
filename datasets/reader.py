"""Reads crops and labels of a training layout, by row or by batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from datasets.layout.images import ImageArray
from datasets.layout.labels import CROPS, ROW_KEYS, Labels
from datasets.layout.packed import open_images
from datasets.layout.writer import IMAGE_KINDS
from utils.errors import UserError
from utils.memory import total_memory
from utils.transfer import to_device

BATCH_KEYS = IMAGE_KINDS + ROW_KEYS


def collate_batch(batch: dict) -> dict:
    """`collate_fn` of a DataLoader: `__getitems__` of the data sets already returns whole batches."""
    return batch


class LayoutDataset(Dataset):
    """Images and labels of a training layout: what `MultiViewDataset` and `FrameDataset` share.

    `kinds` are all kinds of images that the set has, read or not; `keys` what an item has.
    """

    version: int
    batch_keys: tuple[str, ...]  # all that a set of this version may have

    def __init__(
        self, root: str | Path, keys: Sequence[str] | None = None, preload: bool = False, progress: bool = True
    ):
        self.root = Path(root)
        self.labels = Labels(root)
        self.labels.expect_version(self.version)
        self.device = torch.device("cpu")
        self._files, packed = open_images(self.labels)
        self.kinds = tuple(packed) or self._files.kinds
        self.keys = self._default_keys() if keys is None else tuple(keys)
        image_keys = [key for key in self.keys if self._is_image(key)]
        self._tensors = {key: self._label_tensor(key) for key in self.keys if key not in image_keys}
        self._arrays = {kind: packed[kind] for kind in image_keys if kind in packed}
        for kind in image_keys:
            # A missing kind of images is an error here, not after the first epoch has begun in a worker.
            if kind not in self._arrays:
                self._files.read(0, kind)
        if preload:
            self.preload(progress)

    @property
    def size(self) -> Any:
        """Size of the images in pixels, read from the first."""
        return self._files.size

    @property
    def decodes(self) -> bool:
        """Whether reading a batch means decoding files."""
        return any(self._is_file(key) for key in self.keys)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that all images of `keys` need."""
        return sum(self._bytes(key, np.arange(len(self))) for key in self.keys if self._is_image(key))

    def preload(self, progress: bool = True, rows: np.ndarray | None = None) -> "LayoutDataset":
        """Read the images of `keys` of these rows into memory, and of no others from then on; None: of all rows.

        UserError where they are more than it holds. Of packed images all are read.
        """
        rows = np.arange(len(self)) if rows is None else np.unique(rows)
        kinds = [key for key in self.keys if self._is_image(key)]
        # Checked first: running out of memory in the middle of loading would kill the process without a message.
        self._check_memory(sum(self._bytes(kind, rows) for kind in kinds), len(rows))
        self._arrays = {kind: self._preload(kind, rows, progress) for kind in kinds}
        return self

    def to(self, device: torch.device) -> "LayoutDataset":
        """Move images and labels to `device`, where batches are gathered from then on. Files must be preloaded."""
        if self.decodes:
            raise UserError(
                f"{self._files.name}s of {self.root} are PNG files; "
                f"expected preloaded or packed {self._files.name}s to move to {device}"
            )
        self.device = torch.device(device)
        self._arrays = {kind: array.to(self.device) for kind, array in self._arrays.items()}
        self._tensors = {key: tensor.to(self.device) for key, tensor in self._tensors.items()}
        return self

    @property
    def pose_mean(self) -> np.ndarray:
        """Mean pose (51,) of the training set, meters, camera frame."""
        return self.labels["pose_mean"]

    @property
    def pose_std(self) -> np.ndarray:
        """Standard deviation (51,) of the training set's poses, meters; 1 for the root."""
        return self.labels["pose_std"]

    def __len__(self) -> int:
        return self.labels.num_rows

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {key: value[0] for key, value in self.__getitems__([row]).items()}

    def __getitems__(self, rows: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """The collated batch of these rows; every value has a leading dimension of len(rows)."""
        # `index` serves tensors, which may be on a device; `rows` serves file names.
        rows = np.asarray(rows, dtype=np.int64)
        index = to_device(torch.from_numpy(np.where(rows < 0, rows + len(self), rows)), self.device)
        decoded = {key: self._files.take(rows, key) for key in self.keys if self._is_file(key)}
        held = self.take(index)
        return {key: decoded[key] if key in decoded else held[key] for key in self.keys}

    def take(self, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """The batch of rows `index` (B,) int64, from 0, on the set's device: what of it needs no decoding."""
        return {
            key: self._arrays[key].take(index) if key in self._arrays else self._tensors[key][index]
            for key in self.keys
            if not self._is_file(key)
        }

    def _default_keys(self) -> tuple[str, ...]:
        return self.batch_keys

    def _is_image(self, key: str) -> bool:
        return key in self._files.channels

    def _is_file(self, key: str) -> bool:
        return self._is_image(key) and key not in self._arrays

    def _bytes(self, kind: str, rows: np.ndarray) -> int:
        """Bytes of memory of the images of a kind of these rows; of all rows where they are packed or preloaded."""
        if kind in self._arrays:
            return self._arrays[kind].nbytes
        return len(self._first_rows(kind, rows)) * int(np.prod(self._files.shape(kind, self.size)))

    def _first_rows(self, kind: str, rows: np.ndarray) -> np.ndarray:
        """Of these rows the first one of each image."""
        index = self._files.index(kind)
        return rows if index is None else rows[np.unique(index[rows], return_index=True)[1]]

    def _label_tensor(self, key: str) -> torch.Tensor:
        array = self.labels[key]
        if len(array) != len(self) or array.dtype.kind not in "biuf":
            raise UserError(
                f"'{key}' is not numeric per row in {self.labels.path}; expected one of {', '.join(self.batch_keys)}"
            )
        return torch.from_numpy(array)

    def _check_memory(self, needed: int, rows: int) -> None:
        memory = total_memory()
        if needed > memory:
            raise UserError(
                f"preloading {rows} rows of {self.root} needs {needed / 2**30:.0f} GiB of memory; "
                f"expected at most the {memory / 2**30:.0f} GiB of this machine (do without preloading)"
            )

    def _preload(self, kind: str, rows: np.ndarray, progress: bool) -> ImageArray:
        from tqdm import tqdm

        if kind in self._arrays:
            return self._arrays[kind].to(self.device)
        index, first = self._files.index(kind), self._first_rows(kind, rows)
        images = torch.empty((len(first), *self._files.shape(kind, self.size)), dtype=torch.uint8)
        with tqdm(desc=f"Loading {kind}", total=len(first), unit=self._files.name, disable=not progress) as bar:
            for done in self._files.fill(images.numpy(), first, kind):
                bar.update(done)
        if index is None and len(rows) == len(self):
            return ImageArray(images)
        # No place is an error where it is read.
        places = np.full(len(self), -1)
        places[rows] = np.arange(len(rows)) if index is None else np.searchsorted(index[first], index[rows])
        return ImageArray(images, torch.from_numpy(places))


class MultiViewDataset(LayoutDataset):
    """Crops and labels of a training layout (version 1). One item is one row: one instant seen by one camera.

    root: folder of the layout. keys: which of BATCH_KEYS (or further per-row numbers of labels.h5) an item has;
    None: all of BATCH_KEYS. "mask_crop" is another key where the set has masks (`kinds` says so). preload: read
    all crops into memory. progress: show a progress bar meanwhile.
    Packed crops (datasets/layout/packed.py) are used where there are any, so that nothing is decoded.

    `dataset[row]` returns a dictionary of tensors, `dataset.__getitems__(rows)` the same with a batch dimension:
        img_crop, bg_crop: (3,R,R) uint8 RGB.
        mask_crop: (1,R,R) uint8, the share of the person in each pixel times 255.
        extrinsic_rot, extrinsic_rot_inv: (3,3) float32, world -> camera and its inverse.
        3D: (51,) float32, meters, camera frame, root-centered.
        bounding_box_cam (4,), intrinsic_crop (3,3): float32, as in `CropCamera`.
        frame, cam, seq, subj: int64.
    `size` is the side R of the crops in pixels.

    Raises UserError for a missing or unfinished layout or one of version 2, a missing key, and a crop that is missing
    or corrupt.
    """

    version = CROPS
    batch_keys = BATCH_KEYS
