"""A plain implementation to compare with: float32, contiguous, eager, PNG files, no caches, loops over rows and crops.

The network is ours, so that both ways compute the same results and differ only in how they do it.
"""

import random
from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from unittest.mock import patch

import numpy as np
import torch
from ignite.metrics import SSIM

from benchmarks.setups import Setup
from models import training_permutations
from training.loop.engine import make_optimizer, seed_everything
from training.stages.losses import ImageLoss, pose_loss
from training.stages.novel_views import ViewLosses
from training.trained.evaluation import evaluate
from utils.images import normalize


class PlainTraining:
    """Training steps of stage 1 on batches of uint8 crops."""

    def __init__(self, setup: Setup):
        self.network, self.config, self.device = setup.network, setup.config, setup.hardware.device
        statistics = self.network.pose_mean, self.network.pose_std
        self.compare = ViewLosses(self.network, ImageLoss(self.config).to(self.device), self.config, statistics)
        parameters = self.network.stage1_parameters()
        if self.config["optimizer"] == "adam":
            # One operation per parameter: neither the fused nor the batched form of the optimizer.
            self.optimizer = torch.optim.Adam(parameters, lr=self.config["learning_rate"], foreach=False, fused=False)
        else:
            self.optimizer = make_optimizer(parameters, self.config)

    def __call__(self, batch: Mapping[str, torch.Tensor], iteration: int) -> float:
        config, count = self.config, len(batch["img_crop"])
        pose, appearance = training_permutations(
            count,
            config["useCamBatches"],
            config["useSubjectBatches"],
            seed_everything(config["seed"], iteration),
            shuffle_3d=config["shuffle_3d"],
            shuffle_fg=config["shuffle_fg"],
            other_view=config["target_other_view"],
        )
        # Ordinary copies, each of which waits for the GPU.
        inputs = {**batch, "shuffled_pose": pose, "shuffled_appearance": appearance}
        inputs = {key: value.to(self.device) for key, value in inputs.items()}
        inputs |= {key: normalize(inputs[key]) for key in ("img_crop", "bg_crop")}
        self.network.train()
        loss = self.compare(inputs)["loss"]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class PlainPoseTraining:
    """Training steps of stage 2 on rows of labeled crops.

    Every step reads and encodes its crops and, as the published implementation does, also decodes them to images.
    """

    def __init__(self, setup: Setup):
        self.setup, self.network = setup, deepcopy(setup.network)
        self.network.output_types = ("latent_3d", "img_crop")
        parameters = self.network.stage2_parameters()
        learning_rate = setup.pose_config["learning_rate"]
        self.optimizer = torch.optim.Adam(parameters, lr=learning_rate, foreach=False, fused=False)

    def __call__(self, rows: np.ndarray) -> float:
        network, batch = self.network, self.setup.hardware.move(self.setup.train.__getitems__(rows))
        # The encoder is frozen, and its batch norm with it.
        network.eval()
        network.to_pose.train()
        with torch.no_grad():
            crops = {key: normalize(batch[key]) for key in ("img_crop", "bg_crop")}
            points = network({**batch, **crops})["latent_3d"]
        statistics, kind = (network.pose_mean, network.pose_std), self.setup.pose_config["pose_loss"]
        loss = pose_loss(network.pose(points), batch["3D"], *statistics, kind)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


@torch.no_grad()
def encode(setup: Setup, rows: np.ndarray) -> torch.Tensor:
    """Points (N,P,3) of the crops in `rows` (N,)."""
    setup.network.eval()
    chunks = np.split(rows, range(setup.config["batch_size_test"], len(rows), setup.config["batch_size_test"]))
    batches = (setup.hardware.move(setup.train.__getitems__(chunk)) for chunk in chunks)
    return torch.cat([setup.network.encode(normalize(batch["img_crop"]))[1] for batch in batches])


@torch.no_grad()
def poses(setup: Setup, crops: torch.Tensor) -> torch.Tensor:
    """Poses (N,51), meters, of uint8 crops (N,3,R,R), one batch after the other."""
    network, poses = setup.network.eval(), []
    for batch in crops.split(setup.config["batch_size_test"]):
        points = network.encode(normalize(batch.to(setup.hardware.device)))[1]
        poses.append(network.denormalize_pose(network.pose(points)).cpu())
    return torch.cat(poses)


def test(setup: Setup) -> None:
    """The evaluation without folded batch norm, batch by batch, with image similarity computed crop by crop."""

    def one_by_one(function, batches, device):
        return map(function, batches)

    changes = {"fold_batch_norm": lambda network: network.eval(), "ssim": ssim, "map_batches": one_by_one}
    # The plain way is the project's own evaluation with its accelerated parts replaced.
    with patch.multiple("training.trained.evaluation", **changes):
        evaluate(setup.network, setup.test, setup.pose_config, setup.hardware)


def ssim(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Structural similarity of crops (B,3,R,R) in 0..1 -> (B,), by Ignite."""
    # Ignite averages over the images of an update. Scores per crop take one update each.
    metric = SSIM(data_range=1.0, device=output.device)
    values = []
    for pair in zip(output.split(1), target.split(1), strict=True):
        metric.reset()
        metric.update(pair)
        values.append(metric.compute())
    return torch.tensor(values)


def index(labels: Mapping[str, np.ndarray], cams: int) -> list[list[int]]:
    """Groups of rows of one epoch in the published structure: pairs of instants, `cams` cameras each."""
    rng = random.Random(0)
    rows_of, instants_of = defaultdict(list), defaultdict(list)
    for row in range(len(labels["subj"])):
        key = (int(labels["subj"][row]), int(labels["seq"][row]), int(labels["frame"][row]))
        rows_of[key].append(row)
    for key in rows_of:
        instants_of[key[:2]].append(key)
    keys = list(rows_of)
    rng.shuffle(keys)
    pairs = ((key, rng.choice(instants_of[key[:2]])) for key in keys)
    return [[row for key in pair for row in rng.sample(rows_of[key], cams)] for pair in pairs]
