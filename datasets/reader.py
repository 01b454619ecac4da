"""Reading crops and labels of a training layout, one row or one batch at a time."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from datasets.labels import ROW_KEYS, Labels
from datasets.layout import IMAGE_KINDS, image_path
from datasets.png import map_threads, read_png
from utils.errors import UserError

BATCH_KEYS = IMAGE_KINDS + ROW_KEYS


def collate_batch(batch: dict) -> dict:
    """`collate_fn` for a DataLoader: `MultiViewDataset.__getitems__` gives whole batches already."""
    return batch


class MultiViewDataset(Dataset):
    """Crops of a training layout. One item is one row: one instant seen by one camera.

    root: folder of the layout. keys: which of BATCH_KEYS (or further per-row numbers of labels.h5) an item has;
    None: all of BATCH_KEYS. preload: decode all crops once, into memory.

    `dataset[row]` and, with a leading batch dimension, `dataset.__getitems__(rows)`:
        img_crop, bg_crop (3,R,R) uint8 RGB; extrinsic_rot (3,3) world -> camera and extrinsic_rot_inv, its inverse;
        3D (51,) metres, root-centred, camera frame; bounding_box_cam (4,); intrinsic_crop (3,3), all float32;
        frame, cam, seq, subj int64.

    Raises UserError for a missing or half-written layout, a missing key, and a crop that is missing or corrupt.
    """

    def __init__(self, root: str | Path, keys: Sequence[str] | None = None, preload: bool = False):
        self.root = Path(root)
        self.labels = Labels(root)
        self.keys = tuple(BATCH_KEYS if keys is None else keys)
        self._image_keys = [key for key in self.keys if key in IMAGE_KINDS]
        self._tensors = {key: self._label_tensor(key) for key in self.keys if key not in IMAGE_KINDS}
        self._ids = np.stack([self.labels[name] for name in ("seq", "cam", "frame")], axis=1)
        for kind in self._image_keys:
            self._read(0, kind)
        if preload:
            self._check_memory()
            self._tensors |= {kind: self._preload(kind) for kind in self._image_keys}

    @cached_property
    def size(self) -> int:
        """Side R of the crops, pixels (that of the first crop)."""
        return read_png(self._path(0, "img_crop")).shape[0]

    @property
    def pose_mean(self) -> np.ndarray:
        """Mean pose (51,) of the training set, metres, camera frame."""
        return self.labels["pose_mean"]

    @property
    def pose_std(self) -> np.ndarray:
        """Standard deviation (51,) of the training set's poses, metres; 1 for the root."""
        return self.labels["pose_std"]

    def __len__(self) -> int:
        return self.labels.num_rows

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {key: value[0] for key, value in self.__getitems__([row]).items()}

    def __getitems__(self, rows: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """The batch of these rows, already collated: every value has a leading dimension of len(rows)."""
        index = torch.as_tensor(np.asarray(rows, dtype=np.int64))
        return {
            key: self._tensors[key][index] if key in self._tensors else self._decode(rows, key) for key in self.keys
        }

    def _label_tensor(self, key: str) -> torch.Tensor:
        array = self.labels[key]
        if len(array) != len(self) or array.dtype.kind not in "biuf":
            raise UserError(f"'{key}' is not a number per row in {self.labels.path}; keys are {', '.join(BATCH_KEYS)}")
        return torch.from_numpy(array)

    def _path(self, row: int, kind: str) -> str:
        return image_path(self.root, *self._ids[row], kind)

    def _read(self, row: int, kind: str) -> np.ndarray:
        path = self._path(row, kind)
        crop = read_png(path)
        if crop.shape != (self.size, self.size, 3):
            raise UserError(f"{path} is {crop.shape[1]}x{crop.shape[0]} px; expected {self.size}x{self.size} px")
        return crop

    def _decode(self, rows: Sequence[int] | np.ndarray, kind: str) -> torch.Tensor:
        crops = np.empty((len(rows), 3, self.size, self.size), np.uint8)
        for slot, row in enumerate(rows):
            crops[slot] = self._read(row, kind).transpose(2, 0, 1)
        return torch.from_numpy(crops)

    def _check_memory(self) -> None:
        needed = len(self._image_keys) * len(self) * 3 * self.size**2
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > memory:
            raise UserError(
                f"preloading {len(self)} rows of {self.root} needs {needed / 2**30:.0f} GiB; "
                f"this machine has {memory / 2**30:.0f} GiB (read without preloading)"
            )

    def _preload(self, kind: str) -> torch.Tensor:
        from tqdm import tqdm

        crops = torch.empty((len(self), 3, self.size, self.size), dtype=torch.uint8)

        def load(row: int) -> None:
            crops.numpy()[row] = self._read(row, kind).transpose(2, 0, 1)

        with tqdm(desc=f"Loading {kind}", total=len(self), unit="crop") as bar:
            for done in map_threads(load, range(len(self))):
                bar.update(done)
        return crops
