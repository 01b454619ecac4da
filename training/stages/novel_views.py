"""Stage 1: learn to paint what another camera saw."""

import ignite.distributed as idist
import torch

from datasets.reader import MultiViewDataset
from models import build_network, evaluation_permutations, training_permutations
from training.loop.compiling import compile_training
from training.loop.distributed import (
    average_gradients,
    is_main,
    local_items,
    local_shard,
    mean_over_processes,
    process_group,
)
from training.loop.engine import Stage, fit, make_optimizer, seed_everything
from training.loop.hardware import Hardware
from training.loop.loaders import (
    TrainingBatches,
    cache_on_device,
    evenly_spaced,
    grouped_sampler,
    make_loader,
    normalize_batch,
    open_training_set,
    training_rows,
)
from training.loop.run_folder import RunFolder
from training.metrics import psnr
from training.stages.augmentation import augment_color, mirror_groups, random_turns, turn_cameras
from training.stages.losses import ImageLoss
from utils.images import denormalize
from utils.plotting import save_examples
from utils.transfer import to_device

INPUT_KEYS = ("img_crop", "bg_crop", "extrinsic_rot", "extrinsic_rot_inv")


def train_novel_views(config: dict, resume: bool = False) -> RunFolder:
    """Train the network of `config` to paint novel views, with all processes of torchrun; return its run folder."""
    with process_group(config["device"]):
        return _train(config, resume)


def _train(config: dict, resume: bool) -> RunFolder:
    hardware = Hardware(config["device"], config["precision"])
    folder = RunFolder(config, "encode")
    dataset = cache_on_device(open_training_set(config, INPUT_KEYS), config, hardware.device)
    train_rows, held_out_rows = training_rows(dataset.labels, config)
    held_out = evenly_spaced(
        list(grouped_sampler(dataset.labels, held_out_rows, config, False)), config["validation_crops"]
    )
    sampler = grouped_sampler(dataset.labels, train_rows, config, shuffle=True)

    seed_everything(config["seed"])
    network = hardware.place(build_network(config))
    network.to_pose.requires_grad_(False)
    criterion = hardware.place(ImageLoss(config))
    optimizer = make_optimizer(network.stage1_parameters(), config)
    if is_main():
        print(f"{len(train_rows)} crops to train on, {len(held_out_rows)} held out; {hardware}; {folder.path}")
    stage = Stage(
        network=network,
        optimizer=optimizer,
        step=NovelViewStep(network, criterion, optimizer, hardware, config),
        evaluate=lambda: evaluate_views(
            network, criterion, make_loader(dataset, local_items(held_out), config), hardware
        ),
        batches=lambda first, last: make_loader(dataset, TrainingBatches(sampler, first, last), config),
        score="loss",
        plot=lambda path: plot_views(network, dataset, held_out[0], hardware, path),
    )
    fit(stage, config, folder, resume)
    return folder


class ViewLosses(torch.nn.Module):
    """The network's input -> the losses of what it paints: what is compiled, and as one graph."""

    def __init__(self, network: torch.nn.Module, criterion: ImageLoss):
        super().__init__()
        self.network, self.criterion = network, criterion

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Scalars by name, as `ImageLoss` gives them."""
        output = self.network(inputs)["img_crop"]
        return self.criterion(output, inputs["img_crop"])


class NovelViewStep:
    """One step of stage 1 on a batch of uint8 crops; returns the losses as detached scalars."""

    def __init__(self, network, criterion, optimizer, hardware: Hardware, config: dict):
        self.network, self.criterion, self.optimizer = network, criterion, optimizer
        self.compare = compile_training(ViewLosses(average_gradients(network), criterion), config, hardware.device)
        self.hardware, self.config = hardware, config

    def __call__(self, batch: dict, iteration: int) -> dict[str, torch.Tensor]:
        config = self.config
        generator = seed_everything(config["seed"], iteration)
        inputs = self.prepare(batch, generator)
        self.network.train()
        # before the forward pass: a CUDA graph that starts anew writes where the last gradients lie
        self.optimizer.zero_grad(set_to_none=True)
        with self.hardware.autocast():
            losses = self.compare(inputs)
        losses["loss"].backward()
        self.optimizer.step()
        # a copy, for the same reason
        values = torch.stack(list(losses.values())).detach()
        return dict(zip(losses, values, strict=True))

    def prepare(self, batch: dict, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Crops to the device, normalised, augmented; and this iteration's permutations."""
        config = self.config
        inputs, device = normalize_batch(self.hardware.move(batch)), self.hardware.device
        group = config["useCamBatches"] * (2 if config["useSubjectBatches"] else 1)
        if config["augment_mirror"]:
            inputs = mirror_groups(inputs, group, generator)
        if config["augment_rotation"]:
            turns = random_turns(len(inputs["img_crop"]), config["augment_rotation"], generator)
            inputs = turn_cameras(inputs, to_device(turns, device))
        crops = [key for key in ("img_crop", "bg_crop") if key in inputs]
        changed = augment_color([inputs[key] for key in crops], group, config["augment_color"], generator)
        inputs.update(zip(crops, changed, strict=True))
        count = len(inputs["img_crop"])
        permutations = training_permutations(
            count * idist.get_world_size(),
            config["useCamBatches"],
            config["useSubjectBatches"],
            generator,
            shuffle_3d=config["shuffle_3d"],
            shuffle_fg=config["shuffle_fg"],
            other_view=config["target_other_view"],
        )
        # positions in the joined batch -> in this process's share, which holds whole groups
        pose, appearance = (local_shard(part) % count for part in permutations)
        inputs |= {"shuffled_pose": to_device(pose, device), "shuffled_appearance": to_device(appearance, device)}
        return inputs


@torch.no_grad()
def evaluate_views(network, criterion, loader, hardware: Hardware) -> dict[str, float]:
    """Mean losses and PSNR (dB) of the views of the other camera, over the loaders' crops of all processes."""
    network.eval()
    totals: dict[str, float] = {}
    count = 0
    for batch in loader:
        inputs = normalize_batch(hardware.move(batch))
        with hardware.autocast():
            output = network(inputs)["img_crop"]
            losses = criterion(output, inputs["img_crop"])
        losses["psnr"] = psnr(denormalize(output), denormalize(inputs["img_crop"])).mean()
        for name, value in losses.items():
            totals[name] = totals.get(name, 0.0) + float(value) * len(output)
        count += len(output)
    return mean_over_processes({name: total / count for name, total in totals.items()}, count)


@torch.no_grad()
def plot_views(network, dataset: MultiViewDataset, rows, hardware: Hardware, path) -> None:
    """Paint a picture of examples, each from the crop of another camera: input, background, output and target.

    `rows`: sub-batches of the network's `sub_batch` cameras. Also a network of stage 2, which was trained
    without shuffling, is asked for the other view.
    """
    network.eval()
    inputs = normalize_batch(hardware.move(dataset.__getitems__(rows)))
    target, donor = evaluation_permutations(len(rows), network.sub_batch, device=hardware.device)
    with hardware.autocast():
        output = network({**inputs, "shuffled_pose": target, "shuffled_appearance": donor})["img_crop"]
    # slot j of the output is painted from the crop whose target is j
    source = torch.argsort(target)
    crops = denormalize(inputs["img_crop"])
    background = denormalize(inputs["bg_crop"]) if "bg_crop" in inputs else None
    save_examples(path, crops[source], crops, denormalize(output), background)
