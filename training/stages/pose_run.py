"""What stage 2 of both methods begins with: network, data set and run folder; and what it does with held-out rows."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from training.loop.beginning import open_run
from training.loop.distributed import is_main, local_items, world_size
from training.loop.engine import seed_everything
from training.loop.hardware import Hardware
from training.loop.latest import resolve_latest
from training.loop.run_folder import RunFolder
from training.stages.augmentation import without_effect
from training.trained.load import open_for_pose
from utils.errors import UserError

NUM_EXAMPLES = 4  # held-out rows in a picture


class PoseRun(NamedTuple):
    """A run of stage 2; `config` with what `network_path` decides. `dataset` is None where it is trained already."""

    config: dict
    hardware: Hardware
    network: torch.nn.Module
    dataset: Any
    folder: RunFolder

    def announce(self, train: Sequence[np.ndarray], held_out: np.ndarray, labels: str) -> None:
        """Print, in one process, on how many `labels` the run trains (rows of each set) and chooses, and where."""
        if is_main():
            counts = " and ".join(str(len(rows)) for rows in train)
            counts = f"{counts} {labels} to train on, {len(held_out)} to choose the best"
            print(f"{counts}; {self.hardware}; {self.folder.path}")

    def test_batches(self, held_out: np.ndarray) -> Sequence[np.ndarray]:
        """The held-out rows in batches of about equal size: those of this process."""
        return local_items(np.array_split(held_out, -(-len(held_out) // self.config["batch_size_test"])))


def open_pose_run(config: dict, resume: bool, given: frozenset[str], open_dataset: Callable[[dict], Any]) -> PoseRun:
    """Begin stage 2, or `resume` it, by a complete config, of which the user gave the keys `given`.

    A pose decoder that is new gets the statistics of the labels of `open_dataset(config)`.
    """
    hardware = Hardware(config["device"], config["precision"])
    # Before the network is built: its new pose decoder is a function of the seed.
    seed_everything(config["seed"])
    network, config, trained_decoder = open_for_pose(resolve_latest(config, "pose", resume), given)
    hardware.place(network)
    folder, dataset = open_run(config, "pose", resume, open_dataset)
    if dataset is not None and not trained_decoder:
        network.set_pose_statistics(dataset.pose_mean, dataset.pose_std)
    for key in without_effect(config) if dataset is not None and is_main() else ():
        if key in given:
            print(f"{key} is {config[key]}, but does nothing where freeze_encoder is {config['freeze_encoder']}")
    return PoseRun(config, hardware, network, dataset, folder)


def check_pose_batch(config: dict, people: int = 1) -> None:
    """UserError where processes would not get equal shares of a batch, or one person. `people`: boxes of a picture."""
    batch, processes = config["batch_size_train"], world_size()
    if batch * people % processes:
        raise UserError(
            f"batch_size_train {batch} cannot be divided over {processes} processes; expected a multiple of {processes}"
        )
    check_pose_share(config, batch * people // processes, f"batch_size_train {batch} gives")


def check_pose_share(config: dict, share: int, given: str) -> None:
    """UserError where the `share` of a process, people of a batch, is 1: the pose decoder's batch norm needs two.

    `given`: what makes it so small, for the message.
    """
    if config["n_hidden_to3Dpose"] and share < 2:
        raise UserError(
            f"{given} a process {share} person; expected 2 or more, because the pose decoder has batch norm"
        )


def some_examples(held_out: np.ndarray) -> np.ndarray:
    """Held-out rows to show, evenly spaced."""
    return held_out[np.linspace(0, len(held_out) - 1, NUM_EXAMPLES).round().astype(int)]
