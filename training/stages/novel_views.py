"""Stage 1: learn to render what another camera saw."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from datasets import MultiViewDataset
from datasets.joined import JoinedDataset
from models import EncodeDecode, evaluation_permutations, training_permutations
from training.loop.beginning import open_run
from training.loop.compiling import compile_training
from training.loop.distributed import (
    average_gradients,
    draw_shard,
    is_main,
    local_items,
    local_shard,
    process_group,
    world_size,
)
from training.loop.engine import Stage, fit, make_optimizer, seed_everything
from training.loop.hardware import Hardware
from training.loop.latest import resolve_latest
from training.loop.loaders import (
    VIEW_KEYS,
    Batch,
    TrainingBatches,
    cache_on_device,
    evenly_spaced,
    grouped_sampler,
    load_images,
    make_loader,
    normalize_batch,
    training_batches,
)
from training.loop.mixing import (
    JoinedBatches,
    batch_sizes,
    draw_backgrounds,
    open_training_sets,
    put_on_backgrounds,
    training_parts,
)
from training.loop.parts import PartsOfBatch
from training.loop.run_folder import RunFolder
from training.metrics import n_mpjpe, psnr
from training.silhouettes import hidden_shares
from training.stages.augmentation import (
    augment,
    changes_colors,
    check_backgrounds,
    draw_augmentation,
    make_backgrounds,
    needs_masks,
)
from training.stages.centering import targets_of
from training.stages.losses import ImageLoss, agreement_loss, known_pose_loss, mask_loss
from training.stages.pose_run import check_pose_batch
from training.stages.step import Losses, TrainingStep, mean_scores
from training.trained.load import open_for_views
from utils.config import check_config
from utils.errors import UserError
from utils.images import denormalize
from utils.keys import STAGE1_KEYS
from utils.plotting import save_examples


def train_novel_views(config: dict, resume: bool = False, given: frozenset[str] = frozenset()) -> RunFolder:
    """Train the network of `config` to render novel views, with all processes of torchrun; return its run folder.

    `given` names the keys that the user gave; those of the architecture must agree with `pretrained_network_path`.
    """
    config = check_config(config, STAGE1_KEYS, complete=True)
    if "img_crop" not in config["output_types"] and not config["loss_weight_3d"]:
        raise UserError(f"output_types is {config['output_types']}; expected img_crop, which stage 1 learns")
    if "3D" in config["output_types"] and not config["loss_weight_3d"]:
        raise UserError("output_types has 3D, but loss_weight_3d is 0; expected img_crop alone, or a weight of poses")
    with process_group(config["device"]):
        return _train(config, resume, given)


def _train(config: dict, resume: bool, given: frozenset[str]) -> RunFolder:
    hardware = Hardware(config["device"], config["precision"])
    learns_pose = config["loss_weight_3d"] > 0
    if config["loss_weight_agreement"] and not learns_pose:
        # Alone, it is 0 where all poses are one point.
        raise UserError("loss_weight_agreement needs loss_weight_3d, which is 0; expected labels to learn poses from")
    if config["loss_weight_agreement"] and (config["dataset_folder_mixed"] is None or config["useCamBatches"] < 2):
        raise UserError(
            "loss_weight_agreement compares cameras of crops without a label; expected dataset_folder_mixed, which "
            "brings the labels, and useCamBatches of 2 or more"
        )
    keys = (*VIEW_KEYS, "3D") if learns_pose else VIEW_KEYS
    if learns_pose:
        # Stored with the weights: what is trained is what tests and stage 2 ask for.
        config = {**config, "output_types": ["img_crop", "3D"]}
        check_pose_batch(config)
    # Before the network is built: its weights are a function of the seed.
    seed_everything(config["seed"])
    network, config, trained_decoder = open_for_views(resolve_latest(config, "encode", resume), given)
    ask_for_masks(network, config)
    check_views(config)
    batch_parts(config, hardware.device)  # for its errors, before images are read
    check_backgrounds(config)
    hardware.place(network)
    masks = mixes_backgrounds(config) or needs_masks(config)

    def open_sets(config: dict) -> MultiViewDataset | JoinedDataset:
        return open_training_sets(config, keys, labeled=False, masks=masks)

    folder, dataset = open_run(config, "encode", resume, open_sets)
    if dataset is None:
        return folder
    parts, held_out_rows = training_parts(dataset, config, group_size(config))
    samplers = [
        grouped_sampler(part.labels, part.rows, {**config, "batch_size_train": part.batch_size}, shuffle=True)
        for part in parts
    ]
    held_out = list(grouped_sampler(parts[0].labels, held_out_rows, config, shuffle=False))
    held_out = evenly_spaced(held_out, config["validation_crops"])

    if not learns_pose:
        # It has no labels to learn from, and several processes must know which parameters get gradients.
        network.to_pose.requires_grad_(False)
    elif not trained_decoder:
        network.set_pose_statistics(dataset.pose_mean, dataset.pose_std)
    criterion = hardware.place(ImageLoss(config))
    trained = network.stage1_parameters() + (network.stage2_parameters() if learns_pose else [])
    optimizer = make_optimizer(trained, config)
    if is_main():
        counts = " and ".join(str(len(part.rows)) for part in parts)
        print(f"{counts} crops to train on, {len(held_out_rows)} held out; {hardware}; {folder.path}")
    rows = np.concatenate([*(part.first + part.rows for part in parts), *held_out])
    dataset = cache_on_device(load_images(dataset, config, rows), config, hardware.device)

    def batches(first: int, last: int) -> Iterable[Batch]:
        rows = [TrainingBatches(sampler, first, last) for sampler in samplers]
        return training_batches(dataset, JoinedBatches(rows, [part.first for part in parts]), config)

    def evaluate() -> dict[str, float]:
        return evaluate_views(network, criterion, make_loader(dataset, local_items(held_out), config), hardware, config)

    def plot(path: str | Path) -> None:
        plot_views(network, dataset, held_out[0], hardware, path)

    step = NovelViewStep(network, criterion, optimizer, hardware, config, dataset)
    # Held out are crops of the recording alone where two sets are mixed, and their poses are not known.
    score = "n_mpjpe" if learns_pose and len(parts) == 1 else "loss"
    fit(Stage(network, optimizer, step, evaluate, batches, score, plot, step.parts), config, folder, resume)
    return folder


class ViewLosses(torch.nn.Module):
    """The network's input -> the losses of its novel views, as one module: what is compiled, and as one graph.

    By `config`: `loss_weight_3d` of its poses, which needs the labels `3D` (B,51); 0: there is none. With it,
    `loss_weight_agreement` of poses without a label. `statistics`: mean and deviation (51,) of the labels, meters.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        criterion: ImageLoss,
        config: dict,
        statistics: tuple[torch.Tensor, torch.Tensor],
    ):
        super().__init__()
        self.network, self.criterion = network, criterion
        self.pose_weight, self.statistics = config["loss_weight_3d"], statistics
        self.config = config

    def forward(self, inputs: Batch) -> dict[str, torch.Tensor]:
        """Scalars by name, as `ImageLoss` gives them, and weighted `pose`, `agreement` and `masks` where they count."""
        outputs = self.network(inputs)
        losses = self.criterion(outputs["img_crop"], inputs["img_crop"])
        if self.pose_weight:
            error = known_pose_loss(outputs["3D"], inputs["3D"], *self.statistics, self.config["pose_loss"])
            losses["pose"] = self.pose_weight * error
            losses["loss"] = losses["loss"] + losses["pose"]
        if self.config["loss_weight_agreement"]:
            add_agreement(losses, outputs, inputs, self.config, self.statistics)
        if self.config["loss_weight_masks"]:
            add_masks(losses, outputs, inputs, self.config)
        return losses


def add_agreement(
    losses: Batch, outputs: Batch, inputs: Batch, config: dict, statistics: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Add `agreement`, the weighted `agreement_loss` of the network's poses, to `losses` and to their sum, `loss`."""
    to_world, cameras = inputs["extrinsic_rot_inv"], config["useCamBatches"]
    agreement = agreement_loss(outputs["3D"], to_world, inputs["3D"], cameras, *statistics)
    losses["agreement"] = config["loss_weight_agreement"] * agreement
    losses["loss"] = losses["loss"] + losses["agreement"]


def ask_for_masks(network: EncodeDecode, config: dict) -> None:
    """Have `network` give what `loss_weight_masks` compares, too. UserError where its decoder has no masks."""
    if config["loss_weight_masks"]:
        if not network.decoder.has_mask:
            raise UserError("loss_weight_masks needs color_by_appearance and add_background, whose layers have masks")
        network.output_types = (*network.output_types, "mask_crop")


def add_masks(losses: Batch, outputs: Batch, inputs: Batch, config: dict) -> None:
    """Add `masks`, the weighted `mask_loss` of what the views hide of their backgrounds, to `losses` and their sum."""
    # A shadow that no mask may draw would cost the view its colors.
    shown = hidden_shares(inputs["img_crop"], inputs["bg_crop"])
    losses["masks"] = config["loss_weight_masks"] * mask_loss(outputs["mask_crop"][None], shown)
    losses["loss"] = losses["loss"] + losses["masks"]


class NovelViewStep(TrainingStep):
    """One step of stage 1 on a batch of uint8 crops, or of their rows in a `dataset` that lies on the device."""

    def __init__(
        self,
        network: EncodeDecode,
        criterion: ImageLoss,
        optimizer: torch.optim.Optimizer,
        hardware: Hardware,
        config: dict,
        dataset: MultiViewDataset | None = None,
    ):
        self.network, self.criterion = network, criterion
        statistics = network.pose_mean, network.pose_std
        losses = ViewLosses(average_gradients(network), criterion, config, statistics)
        self.parts = batch_parts(config, hardware.device)
        self.compare = compile_training(losses, config, hardware.device)
        self.side_by_side = PartsOfBatch(losses, self.parts, hardware.autocast) if self.parts > 1 else None
        self.group = group_size(config)
        self.backgrounds = make_backgrounds(config, hardware.device)
        super().__init__(optimizer, hardware, config, dataset)

    def draw(self, batch: Batch, generator: torch.Generator) -> Batch:
        """All that is random in a step but dropout: augmentation and permutations, on the CPU."""
        count = len(next(iter(batch.values())))
        cameras = self.config["useCamBatches"]
        true = true_colors(count, cameras, generator) if changes_colors(self.config) and cameras > 1 else None
        drawn = draw_augmentation(count, self.config, generator, self.group, keep_colors=true)
        if mixes_backgrounds(self.config):
            recorded = batch_sizes(self.config, self.group)[0] // world_size()
            drawn |= draw_backgrounds(count, recorded, self.config, generator)
        drawn |= permutations(count, self.config, generator)
        if true is not None and self.config["shuffle_fg"]:
            drawn["shuffled_appearance"] = donors_in_true_colors(drawn["shuffled_appearance"], true, cameras)
        return drawn

    def set_modes(self) -> None:
        self.network.train()

    def prepare(self, batch: Batch) -> Batch:
        """A batch on the device with what was drawn for it -> the network's input: normalized, augmented crops."""
        batch = self.held(batch)
        batch = augment(put_on_backgrounds(normalize_batch(batch)), batch, self.config, self.backgrounds)
        return targets_of(self.network, batch)

    def backward(self, batch: Batch) -> Losses:
        return self.side_by_side(self.prepare(batch)) if self.side_by_side else super().backward(batch)

    def losses(self, batch: Batch) -> Losses:
        inputs = self.prepare(batch)
        with self.hardware.autocast():
            return self.compare(inputs)


def check_views(config: dict) -> None:
    """UserError where `target_other_view` has no other view to render."""
    if config["target_other_view"] and config["shuffle_3d"] and config["useCamBatches"] < 2:
        raise UserError(
            f"useCamBatches is {config['useCamBatches']}; expected 2 or more: target_other_view needs another view"
        )


def batch_parts(config: dict, device: torch.device) -> int:
    """In how many parts a step computes a batch, by the key of this name: 1 on a GPU, and with several processes.

    Raises UserError for a batch that cannot be divided, for dropout, and for parts that were to be compiled.
    """
    parts, size = config["batch_parts"], config["batch_size_train"]
    if parts == 1:
        return 1
    if config["dataset_folder_mixed"] is not None:
        raise UserError(f"batch_parts is {parts}; expected 1 with dataset_folder_mixed: parts would have one set alone")
    dropout = ["latent_dropout"] + ["dropout_to3Dpose"] * (config["loss_weight_3d"] > 0)
    for key in dropout:
        if config[key]:
            # Torch has one generator for it: which part draws first would be chance.
            raise UserError(f"batch_parts is {parts}, and {key} {config[key]}; expected no dropout, or one part")
    if size % (unit := parts * group_size(config)):
        raise UserError(f"batch_size_train is {size}; expected a multiple of {unit}, with {parts} batch_parts")
    if device.type != "cpu" or world_size() > 1:
        return 1
    if config["compile"] == "always":
        raise UserError(f"compile is 'always'; expected auto or never on a CPU, with {parts} batch_parts")
    return parts


def group_size(config: dict) -> int:
    """Successive crops that show one person: the cameras of one instant, or of two instants of a sequence."""
    return config["useCamBatches"] * (2 if config["useSubjectBatches"] else 1)


def mixes_backgrounds(config: dict) -> bool:
    """Whether rendered people get backgrounds of the recording. UserError without both sets, or without backgrounds."""
    if not config["mixed_background"]:
        return False
    if config["dataset_folder_mixed"] is None:
        raise UserError("mixed_background needs dataset_folder_mixed, which is None; expected a set with masks")
    if not (config["skip_background"] or config["add_background"]):
        raise UserError("mixed_background needs skip_background or add_background, which are False")
    return True


def permutations(count: int, config: dict, generator: torch.Generator, rolls: bool = False) -> Batch:
    """`shuffled_pose` and `shuffled_appearance` (count,) of this process's share of the batch, on the CPU.

    `rolls`: as `training_permutations` has it.
    """
    pose, appearance = training_permutations(
        count * world_size(),
        max(1, config["useCamBatches"]),
        config["useSubjectBatches"],
        generator,
        shuffle_3d=config["shuffle_3d"],
        shuffle_fg=config["shuffle_fg"],
        other_view=config["target_other_view"],
        rolls=rolls,
    )
    # Positions in the joined batch become positions in the share, which holds whole groups.
    return {"shuffled_pose": local_shard(pose) % count, "shuffled_appearance": local_shard(appearance) % count}


def true_colors(count: int, cameras: int, generator: torch.Generator) -> torch.Tensor:
    """Which input views (count,) bool keep their colors: one camera of each sub-batch of `cameras`, at random.

    The target shows the person in true colors, which nothing tells but an input view that has them.
    """
    chosen = (draw_shard(torch.rand, count // cameras, generator=generator) * cameras).long()
    return (torch.arange(cameras) == chosen[:, None]).flatten()


def donors_in_true_colors(donors: torch.Tensor, true: torch.Tensor, cameras: int) -> torch.Tensor:
    """For donors of appearance (B,), indices: the crop of the same sub-batch that keeps its colors, by `true` (B,)."""
    sub_batch = donors // cameras
    return sub_batch * cameras + true.view(-1, cameras).long().argmax(1)[sub_batch]


def evaluate_views(
    network: EncodeDecode, criterion: ImageLoss, batches: Iterable[Batch], hardware: Hardware, config: dict
) -> dict[str, float]:
    """Mean losses and PSNR (dB) of views of the other camera, over the crops of all processes.

    The loss has the parts of agreement and of masks, too: views alone would choose the network before its poses agree.
    """
    network.eval()

    @torch.no_grad()
    def compare(batch: Batch) -> tuple[int, dict[str, torch.Tensor]]:
        inputs = targets_of(network, normalize_batch(hardware.move(batch)))
        with hardware.autocast():
            outputs = network(inputs)
            output = outputs["img_crop"]
            losses = criterion(output, inputs["img_crop"])
        if "3D" in outputs:
            pose, label = network.denormalize_pose(outputs["3D"]), inputs["3D"]
            # Held-out crops of a recording have no labels.
            if torch.isfinite(label).all():
                losses["n_mpjpe"] = 1000 * n_mpjpe(pose, label).mean()
            elif config["loss_weight_agreement"]:
                add_agreement(losses, outputs, inputs, config, (network.pose_mean, network.pose_std))
        if config["loss_weight_masks"]:
            add_masks(losses, outputs, inputs, config)
        losses["psnr"] = psnr(denormalize(output), denormalize(inputs["img_crop"])).mean()
        return len(output), losses

    return mean_scores(compare, batches, hardware.device)


@torch.no_grad()
def plot_views(
    network: EncodeDecode, dataset: MultiViewDataset, rows: np.ndarray, hardware: Hardware, path: str | Path
) -> None:
    """Save a picture of examples, each rendered from the crop of another camera: input, background, output, target.

    `rows` (B,) of the dataset: sub-batches of the network's `sub_batch` cameras.
    """
    network.eval()
    inputs = targets_of(network, normalize_batch(hardware.move(dataset.__getitems__(rows))))
    # Given, because a network of stage 2, which trains without shuffling, would otherwise render the same view.
    target, donor = evaluation_permutations(len(rows), network.sub_batch, device=hardware.device)
    with hardware.autocast():
        output = network({**inputs, "shuffled_pose": target, "shuffled_appearance": donor})["img_crop"]
    # Slot j of the output was rendered from the crop whose target is j.
    source = torch.argsort(target)
    encoded, crops = denormalize(inputs.get("input_crop", inputs["img_crop"])), denormalize(inputs["img_crop"])
    background = denormalize(inputs["bg_crop"]) if "bg_crop" in inputs else None
    save_examples(path, encoded[source], crops, denormalize(output), background)
