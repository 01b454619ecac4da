"""Stage 2: learn 3D pose from few labels, on the points that stage 1 found."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from datasets import MultiViewDataset
from models import EncodeDecode
from training.loop.distributed import average_gradients, mean_over_processes, process_group
from training.loop.engine import Stage, fit, make_optimizer
from training.loop.hardware import Hardware
from training.loop.loaders import Batch, cache_on_device, load_images, normalize_batch
from training.loop.mixing import JoinedBatches, open_training_sets, training_parts
from training.loop.run_folder import RunFolder
from training.metrics import mpjpe, n_mpjpe
from training.stages.augmentation import (
    augment,
    check_backgrounds,
    draw_augmentation,
    make_backgrounds,
    needs_masks,
)
from training.stages.labels import LABEL_KEYS, CachedLatents, LabeledCrops, ShuffledBatches, labeled_rows
from training.stages.losses import pose_loss
from training.stages.pose_run import check_pose_batch, check_pose_share, open_pose_run, some_examples
from training.stages.step import Losses, TrainingStep
from training.trained.copies import direct_poses
from utils.config import check_config
from utils.errors import UserError
from utils.images import denormalize
from utils.keys import KEYS
from utils.plotting import save_examples


def train_pose(config: dict, resume: bool = False, given: frozenset[str] = frozenset()) -> RunFolder:
    """Train the pose decoder on the labels that `config` allows; return the run folder.

    With `freeze_encoder` every labeled crop is encoded once, so that an epoch costs no more than the pose decoder.
    `given` names the keys that the user gave; those of the architecture must agree with `network_path`.
    """
    config = check_config(config, KEYS, complete=True)
    if "3D" not in config["output_types"]:
        raise UserError(
            f"output_types is {config['output_types']}; expected 3D, which stage 2 learns (its configs end in _pose)"
        )
    with process_group(config["device"]):
        check_pose_batch(config)
        return _train(config, resume, given)


def _train(config: dict, resume: bool, given: frozenset[str]) -> RunFolder:
    def open_labels(config: dict) -> MultiViewDataset:
        return open_training_sets(config, LABEL_KEYS, labeled=True, masks=needs_masks(config))

    check_backgrounds(config)
    run = open_pose_run(config, resume, given, open_labels)
    config, hardware, network, dataset, folder = run
    if dataset is None:
        return folder
    parts, held_out = training_parts(dataset, config, choose=labeled_rows)
    train = [part.first + part.rows for part in parts]
    examples = some_examples(held_out)
    run.announce(train, held_out, "labels")

    rows = np.concatenate([*train, held_out])
    dataset = load_images(dataset, config, rows)
    if config["freeze_encoder"]:
        network.requires_grad_(False)
        network.to_pose.requires_grad_(True)
        source = CachedLatents(network, dataset, rows, hardware, config, np.concatenate(train))
        # From here on, positions among the cached labels in place of rows.
        *train, held_out = np.split(np.arange(len(rows)), np.cumsum([len(part) for part in train]))
        train = [source.with_copies(part) for part in train]
        parameters = network.stage2_parameters()
    else:
        source = LabeledCrops(cache_on_device(dataset, config, hardware.device), config)
        parameters = [*network.encoder.parameters(), *network.stage2_parameters()]
    optimizer = make_optimizer(parameters, config)
    step = PoseStep(network, optimizer, hardware, config, source)

    def shuffled(first: int, last: int) -> list[ShuffledBatches]:
        return [
            ShuffledBatches(rows, part.batch_size, config["seed"], first, last)
            for rows, part in zip(train, parts, strict=True)
        ]

    share = sum(part.share for part in shuffled(0, 0))
    check_pose_share(config, share, f"{sum(map(len, train))} labels give")

    def batches(first: int, last: int) -> Iterable[Batch]:
        joined = shuffled(first, last)
        return source.read_training(JoinedBatches(joined, [0] * len(joined)))

    def evaluate() -> dict[str, float]:
        return step.evaluate(source.read(run.test_batches(held_out)))

    def plot(path: Path) -> None:
        plot_poses(network, dataset, examples, hardware, path)

    fit(Stage(network, optimizer, step, evaluate, batches, score="n_mpjpe", plot=plot), config, folder, resume)
    return folder


@torch.no_grad()
def plot_poses(
    network: EncodeDecode, dataset: MultiViewDataset, rows: np.ndarray, hardware: Hardware, path: Path
) -> None:
    """Draw crops with their predicted and their true poses into the picture at `path`."""
    network.eval()
    # Read from the data set also where the encoder is frozen: of its labels only the points are kept in memory.
    batch = normalize_batch(hardware.move(dataset.__getitems__(rows)))
    with hardware.autocast():
        poses = direct_poses(network, batch["img_crop"])
    crops = denormalize(batch["img_crop"])
    save_examples(path, crops, None, None, predicted_pose=poses.float(), true_pose=batch["3D"])


class PoseFromCrops(torch.nn.Module):
    """Normalized crops (B,3,R,R) -> normalized poses (B,51), as one module: what training on labels alone trains."""

    def __init__(self, network: EncodeDecode):
        super().__init__()
        self.network = network

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.network.pose(self.network.encode(crops)[1])


class PoseStep(TrainingStep):
    """One step of stage 2, and its evaluation. The loss is `pose_loss`.

    It trains on `points` where the encoder is frozen, otherwise on crops, or on the rows of either in `source`.
    """

    def __init__(
        self,
        network: EncodeDecode,
        optimizer: torch.optim.Optimizer,
        hardware: Hardware,
        config: dict,
        source: CachedLatents | LabeledCrops | None = None,
    ):
        self.network = network
        self.branch = network.to_pose if config["freeze_encoder"] else PoseFromCrops(network)
        # The encoder also gives an appearance code, which no pose depends on.
        self.trained = average_gradients(self.branch, some_unused=not config["freeze_encoder"])
        self.backgrounds = None if config["freeze_encoder"] else make_backgrounds(config, hardware.device)
        super().__init__(optimizer, hardware, config, source)

    def draw(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The random numbers of the augmentation of a batch, on the CPU."""
        points = batch["points"].shape if "points" in batch else None
        if "row" in batch:
            points = self.source.points_shape
        return draw_augmentation(len(next(iter(batch.values()))), self.config, generator, points=points)

    def set_modes(self) -> None:
        """Train mode for what trains, and no more: a frozen encoder keeps its batch norm statistics too."""
        if self.network.to_pose.training and not self.network.training:
            return
        self.network.eval()
        self.network.to_pose.train()
        if not self.config["freeze_encoder"]:
            self.network.encoder.train()

    def losses(self, batch: Batch) -> Losses:
        batch = self.held(batch)
        batch = augment(normalize_batch(batch), batch, self.config, self.backgrounds)
        with self.hardware.autocast():
            prediction = self.trained(_input(batch)).float()
        return {"loss": self.compare(prediction, batch["3D"])}

    def compare(self, prediction: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of normalized poses (B,51), whose labels (B,51) are in meters."""
        statistics = self.network.pose_mean, self.network.pose_std
        return pose_loss(prediction, label, *statistics, self.config["pose_loss"])

    def in_meters(self, normalized: torch.Tensor) -> torch.Tensor:
        """Normalized poses (B,51) in meters."""
        return self.network.denormalize_pose(normalized)

    def finish(self) -> None:
        keep_variances(self.network.to_pose, self.config["pose_variance_floor"])

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Loss, MPJPE and N-MPJPE (mm) over batches of held-out labels, of all processes."""
        self.network.eval()
        values: dict[str, list[torch.Tensor]] = {"loss": [], "mpjpe": [], "n_mpjpe": []}
        for batch in batches:
            batch = normalize_batch(self.hardware.move(batch))
            with self.hardware.autocast():
                normalized = self.branch(_input(batch)).float()
            pose, target = self.in_meters(normalized), batch["3D"]
            values["loss"].append(self.compare(normalized, target).expand(len(pose)))
            values["mpjpe"].append(1000 * mpjpe(pose, target))
            values["n_mpjpe"].append(1000 * n_mpjpe(pose, target))
        means = {name: float(torch.cat(parts).mean()) for name, parts in values.items() if parts}
        return mean_over_processes(means, sum(map(len, values["loss"])))


def keep_variances(pose_decoder: torch.nn.Module, floor: float) -> None:
    """Keep the running variances of batch norm above `floor`."""
    # A unit that is active on none of the few labels has no variance, and would blow up on other crops.
    for part in pose_decoder.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.running_var.clamp_(min=floor)


def _input(batch: Batch) -> torch.Tensor:
    """What is trained on: points of a frozen encoder, or else changed or plain crops."""
    return next(batch[key] for key in ("points", "input_crop", "img_crop") if key in batch)
