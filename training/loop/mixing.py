"""Batches of two sets: `dataset_folder_train`, a recording, and `dataset_folder_mixed`, rendered people."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from datasets import MultiViewDataset
from datasets.joined import JoinedDataset
from datasets.sampler import select_rows, split_last_instants, split_validation
from training.loop.distributed import draw_shard, world_size
from training.loop.loaders import Batch, Split, mask_kinds, open_mixed_set, open_training_set, training_rows
from utils.errors import UserError
from utils.keys import KEYS


class Part(NamedTuple):
    """What one set brings to training: its labels, the rows of it that train, and how many crops of a batch.

    `first`: the row of the joined set at which this set begins.
    """

    labels: Mapping[str, np.ndarray]
    rows: np.ndarray
    batch_size: int
    first: int = 0


def open_training_sets(
    config: dict, keys: tuple[str, ...], labeled: bool, masks: bool = False
) -> MultiViewDataset | JoinedDataset:
    """`keys` of the set to train on, joined with the mixed one if there is one; with `masks`, also what shows where
    the person is.

    Without `labeled` all poses of a recording are unknown then, also where it has some.
    """
    kinds = mask_kinds(config) if masks else [(), ()]
    if config["dataset_folder_mixed"] is None:
        return open_training_set(config, keys, kinds[0])
    own = tuple(key for key in keys if key != "3D" or labeled)
    return JoinedDataset(open_training_set(config, own, kinds[0]), open_mixed_set(config, keys, kinds[1]))


def training_parts(
    dataset: MultiViewDataset | JoinedDataset,
    config: dict,
    unit: int = 1,
    choose: Callable[[Mapping, dict, Split], tuple[np.ndarray, np.ndarray]] = training_rows,
) -> tuple[list[Part], np.ndarray]:
    """What each set brings to training, and the rows that are held out: all of them of `dataset_folder_train`.

    The mixed set trains as a whole: which network is the best one, the recording tells. `unit`: crops that must stay
    together. `choose(labels, config, split)`: the rows of the first set to train on, and those held out.
    """
    sizes = batch_sizes(config, unit)
    if not isinstance(dataset, JoinedDataset):
        train, held_out = choose(dataset.labels, config, split_validation)
        return [Part(dataset.labels, train, *sizes)], held_out
    recording, rendered = dataset.first, dataset.second
    train, held_out = choose(recording.labels, config, split_recording)
    parts = [Part(recording.labels, train, sizes[0])]
    mixed = select_rows(rendered.labels, every_nth_frame=config["every_nth_frame"])
    return [*parts, Part(rendered.labels, mixed, sizes[1], len(recording))], held_out


def split_recording(
    labels: Mapping[str, np.ndarray], fraction: float, seed: int, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As `split_validation`; of a recording that is one sequence, the last instants are held out."""
    chosen = slice(None) if rows is None else rows
    sequences = np.unique(np.stack([labels["subj"][chosen], labels["seq"][chosen]]), axis=1)
    if sequences.shape[1] > 1:
        return split_validation(labels, fraction, seed, rows)
    return split_last_instants(labels, fraction, rows)


def batch_sizes(config: dict, unit: int = 1) -> list[int]:
    """How many crops of a training batch (of all processes) are of each set: multiples of `unit` in each process."""
    total, unit = config["batch_size_train"], unit * world_size()
    if config["dataset_folder_mixed"] is None:
        if config["mixed_fraction"] != KEYS["mixed_fraction"].default:
            raise UserError("mixed_fraction needs dataset_folder_mixed, which is None; expected a second training set")
        return [total]
    mixed = round(config["mixed_fraction"] * total / unit) * unit
    if not 0 < mixed < total:
        raise UserError(
            f"mixed_fraction {config['mixed_fraction']} of batch_size_train {total} leaves nothing of one of the sets; "
            f"expected {unit} or more crops of each"
        )
    return [total - mixed, mixed]


class JoinedBatches:
    """Batches of rows of a joined set: of each of `parts` one, the rows of which begin at its entry of `first`."""

    def __init__(self, parts: Sequence, first: Sequence[int]):
        self.parts, self.first = parts, first

    def __len__(self) -> int:
        return min(map(len, self.parts))

    def __iter__(self) -> Iterator[np.ndarray]:
        for rows in zip(*self.parts, strict=True):
            yield np.concatenate([own + first for own, first in zip(rows, self.first, strict=True)])


def draw_backgrounds(count: int, recorded: int, config: dict, generator: torch.Generator) -> Batch:
    """From which of the `count` crops of a batch each takes its background (count,), on the CPU.

    The first `recorded` keep theirs; `mixed_background` of the others get that of one of those, at random.
    """
    donor = (draw_shard(torch.rand, count, generator=generator) * recorded).long().clamp(max=recorded - 1)
    replaced = draw_shard(torch.rand, count, generator=generator) < config["mixed_background"]
    own = torch.arange(count)
    return {"background_from": torch.where(replaced & (own >= recorded), donor, own)}


def put_on_backgrounds(batch: Batch) -> Batch:
    """`batch` of normalized crops with the person of each on the background of crop `background_from` (B,)."""
    if "background_from" not in batch:
        return batch
    background = batch["bg_crop"].index_select(0, batch["background_from"])
    # Where a crop keeps its background, it stays as it is: composited again, its shadows would be lost.
    kept = batch["background_from"] == torch.arange(len(background), device=background.device)
    person = (batch["mask_crop"].to(background) / 255).maximum(kept.to(background).view(-1, 1, 1, 1))
    return {**batch, "img_crop": torch.lerp(background, batch["img_crop"], person), "bg_crop": background}
