"""Stage 2 of several people in full frames: learn their 3D poses from few labels.

Frozen, the network sees each labeled frame once, in evaluation mode; people are labels with the box that shows them.
The supervised baseline learns detector, encoder and poses from the labels alone.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from datasets import FrameDataset
from training.loop.distributed import average_gradients, is_main, process_group
from training.loop.engine import Stage, fit, make_optimizer
from training.loop.hardware import Hardware
from training.loop.loaders import Batch, cache_on_device, load_images, normalize_batch, open_frames
from training.loop.run_folder import RunFolder
from training.metrics import mpjpe, n_mpjpe
from training.stages.assignment import of_people
from training.stages.labels import LabeledCrops, ShuffledBatches, labeled_rows
from training.stages.losses import pose_loss
from training.stages.pose import PoseStep, keep_variances
from training.stages.pose_run import check_pose_batch, check_pose_share, open_pose_run, some_examples
from training.stages.scene_labels import (
    SceneLatents,
    check_people,
    known_people,
    label_keys,
    place_keys,
    see_people,
)
from training.stages.scene_losses import scene_pose_loss, true_box_loss
from training.stages.scenes import computing
from training.stages.step import Losses, TrainingStep, mean_scores
from utils.config import check_config
from utils.errors import UserError
from utils.images import denormalize
from utils.plotting import outline_boxes, save_columns
from utils.scene_keys import SCENE_KEYS

_SHOWN_PEOPLE = 3  # of each frame in a picture


def train_scene_pose(config: dict, resume: bool = False, given: frozenset[str] = frozenset()) -> RunFolder:
    """Train the pose decoder on the labels that `config` allows; without `freeze_encoder` detector and encoder too.

    `given` names the keys that the user gave; those of the architecture must agree with `network_path`. Returns the
    run folder.
    """
    config = check_config(config, SCENE_KEYS, complete=True)
    if config["training_mode"] == "NVS" or "3D" not in config["output_types"]:
        raise UserError(
            f"training_mode is {config['training_mode']!r} and output_types {config['output_types']}; expected 'pose' "
            "or 'both', and 3D, which stage 2 trains"
        )
    if config["pretrained_crops_path"] is not None:
        raise UserError(
            f"pretrained_crops_path is {config['pretrained_crops_path']!r}; expected None: stage 2 starts from "
            "network_path or pretrained_network_path"
        )
    with process_group(config["device"]):
        check_pose_batch(config, config["spatial_transformer_num"])
        return _train(config, resume, given)


def _train(config: dict, resume: bool, given: frozenset[str]) -> RunFolder:
    def open_labels(config: dict) -> FrameDataset:
        return open_frames(config, label_keys(config, open_frames({**config, "preload_images": False}, ())))

    run = open_pose_run(config, resume, given, open_labels)
    config, hardware, network, dataset, folder = run
    if dataset is None:
        return folder
    train, held_out = labeled_rows(dataset.labels, config)
    check_people(dataset.labels, train, held_out)
    if not place_keys(dataset) and is_main():
        print(f"{str(dataset.root)!r} has neither boxes nor positions: people count as labeled from left to right")
    examples = some_examples(held_out)
    run.announce([train], held_out, "labeled frames")

    batch_size = config["batch_size_train"]
    rows = np.append(train, held_out)
    dataset = load_images(dataset, config, rows)
    if config["freeze_encoder"]:
        network.requires_grad_(False)
        network.pose_decoder.requires_grad_(True)
        source = SceneLatents(network, dataset, rows, hardware, config)
        if is_main():
            print(f"{100 * source.found:.0f} % of the labeled people are in a box of the network")
        # From here on, people among the cached ones in place of rows.
        positions = np.split(np.arange(len(train) + len(held_out)), [len(train)])
        train, held_out = map(source.of_frames, positions, (2, 1))
        # As many people as that many frames have boxes.
        batch_size *= config["spatial_transformer_num"]
        step = ScenePoseStep(network, make_optimizer(network.stage2_parameters(), config), hardware, config, source)
    else:
        source = LabeledCrops(cache_on_device(dataset, config, hardware.device), config)
        step = SupervisedSceneStep(network, make_optimizer(network.parameters(), config), hardware, config, dataset)

    def shuffled(first: int, last: int) -> ShuffledBatches:
        return ShuffledBatches(train, batch_size, config["seed"], first, last)

    people = 1 if config["freeze_encoder"] else config["spatial_transformer_num"]
    check_pose_share(config, shuffled(0, 0).share * people, f"{len(train)} labels give")

    def batches(first: int, last: int) -> Iterable[Batch]:
        return source.read_training(shuffled(first, last))

    def evaluate() -> dict[str, float]:
        return step.evaluate(source.read(run.test_batches(held_out)))

    def plot(path: Path) -> None:
        plot_people(network, dataset, examples, hardware, config, path)

    fit(Stage(network, step.optimizer, step, evaluate, batches, score="n_mpjpe", plot=plot), config, folder, resume)
    return folder


class ScenePoseStep(PoseStep):
    """One step of the pose decoder on the points of people, and its evaluation. The loss is `pose_loss_of_people`."""

    def __init__(
        self,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        hardware: Hardware,
        config: dict,
        source: SceneLatents | None = None,
    ):
        # A mirrored frame has other boxes, which are not cached.
        super().__init__(network, optimizer, hardware, {**config, "augment_mirror": False}, source)

    def compare(self, prediction: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return pose_loss_of_people(self.network, prediction, label, self.config["pose_loss"])

    def in_meters(self, normalized: torch.Tensor) -> torch.Tensor:
        return normalized * self.network.pose_std + self.network.pose_mean


class PeopleFromFrames(torch.nn.Module):
    """A batch of normalized frames -> boxes (K,B,2,3) and normalized poses (K,B,51), as one module."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        boxes, points = see_people(self.network, batch)
        return boxes, self.network.pose_decoder(points.flatten(0, 1)).float().unflatten(0, boxes.shape[:2])


class SupervisedSceneStep(TrainingStep):
    """One step of the whole network on labels alone, and its evaluation: `pose_loss_of_people`, and true boxes.

    Boxes are assigned to people one to one by their distance, however far.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        hardware: Hardware,
        config: dict,
        dataset: FrameDataset | None = None,
    ):
        self.network, self.people = network, PeopleFromFrames(network)
        # The encoder also gives an appearance code, and the detector depths, which no pose depends on.
        self.trained = average_gradients(self.people, some_unused=True)
        # Which box shows whom, the host decides in the middle of a step: no graph can hold it.
        super().__init__(optimizer, hardware, {**config, "compile": "never"}, dataset)

    def draw(self, batch: Batch, generator: torch.Generator) -> Batch:
        return {}

    def set_modes(self) -> None:
        self.network.train()

    def losses(self, batch: Batch) -> Losses:
        batch = normalize_batch(self.held(batch))
        with self.hardware.autocast():
            boxes, poses = self.trained(batch)
        people = known_people(batch, boxes, self.config, inside=False)
        known = torch.isfinite(people["3D"]).all(-1)
        predicted = of_people(poses, people["chosen"])
        # A batch of nobody has no error: its sum is 0.
        error = self.compare(predicted[known], people["3D"][known]) if known.any() else poses.sum() * 0
        losses = {"loss": error, "pose": error}
        if "box" in batch and self.config["loss_weight_true_boxes"]:
            size = tuple(batch["img"].shape[-2:])
            distance = true_box_loss(of_people(boxes, people["chosen"]), batch["box"], size, people["chosen"] >= 0)
            losses["true_boxes"] = self.config["loss_weight_true_boxes"] * distance
            losses["loss"] = losses["loss"] + losses["true_boxes"]
        return losses

    def compare(self, prediction: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of normalized poses (M,51), whose labels (M,51) are in meters."""
        return pose_loss_of_people(self.network, prediction, label, self.config["pose_loss"])

    def finish(self) -> None:
        keep_variances(self.network.pose_decoder, self.config["pose_variance_floor"])

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Loss, MPJPE and N-MPJPE (mm) of the people in batches of held-out frames, of all processes."""

        @torch.no_grad()
        def compare(batch: Batch) -> tuple[int, Losses]:
            batch = normalize_batch(self.hardware.move(batch))
            with self.hardware.autocast():
                boxes, poses = self.people(batch)
            people = known_people(batch, boxes, self.config, inside=False)
            known = torch.isfinite(people["3D"]).all(-1)
            label, normalized = people["3D"][known], of_people(poses, people["chosen"])[known]
            if not len(label):
                return 0, {}
            pose = normalized * self.network.pose_std + self.network.pose_mean
            errors = {"mpjpe": 1000 * mpjpe(pose, label).mean(), "n_mpjpe": 1000 * n_mpjpe(pose, label).mean()}
            return len(label), {"loss": self.compare(normalized, label), **errors}

        with computing(self.network, self.network.output_types):
            return mean_scores(compare, batches, self.hardware.device)


def pose_loss_of_people(
    network: torch.nn.Module, prediction: torch.Tensor, label: torch.Tensor, kind: str
) -> torch.Tensor:
    """Error of people one by one, normalized poses (M,51) and labels (M,51), meters, by `kind`, the key `pose_loss`.

    `squared` is `scene_pose_loss`; `distance` that of `pose_loss` times the variance of coordinates, so that the mean
    pose has as much of either.
    """
    if kind == "distance":
        variance = network.pose_std[3:].square().sum() / len(network.pose_std)
        return variance * pose_loss(prediction, label, network.pose_mean, network.pose_std, kind)
    prediction, label = (pose.unflatten(-1, (-1, 3))[:, None] for pose in (prediction, label))
    return scene_pose_loss(prediction, label, network.pose_mean, network.pose_std)


@torch.no_grad()
def plot_people(
    network: torch.nn.Module,
    dataset: FrameDataset,
    rows: np.ndarray,
    hardware: Hardware,
    config: dict,
    path: Path,
) -> None:
    """Draw frames with their boxes, and beside them predicted and true poses of the people who have one."""
    batch = normalize_batch(hardware.move(dataset.__getitems__(rows)))
    with computing(network, network.output_types), hardware.autocast():
        boxes, normalized = PeopleFromFrames(network)(batch)
    people = known_people(batch, boxes, config)
    predicted = of_people(normalized * network.pose_std + network.pose_mean, people["chosen"])
    predicted = predicted.masked_fill((people["chosen"] < 0)[..., None], torch.nan)
    poses = {}
    for person in range(min(_SHOWN_PEOPLE, predicted.shape[1])):
        poses |= {f"pose {person + 1}": predicted[:, person], f"true {person + 1}": people["3D"][:, person]}
    frames = outline_boxes(denormalize(batch["img"]), boxes.transpose(0, 1))
    save_columns(path, {"input": frames}, poses)
