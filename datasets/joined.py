"""Two training layouts as one: a recording, and rendered people whose labels are known."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from datasets.reader import MultiViewDataset
from utils.transfer import to_device

# What stands for a key that one of the sets is read without: an unknown pose, and a crop that is person throughout.
FILLINGS = {"3D": float("nan"), "mask_crop": 255}


class JoinedDataset(Dataset):
    """The rows of `first`, then those of `second`; batches as `MultiViewDataset` gives them.

    A set that is read without "3D" or "mask_crop", which the other one has, gives NaN, or 255. Where one has masks,
    `has_mask` (B,) bool tells whose rows have them. Labels and their rows stay those of each set, because ids of two
    sets may be equal: row r of `second` is row len(first) + r here.
    """

    def __init__(self, first: MultiViewDataset, second: MultiViewDataset):
        self.first, self.second = first, second
        self.keys = tuple(dict.fromkeys([*first.keys, *second.keys]))
        if ("mask_crop" in first.keys) != ("mask_crop" in second.keys):
            self.keys += ("has_mask",)

    @property
    def root(self) -> str:
        """Both folders, for messages."""
        return f"{self.first.root} and {self.second.root}"

    @property
    def size(self) -> int:
        """Side R of the crops in pixels."""
        return self.first.size

    @property
    def device(self) -> torch.device:
        """Where batches are gathered."""
        return self.first.device

    @property
    def decodes(self) -> bool:
        """Whether reading a batch may mean decoding PNG files."""
        return self.first.decodes or self.second.decodes

    @property
    def nbytes(self) -> int:
        """Bytes of memory that all crops of `keys` need."""
        return self.first.nbytes + self.second.nbytes

    @property
    def pose_mean(self) -> np.ndarray:
        """Mean pose (51,) of `second`, meters, camera frame."""
        return self.second.pose_mean

    @property
    def pose_std(self) -> np.ndarray:
        """Standard deviation (51,) of the poses of `second`, meters."""
        return self.second.pose_std

    def preload(self, progress: bool = True, rows: np.ndarray | None = None) -> "JoinedDataset":
        """Read the images of these rows of both sets into memory, and of no others from then on; None: of all rows."""
        count = len(self.first)
        # `take` reads the last one of the first set, and the first of the second, in place of the other set's rows.
        rows = np.arange(len(self)) if rows is None else np.append(rows, [count - 1, count])
        self.first.preload(progress, rows[rows < count])
        self.second.preload(progress, rows[rows >= count] - count)
        return self

    def to(self, device: torch.device) -> "JoinedDataset":
        """Move both sets to `device`."""
        self.first.to(device)
        self.second.to(device)
        return self

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {key: value[0] for key, value in self.__getitems__([row]).items()}

    def __getitems__(self, rows: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """The collated batch of these rows; every value has a leading dimension of len(rows)."""
        rows, count = np.asarray(rows, dtype=np.int64), len(self)
        if len(rows) and not -count <= rows.min() <= rows.max() < count:
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {count}")
        rows = np.where(rows < 0, rows + count, rows)
        of_first = rows < len(self.first)
        parts = []
        for dataset, own in ((self.first, rows[of_first]), (self.second, rows[~of_first] - len(self.first))):
            if len(own):
                parts.append(self._filled(dataset.__getitems__(own), len(own)))
        # Sorted by set; back to the order that was asked for.
        order = np.argsort(np.argsort(~of_first, kind="stable"))
        order = to_device(torch.from_numpy(order), self.device)
        return {key: torch.cat([part[key] for part in parts])[order] for key in self.keys}

    def take(self, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """The batch of rows `index` (B,) int64, from 0, on the sets' device: what of it needs no decoding."""
        # From both sets for every row, and then a choice: how many rows are whose, only the device knows.
        count = len(self.first)
        first = self._filled(self.first.take(index.clamp(max=count - 1)), len(index))
        second = self._filled(self.second.take((index - count).clamp(min=0)), len(index))
        mine = index < count
        return {
            key: torch.where(mine.view(-1, *[1] * (value.dim() - 1)), value, second[key])
            for key, value in first.items()
        }

    def _filled(self, batch: dict[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
        """`batch` of one set with what only the other one has."""
        shapes = {"3D": ((count, 51), torch.float32), "mask_crop": ((count, 1, self.size, self.size), torch.uint8)}
        missing = {
            key: torch.full(shapes[key][0], FILLINGS[key], dtype=shapes[key][1], device=self.device)
            for key in self.keys
            if key not in batch and key in FILLINGS
        }
        if "has_mask" in self.keys:
            missing["has_mask"] = torch.full((count,), "mask_crop" in batch, device=self.device)
        return batch | missing
