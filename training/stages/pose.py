"""Stage 2: learn 3D pose from few labels, on the points that stage 1 found."""

import math
from collections import defaultdict
from collections.abc import Iterator

import ignite.distributed as idist
import numpy as np
import roma
import torch
from tqdm import tqdm

from datasets import MultiViewDataset
from models.parts.folding import fold_batch_norm
from training.loop.distributed import (
    average_gradients,
    draw_shard,
    is_main,
    local_items,
    mean_over_processes,
    process_group,
)
from training.loop.engine import Stage, fit, make_optimizer, seed_everything
from training.loop.hardware import Hardware
from training.loop.loaders import cache_on_device, make_loader, normalize_batch, open_training_set, training_rows
from training.loop.run_folder import RunFolder
from training.metrics import mpjpe, n_mpjpe
from training.stages.augmentation import augment_color, mirror_labels, random_turns, turn_cameras
from training.stages.losses import pose_loss
from training.trained.load import open_for_pose
from utils.errors import UserError
from utils.geometry import rotate_points
from utils.transfer import to_device


def train_pose(config: dict, resume: bool = False, given: frozenset[str] = frozenset()) -> RunFolder:
    """Train the pose decoder on the labels that `config` allows; return the run folder.

    With `freeze_encoder` every labelled crop is encoded once, and an epoch costs what the pose
    decoder costs. `given` names the keys that the user gave (they must agree with `network_path`).
    """
    with process_group(config["device"]):
        return _train(config, resume, given)


def _train(config: dict, resume: bool, given: frozenset[str]) -> RunFolder:
    hardware = Hardware(config["device"], config["precision"])
    seed_everything(config["seed"])
    network, config = open_for_pose(config, given)
    hardware.place(network)
    folder = RunFolder(config, "pose")
    dataset = open_training_set(config, ("img_crop", "3D", "extrinsic_rot"))
    network.set_pose_statistics(torch.as_tensor(dataset.pose_mean), torch.as_tensor(dataset.pose_std))
    train_rows, held_out_rows = labelled_rows(dataset.labels, config)
    if is_main():
        print(
            f"{len(train_rows)} labels to train on, {len(held_out_rows)} to choose the best; {hardware}; {folder.path}"
        )

    if config["freeze_encoder"]:
        network.requires_grad_(False)
        network.to_pose.requires_grad_(True)
        optimizer = make_optimizer(network.stage2_parameters(), config)
        source = CachedLatents(network, dataset, np.concatenate([train_rows, held_out_rows]), hardware, config)
        train, held_out = np.arange(len(train_rows)), len(train_rows) + np.arange(len(held_out_rows))
    else:
        encoder = [parameter for parameter in network.encoder.parameters() if parameter.requires_grad]
        optimizer = make_optimizer(encoder + network.stage2_parameters(), config)
        source = LabelledCrops(cache_on_device(dataset, config, hardware.device), config)
        train, held_out = train_rows, held_out_rows
    step = PoseStep(network, optimizer, hardware, config)

    def batches(first: int, last: int):
        return source.read(ShuffledBatches(train, config["batch_size_train"], config["seed"], first, last))

    def evaluate() -> dict[str, float]:
        chunks = np.array_split(held_out, -(-len(held_out) // config["batch_size_test"]))
        return step.evaluate(source.read(local_items(chunks)))

    fit(Stage(network, optimizer, step, evaluate, batches, score="n_mpjpe"), config, folder, resume)
    return folder


def labelled_rows(labels, config: dict) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose labels may be used: to train on, and (of the held-out sequences) to choose the best.

    `label_fraction` of the crops of `label_subjects`, at random by `seed`; both parts count as labels.
    """
    fraction, subjects = config["label_fraction"], config["label_subjects"]
    if not 0 < fraction <= 1:
        raise UserError(f"label_fraction is {fraction}; expected more than 0, at most 1")
    rng = np.random.default_rng(config["seed"])
    parts = []
    for rows in training_rows(labels, config):
        if subjects is not None:
            rows = rows[np.isin(labels["subj"][rows], subjects)]
        count = round(fraction * len(rows))
        parts.append(np.sort(rng.choice(rows, max(1, count), replace=False)) if len(rows) else rows)
    if len(parts[0]) < 2 or len(parts[1]) < 1:
        raise UserError(
            f"label_subjects {subjects!r} and label_fraction {fraction} leave {len(parts[0])} labels to train on and "
            f"{len(parts[1])} held out; expected at least 2 and 1"
        )
    return parts[0], parts[1]


class ShuffledBatches:
    """Entries of `rows`, in batches, for iterations `first`..`last`-1; a function of (seed, epoch).

    An epoch visits every row once, but for the incomplete last batch; fewer rows than a batch make one batch.
    Of several processes each takes its share of every batch: `batch_size` is that of all together.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int, first: int, last: int):
        processes = idist.get_world_size()
        if batch_size % processes or len(rows) < processes:
            raise UserError(
                f"batch size {batch_size} of {len(rows)} labels cannot be divided over {processes} processes"
            )
        self.rows, self.seed, self.first, self.last = rows, seed, first, last
        self.batch_size = min(batch_size, len(rows) // processes * processes)

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[np.ndarray]:
        per_epoch, order, current = len(self.rows) // self.batch_size, self.rows, None
        for iteration in range(self.first, self.last):
            epoch, batch = divmod(iteration, per_epoch)
            if epoch != current:
                order, current = np.random.default_rng([self.seed, epoch]).permutation(self.rows), epoch
            joined = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield np.split(joined, idist.get_world_size())[idist.get_rank()]


class CachedLatents:
    """What labelled crops are to a frozen encoder, on the device.

    `points` (N,P,3), encoded once in eval mode, with batch norm folded; with `augment_mirror` also `mirrored_points`,
    those of the flipped crops; `3D` (N,51), metres; `vertical` (N,3), all in the camera frame. Of several processes
    each encodes its share of the crops, and all get all.
    """

    def __init__(self, network, dataset: MultiViewDataset, rows: np.ndarray, hardware: Hardware, config: dict):
        network = fold_batch_norm(network)
        processes = idist.get_world_size()
        # shares of the same length: the last rows come twice where it takes that
        share = np.split(np.resize(rows, -(-len(rows) // processes) * processes), processes)[idist.get_rank()]
        chunks = np.array_split(share, -(-len(share) // config["batch_size_test"]))
        parts: dict[str, list[torch.Tensor]] = defaultdict(list)
        for batch in tqdm(make_loader(dataset, chunks, config), "encoding", unit="batch", disable=not is_main()):
            with torch.no_grad(), hardware.autocast():
                crops = normalize_batch(hardware.move(batch))["img_crop"]
                parts["points"].append(network.encode(crops)[1])
                if config["augment_mirror"]:
                    parts["mirrored_points"].append(network.encode(crops.flip(3))[1])
            parts["3D"].append(batch["3D"].to(hardware.device))
            # the world's z axis as the crop's camera sees it
            parts["vertical"].append(batch["extrinsic_rot"][:, :, 2].to(hardware.device))
        encoded = {name: torch.cat(values) for name, values in parts.items()}
        self.tensors = {name: idist.all_gather(values)[: len(rows)] for name, values in encoded.items()}

    def read(self, batches) -> Iterator[dict[str, torch.Tensor]]:
        """Batches of {"points", "3D", "vertical", ...} for batches of positions in `rows`."""
        for positions in batches:
            index = to_device(torch.from_numpy(positions), self.tensors["3D"].device)
            yield {name: tensor[index] for name, tensor in self.tensors.items()}


class LabelledCrops:
    """The labelled crops themselves, for training the encoder too."""

    def __init__(self, dataset: MultiViewDataset, config: dict):
        self.dataset, self.config = dataset, config

    def read(self, batches):
        """Batches of {"img_crop", "3D"} for batches of rows."""
        return make_loader(self.dataset, batches, self.config)


def turn_about_vertical(batch: dict, limit: float, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Turn the points and poses of each label together, by a random yaw of up to `limit` degrees.

    Stage 1 has taught the points to turn with the person, so that one label stands for many headings.
    """
    if limit == 0:
        return batch
    drawn = draw_shard(torch.rand, len(batch["3D"]), 1, generator=generator)
    angle = (drawn * 2 - 1) * math.radians(limit)
    turn = roma.rotvec_to_rotmat(batch["vertical"] * to_device(angle, batch["vertical"].device))
    pose = rotate_points(batch["3D"].unflatten(1, (-1, 3)), turn).flatten(1)
    return {**batch, "points": rotate_points(batch["points"], turn), "3D": pose}


def shake_points(batch: dict, strength: float, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Add normal noise to the `points` (B,P,3) of labels, its deviation `strength` times that of all the crop's
    coordinates: points of unseen people are a little off from those that labels know."""
    if strength == 0:
        return batch
    points = batch["points"]
    drawn = draw_shard(torch.randn, *points.shape, generator=generator)
    noise = strength * points.std(dim=(1, 2), keepdim=True) * to_device(drawn, points.device)
    return {**batch, "points": points + noise}


class PoseFromCrops(torch.nn.Module):
    """Normalised crops (B,3,R,R) -> normalised poses (B,51): what plain supervision trains, as one module."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.network.pose(self.network.encode(crops)[1])


class PoseStep:
    """One step of stage 2, and its evaluation. Loss: mean squared error of normalised poses."""

    def __init__(self, network, optimizer, hardware: Hardware, config: dict):
        self.network, self.optimizer, self.hardware, self.config = network, optimizer, hardware, config
        # from points where the encoder is frozen, otherwise from crops
        self.branch = network.to_pose if config["freeze_encoder"] else PoseFromCrops(network)
        self.norms = [part for part in network.to_pose.modules() if isinstance(part, torch.nn.BatchNorm1d)]
        self.trained = average_gradients(self.branch, some_unused=not config["freeze_encoder"])

    def __call__(self, batch: dict, iteration: int) -> dict[str, torch.Tensor]:
        generator = seed_everything(self.config["seed"], iteration)
        # a frozen encoder keeps its batch norm statistics too: only what trains is in train mode
        self.network.eval()
        self.network.to_pose.train()
        if not self.config["freeze_encoder"]:
            self.network.encoder.train()
        batch = self._augmented(normalize_batch(self.hardware.move(batch)), generator)
        with self.hardware.autocast():
            prediction = self.trained(_input(batch)).float()
        loss = pose_loss(prediction, batch["3D"], self.network.pose_mean, self.network.pose_std)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        for norm in self.norms:
            norm.running_var.clamp_(min=self.config["pose_variance_floor"])
        return {"loss": loss.detach()}

    def _augmented(self, batch: dict, generator: torch.Generator) -> dict[str, torch.Tensor]:
        config = self.config
        if config["augment_mirror"]:
            batch = mirror_labels(batch, generator)
        if "points" in batch:
            batch = turn_about_vertical(batch, config["augment_yaw"], generator)
            return shake_points(batch, config["augment_points"], generator)
        if config["augment_rotation"]:
            turns = random_turns(len(batch["3D"]), config["augment_rotation"], generator)
            batch = turn_cameras(batch, to_device(turns, self.hardware.device))
        (crops,) = augment_color([batch["img_crop"]], 1, config["augment_color"], generator)
        return {**batch, "img_crop": crops}

    @torch.no_grad()
    def evaluate(self, batches) -> dict[str, float]:
        """Loss, MPJPE and N-MPJPE (mm) over batches of held-out labels, of all processes."""
        self.network.eval()
        values: dict[str, list[torch.Tensor]] = {"loss": [], "mpjpe": [], "n_mpjpe": []}
        for batch in batches:
            batch = normalize_batch(self.hardware.move(batch))
            with self.hardware.autocast():
                normalized = self.branch(_input(batch)).float()
            pose, target = self.network.denormalize_pose(normalized), batch["3D"]
            values["loss"].append(
                pose_loss(normalized, target, self.network.pose_mean, self.network.pose_std).expand(len(pose))
            )
            values["mpjpe"].append(1000 * mpjpe(pose, target))
            values["n_mpjpe"].append(1000 * n_mpjpe(pose, target))
        means = {name: float(torch.cat(parts).mean()) for name, parts in values.items() if parts}
        return mean_over_processes(means, sum(map(len, values["loss"])))


def _input(batch: dict) -> torch.Tensor:
    """What a step trains on: the points of a frozen encoder, or normalised crops."""
    return batch["points"] if "points" in batch else batch["img_crop"]
