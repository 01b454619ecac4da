"""Reads crops and labels of a training layout, by row or by batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from datasets.layout.crops import CropArray, PngCrops
from datasets.layout.labels import ROW_KEYS, Labels
from datasets.layout.packed import open_packed
from datasets.layout.writer import CROP_CHANNELS, IMAGE_KINDS
from utils.errors import UserError
from utils.memory import total_memory
from utils.transfer import to_device

BATCH_KEYS = IMAGE_KINDS + ROW_KEYS


def collate_batch(batch: dict) -> dict:
    """`collate_fn` of a DataLoader: `MultiViewDataset.__getitems__` already returns whole batches."""
    return batch


class MultiViewDataset(Dataset):
    """Crops and labels of a training layout. One item is one row: one instant seen by one camera.

    root: folder of the layout. keys: which of BATCH_KEYS (or further per-row numbers of labels.h5) an item has;
    None: all of BATCH_KEYS. "mask_crop" is another key where the set has masks (`crop_kinds` says so). preload: read
    all crops into memory. progress: show a progress bar meanwhile.
    Packed crops (datasets/layout/packed.py) are used where there are any, so that nothing is decoded.

    `dataset[row]` returns a dictionary of tensors, `dataset.__getitems__(rows)` the same with a batch dimension:
        img_crop, bg_crop: (3,R,R) uint8 RGB.
        mask_crop: (1,R,R) uint8, the share of the person in each pixel times 255.
        extrinsic_rot, extrinsic_rot_inv: (3,3) float32, world -> camera and its inverse.
        3D: (51,) float32, meters, camera frame, root-centered.
        bounding_box_cam (4,), intrinsic_crop (3,3): float32, as in `CropCamera`.
        frame, cam, seq, subj: int64.

    Raises UserError for a missing or unfinished layout, a missing key, and a crop that is missing or corrupt.
    """

    def __init__(
        self, root: str | Path, keys: Sequence[str] | None = None, preload: bool = False, progress: bool = True
    ):
        self.root = Path(root)
        self.labels = Labels(root)
        self.keys = tuple(BATCH_KEYS if keys is None else keys)
        self.device = torch.device("cpu")
        image_keys = [key for key in self.keys if key in CROP_CHANNELS]
        self._tensors = {key: self._label_tensor(key) for key in self.keys if key not in CROP_CHANNELS}
        self._png = PngCrops(self.labels)
        packed = open_packed(self.labels)
        # All kinds of crops that the set has, read or not.
        self.crop_kinds = tuple(packed) or self._png.kinds
        self._arrays = {kind: packed[kind] for kind in image_keys if kind in packed}
        self._size = packed["img_crop"].crops.shape[-1] if packed else None
        for kind in image_keys:
            # A missing kind of crops is an error here, not after the first epoch has begun in a worker.
            if kind not in self._arrays:
                self._png.read(0, kind)
        # Checked first: running out of memory in the middle of loading would kill the process without a message.
        if preload:
            self._check_memory()
            self._arrays = {kind: self._preload(kind, progress) for kind in image_keys}

    @property
    def size(self) -> int:
        """Side R of the crops in pixels, read from the first crop."""
        return self._png.size if self._size is None else self._size

    @property
    def decodes(self) -> bool:
        """Whether reading a batch means decoding PNG files."""
        return any(self._is_png(key) for key in self.keys)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that all crops of `keys` need."""
        # Packed backgrounds are fewer than rows; decoded crops are one per row.
        plain = self.size**2 * len(self)
        kinds = [key for key in self.keys if key in CROP_CHANNELS]
        return sum(self._arrays[kind].nbytes if kind in self._arrays else CROP_CHANNELS[kind] * plain for kind in kinds)

    def to(self, device: torch.device) -> "MultiViewDataset":
        """Move crops and labels to `device`, where batches are gathered from then on. PNG files must be preloaded."""
        if self.decodes:
            raise UserError(
                f"crops of {self.root} are PNG files; expected preloaded or packed crops to move to {device}"
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
        pngs = {key: self._png.take(rows, key) for key in self.keys if self._is_png(key)}
        held = self.take(index)
        return {key: pngs[key] if key in pngs else held[key] for key in self.keys}

    def take(self, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """The batch of rows `index` (B,) int64, from 0, on the set's device: what of it needs no decoding."""
        return {
            key: self._arrays[key].take(index) if key in self._arrays else self._tensors[key][index]
            for key in self.keys
            if not self._is_png(key)
        }

    def _is_png(self, key: str) -> bool:
        return key in CROP_CHANNELS and key not in self._arrays

    def _label_tensor(self, key: str) -> torch.Tensor:
        array = self.labels[key]
        if len(array) != len(self) or array.dtype.kind not in "biuf":
            raise UserError(
                f"'{key}' is not numeric per row in {self.labels.path}; expected one of {', '.join(BATCH_KEYS)}"
            )
        return torch.from_numpy(array)

    def _check_memory(self) -> None:
        memory = total_memory()
        if self.nbytes > memory:
            raise UserError(
                f"preloading {len(self)} rows of {self.root} needs {self.nbytes / 2**30:.0f} GiB of memory; "
                f"expected at most the {memory / 2**30:.0f} GiB of this machine (do without preloading)"
            )

    def _preload(self, kind: str, progress: bool) -> CropArray:
        from tqdm import tqdm

        if kind in self._arrays:
            return self._arrays[kind].to(self.device)
        crops = torch.empty((len(self), CROP_CHANNELS[kind], self.size, self.size), dtype=torch.uint8)
        with tqdm(desc=f"Loading {kind}", total=len(self), unit="crop", disable=not progress) as bar:
            for done in self._png.fill(crops.numpy(), np.arange(len(self)), kind):
                bar.update(done)
        return CropArray(crops)
