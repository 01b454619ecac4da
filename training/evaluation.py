"""Testing a trained network: errors of its poses and likeness of its novel views, per subject and motion."""

import json
import os
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from datasets.reader import MultiViewDataset
from datasets.sampler import group_rows, select_rows
from models.latent import evaluation_permutations
from training.hardware import Hardware
from training.loaders import make_loader, network_input
from training.metrics import foreground_mask, mpjpe, n_mpjpe, p_mpjpe, psnr, published_n_mpjpe, ssim
from training.tables import group_means, table_text, write_table
from utils.errors import UserError
from utils.images import denormalize

EVALUATION_KEYS = ("img_crop", "bg_crop", "extrinsic_rot", "extrinsic_rot_inv", "3D")
SEQUENCE_NAMES_FILE = "sequences.json"
POSE_METRICS = {
    "mpjpe_mm": mpjpe,
    "n_mpjpe_mm": n_mpjpe,
    "n_mpjpe_published_mm": published_n_mpjpe,
    "pa_mpjpe_mm": p_mpjpe,
}


def evaluate(
    network: torch.nn.Module,
    dataset: MultiViewDataset,
    config: dict,
    hardware: Hardware,
    folder: str | os.PathLike | None = None,
) -> list[dict]:
    """Test `network` on every crop of `dataset`, each once, in a fixed order, and print the table.

    What is tested follows from `network.output_types`: with "3D" the poses, beside the training set's
    mean pose; with "img_crop" the novel views, beside copying the background. Each camera is paired
    with another one of the same instant, and the view of one is painted from the crop of the other.

    Returns one row per subject and motion, with means over crops: subject, motion, crops, pose errors
    (`mpjpe_mm`, `n_mpjpe_mm`, `n_mpjpe_published_mm` by the 17/16 convention, `pa_mpjpe_mm`, and the same
    with `mean_pose_` in front), `psnr`, `ssim`, `psnr_foreground` (pixels that differ from the background)
    and the same with `background_` in front. "all" stands for the mean over all; the last row is the mean
    over every crop. Also written to `evaluation.csv` and `evaluation.md` in `folder`, if one is given.

    Config keys: batch_size_test, every_nth_frame, num_workers, preload_images. Raises UserError when the
    network's output is not finite: a failed evaluation has no score.
    """
    pairs = _pair_cameras(dataset.labels, config["every_nth_frame"])
    size = max(1, config["batch_size_test"] // 2)
    batches = [pairs[start : start + size].reshape(-1) for start in range(0, len(pairs), size)]
    mean, std = (torch.as_tensor(values).to(hardware.device) for values in pose_statistics(network, dataset))
    scores: dict[str, np.ndarray] = {}
    network.eval()
    loader = make_loader(dataset, batches, config)
    for rows, batch in zip(batches, tqdm(loader, "Evaluating", unit="batch"), strict=True):
        for name, values in _batch_scores(network, hardware.move(batch), mean, std, hardware).items():
            column = scores.setdefault(name, np.full(len(dataset), np.nan))
            column[rows] = np.where(_is_alone(rows), np.nan, values) if name in _VIEW_SCORES else values
    table = _table(dataset, np.unique(pairs), scores)
    print(table_text(table))
    if folder is not None:
        write_table(folder, table)
    return table


def pose_statistics(network: torch.nn.Module, dataset: MultiViewDataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (51,), metres, of the poses that `network` was trained on.

    The network carries them; a published checkpoint does not, and takes those of the data set.
    """
    if hasattr(network, "pose_mean"):
        return network.pose_mean, network.pose_std
    return torch.from_numpy(dataset.pose_mean), torch.from_numpy(dataset.pose_std)


def sequence_names(dataset: MultiViewDataset) -> np.ndarray:
    """The motion of every row, (N,) strings: from `sequences.json` ({"seq": "name"}) or "seq 3"."""
    path, sequences = Path(dataset.root) / SEQUENCE_NAMES_FILE, dataset.labels["seq"]
    numbers, inverse = np.unique(sequences, return_inverse=True)
    names = {}
    if path.is_file():
        try:
            names = json.loads(path.read_text())
            return np.array([str(names[str(number)]) for number in numbers])[inverse]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{str(path)!r} does not name every sequence ({error!r}); expected JSON") from error
    return np.array([f"seq {number}" for number in numbers])[inverse]


def _pair_cameras(labels, every_nth_frame: int) -> np.ndarray:
    """Pairs of rows (P,2), each two neighbouring cameras of one instant, that cover every row.

    Of an odd number of cameras the last is paired with the first; a camera alone with itself.
    """
    rows = select_rows(labels, every_nth_frame=every_nth_frame)
    instants = group_rows(labels, ("subj", "seq", "frame"), rows, within="cam")
    count = np.repeat(instants.count, instants.count)
    camera = np.arange(len(rows)) - np.repeat(instants.start, instants.count)
    first = np.flatnonzero(camera % 2 == 0)
    second = first - camera[first] + (camera[first] + 1) % count[first]
    return instants.order[np.stack([first, second], axis=1)]


def _is_alone(rows: np.ndarray) -> np.ndarray:
    pairs = rows.reshape(-1, 2)
    return np.repeat(pairs[:, 0] == pairs[:, 1], 2)


@torch.no_grad()
def _batch_scores(network, batch: dict, mean: torch.Tensor, std: torch.Tensor, hardware: Hardware) -> dict:
    """Every score of one batch of camera pairs: name -> (B,)."""
    inputs = network_input(batch)
    target, donor = evaluation_permutations(len(inputs["img_crop"]), 2, device=hardware.device)
    with hardware.autocast():
        output = network({**inputs, "shuffled_pose": target, "shuffled_appearance": donor})
    scores = {}
    if "3D" in output:
        _check_finite(output["3D"], "pose")
        scores |= _pose_scores(output["3D"].float() * std + mean, batch["3D"])
        scores |= _pose_scores(mean.expand_as(batch["3D"]), batch["3D"], "mean_pose_")
    if "img_crop" in output:
        _check_finite(output["img_crop"], "image")
        image, background = denormalize(inputs["img_crop"]), None
        if "bg_crop" in inputs:
            background = denormalize(inputs["bg_crop"])
            scores |= _view_scores(background, image, background, "background_")
        scores |= _view_scores(denormalize(output["img_crop"]), image, background)
    return {name: values.cpu().numpy() for name, values in scores.items()}


def _pose_scores(predicted: torch.Tensor, target: torch.Tensor, prefix: str = "") -> dict:
    return {prefix + name: 1000 * metric(predicted, target) for name, metric in POSE_METRICS.items()}


def _view_scores(output: torch.Tensor, target: torch.Tensor, background, prefix: str = "") -> dict:
    scores = {prefix + "psnr": psnr(output, target), prefix + "ssim": ssim(output, target)}
    if background is not None:
        scores[prefix + "psnr_foreground"] = psnr(output, target, foreground_mask(target, background))
    return scores


def _check_finite(values: torch.Tensor, what: str) -> None:
    if not values.isfinite().all():
        raise UserError(f"the network's {what} holds NaN or infinity; it did not train, and has no score")


def _table(dataset: MultiViewDataset, rows: np.ndarray, scores: dict[str, np.ndarray]) -> list[dict]:
    """Means of the scores per subject and motion, per subject, per motion, and over everything."""
    subjects = dataset.labels["subj"][rows].astype(str)
    motions = sequence_names(dataset)[rows]
    return group_means(subjects, motions, {name: values[rows] for name, values in scores.items()})


_VIEW_SCORES = {prefix + name for prefix in ("", "background_") for name in ("psnr", "ssim", "psnr_foreground")}
