"""The labels of stage 2: which ones may be used, and batches of them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import torch
from tqdm import tqdm

from datasets import MultiViewDataset
from datasets.sampler import split_validation
from models import EncodeDecode
from models.parts.folding import fold_batch_norm
from training.loop.distributed import gather, is_main, rank, world_size
from training.loop.hardware import Hardware
from training.loop.loaders import (
    Batch,
    Split,
    chosen_rows,
    make_loader,
    normalize_batch,
    rows_of_subjects,
    split_of_subjects,
    training_batches,
    training_rows,
)
from training.loop.threads import map_batches
from training.stages.augmentation import change_input, changes_input_view, draw_input_view, make_backgrounds
from utils.errors import UserError
from utils.transfer import to_device

LABEL_KEYS = ("img_crop", "3D", "extrinsic_rot")


def labeled_rows(
    labels: Mapping[str, np.ndarray], config: dict, split: Split = split_validation
) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose labels may be used: to train on, and, of held-out sequences, to choose the best network by.

    They are `label_fraction` of the crops of `label_subjects`, chosen at random by `seed`; both parts count as labels.
    `split`: as `training_rows` has it. Where nothing of `label_subjects` is held out, or all, it splits their own rows.
    """
    fraction, subjects = config["label_fraction"], config["label_subjects"]
    rng = np.random.default_rng(config["seed"])
    parts = []
    for rows in split_of_subjects(labels, training_rows(labels, config, split), config, "label_subjects", split):
        count = round(fraction * len(rows))
        # Sorted, so that encoding reads the files in their order.
        parts.append(np.sort(rng.choice(rows, max(1, count), replace=False)) if len(rows) else rows)
    if len(parts[0]) < 2 or len(parts[1]) < 1:
        raise UserError(
            f"label_subjects {subjects!r} and label_fraction {fraction} leave {len(parts[0])} labels to train on and "
            f"{len(parts[1])} held out; expected at least 2 and 1, of two or more sequences"
        )
    return parts[0], parts[1]


def count_labels(labels: Mapping[str, np.ndarray], config: dict) -> int:
    """How many rows `labeled_rows` chooses among, to train on and held out."""
    return len(rows_of_subjects(labels, chosen_rows(labels, config), config["label_subjects"], "label_subjects"))


class ShuffledBatches:
    """Batches of entries of `rows` for iterations `first`..`last`-1: a function of (seed, epoch).

    An epoch visits every row once, except those of the incomplete last batch. Fewer rows than a batch make one batch.
    `batch_size` is that of all processes together, and each takes its share of every batch.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int, first: int, last: int):
        processes = world_size()
        if batch_size % processes or len(rows) < processes:
            raise UserError(
                f"batch size {batch_size} of {len(rows)} labels cannot be divided over {processes} processes"
            )
        self.rows, self.seed, self.first, self.last = rows, seed, first, last
        self.batch_size = min(batch_size, len(rows) // processes * processes)
        self.share = self.batch_size // processes

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[np.ndarray]:
        per_epoch, order, current = len(self.rows) // self.batch_size, self.rows, None
        for iteration in range(self.first, self.last):
            epoch, batch = divmod(iteration, per_epoch)
            # Not a generator that runs on: a resumed run must see the batches that it would have seen.
            if epoch != current:
                order, current = np.random.default_rng([self.seed, epoch]).permutation(self.rows), epoch
            joined = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield np.split(joined, world_size())[rank()]


class CachedLatents:
    """Labeled crops as a frozen encoder sees them, encoded once and held on the device.

    `points` (N,P,3); with `augment_mirror` also `mirrored_points`, those of the flipped crops; `3D` (N,51), meters;
    `vertical` (N,3), the world's z axis. All are in the camera frame of their crop. They are those of `rows`, and then,
    where `config` changes the input view, `augment_copies` times those of the rows `changed`, with which `rows` begin;
    each copy is changed anew.
    Of several processes each encodes its share of the crops, and all get all.
    """

    def __init__(
        self,
        network: EncodeDecode,
        dataset: MultiViewDataset,
        rows: np.ndarray,
        hardware: Hardware,
        config: dict,
        changed: np.ndarray | None = None,
    ):
        # Allowed because the encoder is frozen: folding gives the same points, to rounding, in less time.
        self.network, self.dataset = fold_batch_norm(network), dataset
        self.hardware, self.config = hardware, config
        has_copies = changed is not None and changes_input_view(config)
        # First, because a photograph that cannot be read is an error.
        self.backgrounds = make_backgrounds(config, hardware.device) if has_copies else None
        self.tensors = self._encoded(rows, lambda chunk, count: {})
        self.first_copy, self.copied = len(rows), 1 if changed is None else len(changed)
        if has_copies:
            copies = self._encoded(np.tile(changed, config["augment_copies"]), self._draw)
            self.tensors = {name: torch.cat([values, copies[name]]) for name, values in self.tensors.items()}
        # Not needed again: a GPU's memory would hold them.
        self.network = self.dataset = self.backgrounds = None

    def _draw(self, chunk: int, count: int) -> Batch:
        seed = np.random.default_rng([self.config["seed"], rank(), chunk]).integers(2**63)
        return draw_input_view(count, self.config, torch.Generator().manual_seed(int(seed)))

    def _encoded(self, rows: np.ndarray, draw: Callable[[int, int], Batch]) -> Batch:
        """What is kept of the crops of `rows`, changed by the random numbers that `draw(chunk, crops)` gives."""
        processes = world_size()
        # Gathering needs shares of one length: the last rows come twice where that takes it.
        share = np.split(np.resize(rows, -(-len(rows) // processes) * processes), processes)[rank()]
        chunks = np.array_split(share, -(-len(share) // self.config["batch_size_test"]))
        loader = make_loader(self.dataset, chunks, self.config)
        batches = (batch | draw(chunk, len(chunks[chunk])) for chunk, batch in enumerate(loader))
        batches = tqdm(batches, "encoding", len(chunks), unit="batch", disable=not is_main())
        parts: dict[str, list[torch.Tensor]] = defaultdict(list)
        for batch in map_batches(self._encode, batches, self.hardware.device):
            for name, values in batch.items():
                parts[name].append(values)
        return {name: gather(torch.cat(values))[: len(rows)] for name, values in parts.items()}

    @torch.no_grad()
    def _encode(self, batch: Batch) -> Batch:
        batch = self.hardware.move(batch)
        # The third column of a rotation from world to camera is the world's z axis as the camera sees it.
        batch = normalize_batch(batch) | {"vertical": batch["extrinsic_rot"][:, :, 2]}
        batch = change_input(batch, batch, self.backgrounds)
        crops = batch.get("input_crop", batch["img_crop"])
        with self.hardware.autocast():
            encoded = {"points": self.network.encode(crops)[1]}
            if self.config["augment_mirror"]:
                encoded["mirrored_points"] = self.network.encode(crops.flip(3))[1]
        return {**encoded, "3D": batch["3D"], "vertical": batch["vertical"]}

    def __len__(self) -> int:
        return len(self.tensors["3D"])

    def with_copies(self, positions: np.ndarray) -> np.ndarray:
        """`positions` of rows that begin with those `changed`, and of all their copies."""
        starts = np.arange(self.first_copy, len(self), self.copied)
        return np.concatenate([positions, *(start + positions for start in starts)])

    @property
    def points_shape(self) -> torch.Size:
        """(N,P,3)."""
        return self.tensors["points"].shape

    def read(self, batches: Iterable[np.ndarray]) -> Iterator[Batch]:
        """Batches of {"points", "3D", "vertical", ...} for batches of positions in `rows`."""
        for positions in batches:
            yield self.take(to_device(torch.from_numpy(positions), self.tensors["3D"].device))

    def read_training(self, batches: Iterable[np.ndarray]) -> Iterator[Batch]:
        """As `read`, but on a GPU only the positions as `row`, with which the training step calls `take`."""
        if self.tensors["3D"].device.type != "cuda":
            return self.read(batches)
        return ({"row": torch.from_numpy(positions)} for positions in batches)

    def take(self, index: torch.Tensor) -> Batch:
        """The batch of positions `index` (B,), on the device."""
        return {name: tensor.index_select(0, index) for name, tensor in self.tensors.items()}


class LabeledCrops:
    """The labeled crops themselves, for training the encoder too."""

    points_shape = None

    def __init__(self, dataset: MultiViewDataset, config: dict):
        self.dataset, self.config = dataset, config
        self.take = dataset.take

    def read(self, batches: Iterable[np.ndarray]) -> Iterable[Batch]:
        """Batches of {"img_crop", "3D", ...} for batches of rows."""
        return make_loader(self.dataset, batches, self.config)

    def read_training(self, batches: Iterable[np.ndarray]) -> Iterable[Batch]:
        """As `read`, but of crops in a GPU's memory only the `row`, with which the training step calls `take`."""
        return training_batches(self.dataset, batches, self.config)
