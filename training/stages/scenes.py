"""Stage 1 of several people in full frames: learn to compose what another camera saw."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from datasets import FrameDataset
from models import evaluation_permutations
from training.loop.beginning import open_run
from training.loop.compiling import compile_training
from training.loop.distributed import average_gradients, is_main, local_items, process_group
from training.loop.engine import Stage, fit, make_optimizer, seed_everything
from training.loop.hardware import Hardware
from training.loop.latest import resolve_latest
from training.loop.loaders import (
    FRAME_KEYS,
    Batch,
    TrainingBatches,
    cache_on_device,
    evenly_spaced,
    grouped_sampler,
    load_images,
    make_loader,
    normalize_batch,
    open_frames,
    training_batches,
    training_rows,
)
from training.loop.run_folder import RunFolder
from training.metrics import psnr
from training.silhouettes import silhouettes
from training.stages.augmentation import mirror, random_mirrors
from training.stages.box_losses import DEPTH_KEYS, DEPTH_OUTPUTS, cover_loss, people_loss, ray_losses
from training.stages.losses import mask_loss
from training.stages.novel_views import check_views, group_size, permutations
from training.stages.scene_losses import FrameLoss
from training.stages.step import Losses, TrainingStep, mean_scores
from training.trained.load import open_for_views, start_from_crops
from utils.config import check_config
from utils.errors import UserError
from utils.images import denormalize
from utils.plotting import color_masks, outline_boxes, save_columns
from utils.scene_keys import SCENE_STAGE1_KEYS

_LEARNED = ("img", "spatial_transformer")  # outputs that all losses need
_SHOWN = (*_LEARNED, "radiance_normalized")
_EXAMPLES = 6  # frames in a picture


def train_scenes(config: dict, resume: bool = False, given: frozenset[str] = frozenset()) -> RunFolder:
    """Train the network of `config` to compose novel views of scenes, with all processes of torchrun.

    `given` names the keys that the user gave; those of the architecture must agree with `pretrained_network_path`.
    Returns the run folder.
    """
    config = check_config(config, SCENE_STAGE1_KEYS, complete=True)
    if config["training_mode"] != "NVS":
        raise UserError(f"training_mode is {config['training_mode']!r}; expected 'NVS', which stage 1 trains")
    with process_group(config["device"]):
        return _train(config, resume, given)


def _train(config: dict, resume: bool, given: frozenset[str]) -> RunFolder:
    hardware = Hardware(config["device"], config["precision"])
    if not config["train_encoder"]:
        _check_start(config)
    # Before the network is built: its weights are a function of the seed.
    seed_everything(config["seed"])
    network, config, _ = open_for_views(resolve_latest(config, "encode", resume), given)
    if network.pose_decoder is not None:
        # Its poses would not follow what encoder and detector learn anew.
        network.forget_poses()
        config = {**config, "training_mode": "NVS"}
    check_views(config)
    if _meets_rays(config) and not (config["predict_transformer_depth"] and config["shuffle_3d"]):
        raise UserError("loss_weight_depth and loss_weight_size need predict_transformer_depth and shuffle_3d")
    if _meets_rays(config) and config["useCamBatches"] < 2:
        raise UserError(
            f"useCamBatches is {config['useCamBatches']}; expected 2 or more: loss_weight_depth and loss_weight_size "
            "need rays of two cameras"
        )
    start_from_crops(network, config)
    if not config["train_encoder"]:
        network.encoder.requires_grad_(False)
    hardware.place(network)
    folder, dataset = open_run(config, "encode", resume, lambda config: open_frames(config, scene_keys(config)))
    if dataset is None:
        return folder
    train, held_out_rows = training_rows(dataset.labels, config)
    sampler = grouped_sampler(dataset.labels, train, config, shuffle=True)
    held_out = list(grouped_sampler(dataset.labels, held_out_rows, config, shuffle=False))
    held_out = evenly_spaced(held_out, config["validation_crops"])
    criterion = hardware.place(FrameLoss(config))
    optimizer = make_optimizer(
        network.stage1_parameters(), config, convolutions_of_decoder(network), config["decoder_rate"]
    )
    if is_main():
        print(f"{len(train)} frames to train on, {len(held_out_rows)} held out; {hardware}; {folder.path}")
    dataset = cache_on_device(load_images(dataset, config, np.concatenate([train, *held_out])), config, hardware.device)

    def batches(first: int, last: int) -> Iterable[Batch]:
        return training_batches(dataset, TrainingBatches(sampler, first, last), config)

    def evaluate() -> dict[str, float]:
        return evaluate_frames(network, criterion, make_loader(dataset, local_items(held_out), config), hardware)

    def plot(path: str | Path) -> None:
        plot_frames(network, dataset, held_out[0][: max(_EXAMPLES, network.sub_batch)], hardware, path)

    step = SceneStep(network, criterion, optimizer, hardware, config, dataset)
    fit(Stage(network, optimizer, step, evaluate, batches, "loss", plot), config, folder, resume)
    return folder


def _check_start(config: dict) -> None:
    # Weights of `encoder_weights` are of its first layers only.
    if config["pretrained_crops_path"] is None and config["pretrained_network_path"] is None:
        raise UserError(
            "train_encoder is False, but pretrained_crops_path and pretrained_network_path are None; expected one of "
            "them: the encoder's latents would stay random"
        )


def _learned(config: dict) -> tuple[str, ...]:
    """The outputs that the losses of `config` need."""
    people = ("radiance_normalized",) if config["loss_weight_people"] or config["loss_weight_masks"] else ()
    return (*_LEARNED, *people, *(DEPTH_OUTPUTS if _meets_rays(config) else ()))


def _meets_rays(config: dict) -> bool:
    return bool(config["loss_weight_depth"] or config["loss_weight_size"])


def scene_keys(config: dict) -> tuple[str, ...]:
    """What of a set of full frames a novel view is composed of."""
    cameras = DEPTH_KEYS if _meets_rays(config) else ("intrinsics",) if config["perspectiveCorrection"] else ()
    return (*FRAME_KEYS, "extrinsic_rot_inv", *cameras)


def convolutions_of_decoder(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters of the image decoder but its first layer: without batch norm, they diverge at a higher rate."""
    named = network.decoder.named_parameters()
    return [parameter for name, parameter in named if not name.startswith("from_points.")]


class FrameLosses(torch.nn.Module):
    """The network's input -> the losses of its frames, as one module: what is compiled, and as one graph."""

    def __init__(self, network: torch.nn.Module, criterion: FrameLoss, config: dict):
        super().__init__()
        self.network, self.criterion = network, criterion
        self.weight_cover, self.weight_depth = config["loss_weight_cover"], config["loss_weight_depth"]
        self.weight_people, self.weight_size = config["loss_weight_people"], config["loss_weight_size"]
        self.weight_masks = config["loss_weight_masks"]

    def forward(self, inputs: Batch) -> Losses:
        """Scalars by name, as `FrameLoss` gives them, with the prior of boxes, and the other weighted parts."""
        outputs = self.network(inputs)
        boxes = outputs["spatial_transformer"]
        losses = self.criterion(outputs["img"], inputs["img"], boxes)
        parts = {}
        if self.weight_cover or self.weight_masks:
            shown = silhouettes(inputs["img"], inputs["bg"])
        if self.weight_cover:
            parts["cover"] = self.weight_cover * cover_loss(boxes, shown)
        if self.weight_people:
            parts["people"] = self.weight_people * people_loss(outputs["radiance_normalized"])
        if self.weight_masks:
            parts["masks"] = self.weight_masks * mask_loss(outputs["radiance_normalized"], shown)
        if self.weight_depth or self.weight_size:
            depth, size = ray_losses(outputs, inputs)
            parts |= {"depth": self.weight_depth * depth, "size": self.weight_size * size}
        return {**losses, **parts, "loss": losses["loss"] + sum(parts.values())}


class SceneStep(TrainingStep):
    """One step of stage 1 on a batch of uint8 frames, or of their rows in a `dataset` that lies on the device."""

    def __init__(
        self,
        network: torch.nn.Module,
        criterion: FrameLoss,
        optimizer: torch.optim.Optimizer,
        hardware: Hardware,
        config: dict,
        dataset: FrameDataset | None = None,
    ):
        self.network = network
        self.compare = compile_training(
            FrameLosses(average_gradients(network), criterion, config), config, hardware.device
        )
        super().__init__(optimizer, hardware, config, dataset)

    def draw(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The permutations of poses and appearances, and which frames are mirrored, on the CPU."""
        count = len(next(iter(batch.values())))
        drawn = permutations(count, self.config, generator, rolls=True)
        if self.config["augment_mirror"]:
            drawn["mirrored"] = random_mirrors(count, max(1, group_size(self.config)), generator)
        return drawn

    def set_modes(self) -> None:
        self.network.train()
        # Frozen statistics of batch norm, too: it stays what it was.
        self.network.encoder.train(self.config["train_encoder"])
        self.network.output_types = _learned(self.config)

    def losses(self, batch: Batch) -> Losses:
        batch = self.held(batch)
        if "mirrored" in batch:
            batch = mirror(batch, batch["mirrored"])
        with self.hardware.autocast():
            return self.compare(scene_inputs(batch))


def scene_inputs(batch: Batch) -> Batch:
    """A batch of frames on its device -> the network's input: normalized frames, and rotations under their names."""
    return normalize_batch(batch) | {"R_cam_2_world": batch["extrinsic_rot_inv"]}


@contextmanager
def computing(network: torch.nn.Module, outputs: tuple[str, ...]) -> Iterator[None]:
    """The network in evaluation mode, computing `outputs`."""
    before = network.output_types
    network.eval()
    network.output_types = outputs
    try:
        yield
    finally:
        network.output_types = before


def evaluate_frames(
    network: torch.nn.Module, criterion: FrameLoss, batches: Iterable[Batch], hardware: Hardware
) -> dict[str, float]:
    """Mean losses and PSNR (dB) of composed frames, over those of all processes, and PSNR of the background alone.

    As published, each is composed from the next camera of its group, with the best matches of boxes. The loss is that
    of frames alone: it leaves out the prior of boxes, and what `FrameLosses` adds.
    """

    @torch.no_grad()
    def compare(batch: Batch) -> tuple[int, Losses]:
        inputs = scene_inputs(hardware.move(batch))
        with hardware.autocast():
            output = network(inputs)["img"]
            scores = criterion(output, inputs["img"])
        target = denormalize(inputs["img"])
        scores["psnr"] = psnr(denormalize(output), target).mean()
        scores["psnr_background"] = psnr(denormalize(inputs["bg"]), target).mean()
        return len(output), scores

    with computing(network, ("img",)):
        return mean_scores(compare, batches, hardware.device)


@torch.no_grad()
def plot_frames(
    network: torch.nn.Module, dataset: FrameDataset, rows: np.ndarray, hardware: Hardware, path: str | Path
) -> None:
    """Save a picture of examples, each composed from the frame of another camera: input and target with their boxes,
    output, and masks.

    `rows` (B,) of the dataset: sub-batches of the network's `sub_batch` cameras.
    """
    rows = rows[: len(rows) // network.sub_batch * network.sub_batch]
    inputs = scene_inputs(hardware.move(dataset.__getitems__(rows)))
    # Given, because a network that does not shuffle would otherwise render the same view.
    target, donor = evaluation_permutations(len(rows), network.sub_batch, device=hardware.device)
    with computing(network, _SHOWN), hardware.autocast():
        outputs = network({**inputs, "shuffled_pose": target, "shuffled_appearance": donor})
    # Slot j of the output was rendered from the frame whose target is j.
    source = torch.argsort(target)
    boxes = outputs["spatial_transformer"].transpose(0, 1)
    frames = outline_boxes(denormalize(inputs["img"]), boxes)
    columns = {
        "input": frames[source],
        "output": denormalize(outputs["img"]),
        "target": frames,
        "masks": color_masks(outputs["radiance_normalized"].squeeze(2).transpose(0, 1)),
    }
    save_columns(path, columns)
