"""Evaluating a trained network: errors of its poses and quality of its novel views, per subject and motion."""

import os
from functools import partial

import numpy as np
import torch
from tqdm import tqdm

from datasets import Labels, MultiViewDataset
from datasets.layout.labels import INSTANT_KEYS
from datasets.sampler import group_rows, select_rows
from models import EncodeDecode
from models.parts.folding import fold_batch_norm
from models.parts.latent import evaluation_permutations
from training.loop.hardware import Hardware
from training.loop.loaders import Batch, make_loader, normalize_batch
from training.loop.threads import map_batches
from training.metrics import foreground_mask, mpjpe, n_mpjpe, p_mpjpe, psnr, published_n_mpjpe, ssim
from training.trained.copies import mirrored_poses
from training.trained.tables import Row, group_means, write_table
from utils.errors import UserError
from utils.images import denormalize

POSE_METRICS = {
    "mpjpe_mm": mpjpe,
    "n_mpjpe_mm": n_mpjpe,
    "n_mpjpe_published_mm": published_n_mpjpe,
    "pa_mpjpe_mm": p_mpjpe,
}


def evaluate(
    network: EncodeDecode,
    dataset: MultiViewDataset,
    config: dict,
    hardware: Hardware,
    folder: str | os.PathLike | None = None,
    skip_shifted: bool = False,
) -> list[Row]:
    """Evaluate `network` on every crop of `dataset`, each once, in a fixed order.

    With "3D" in `network.output_types` the poses are evaluated, beside the mean pose of the training set. With
    "img_crop" the novel views are, beside the background image alone: each camera is paired with another one of the
    same instant, and the view of one is rendered from the crop of the other.

    Returns one row per subject and motion with means over crops: subject, motion, crops, pose errors (`mpjpe_mm`,
    `n_mpjpe_mm`, `n_mpjpe_published_mm` in the 17/16 convention, `pa_mpjpe_mm`, and the same with the prefix
    `mean_pose_`), `psnr`, `ssim`, `psnr_foreground` (pixels that differ from the background), and the same with the
    prefix `background_`. "all" is the mean over all; the last row is the mean over every crop. Also writes
    `evaluation.csv` and `evaluation.md` into `folder`, if given.

    `skip_shifted` leaves out the crops that labels.h5 marks as `shifted` (three sequences of Human3.6M's S9).
    `dataset` must read `evaluation_keys(network)`. Config keys: batch_size_test, every_nth_frame, flip_test,
    num_workers, preload_images. Raises UserError when the network's output is not finite.
    """
    rows = _rows_not_shifted(dataset.labels) if skip_shifted else None
    pairs = _pair_cameras(dataset.labels, config["every_nth_frame"], rows)
    # Batches hold whole pairs, because a view is rendered from another crop of its batch.
    size = max(1, config["batch_size_test"] // 2)
    batches = [pairs[start : start + size].reshape(-1) for start in range(0, len(pairs), size)]
    scores: dict[str, np.ndarray] = {}
    network = fold_batch_norm(network)
    loader = make_loader(dataset, batches, config)
    score = partial(_batch_scores, network, hardware, config["flip_test"])
    scored = map_batches(score, loader, hardware.device)
    for rows, values_of in zip(batches, tqdm(scored, "evaluating", len(batches), unit="batch"), strict=True):
        for name, values in values_of.items():
            column = scores.setdefault(name, np.full(len(dataset), np.nan))
            # A camera without a partner shows no novel view, but its pose counts.
            column[rows] = np.where(_is_alone(rows), np.nan, values) if name in _VIEW_SCORES else values
    # Of an odd number of cameras one is in two pairs; it counts once.
    table = _table(dataset, np.unique(pairs), scores)
    if folder is not None:
        write_table(folder, table, label_note(dataset))
    return table


def evaluation_keys(network: EncodeDecode) -> tuple[str, ...]:
    """The keys that a dataset must read for `evaluate`, by the network's output types."""
    views = ("bg_crop", "extrinsic_rot", "extrinsic_rot_inv") if "img_crop" in network.output_types else ()
    return ("img_crop", *views, *(("3D",) if "3D" in network.output_types else ()))


def motion_names(dataset: MultiViewDataset) -> np.ndarray:
    """The motion of every row, (N,) strings: the label `motion` if the layout has it, otherwise "seq 3" etc."""
    if "motion" in dataset.labels:
        return dataset.labels["motion"].astype(str).reshape(-1)
    # Real data name their motions; a layout without names still has numbered sequences.
    numbers, inverse = np.unique(dataset.labels["seq"], return_inverse=True)
    return np.array([f"seq {number}" for number in numbers])[inverse]


def label_note(dataset: MultiViewDataset) -> str:
    """Says where the poses of a set come from, if they were not measured; else empty."""
    source = dataset.labels.label_source
    return f"The poses of this set are {source}." if source else ""


def _rows_not_shifted(labels: Labels) -> np.ndarray:
    if "shifted" not in labels:
        raise UserError(f"{labels.path} has no 'shifted'; expected a set that prepare_h36m.py made")
    rows = np.flatnonzero(labels["shifted"].reshape(-1) == 0)
    if not len(rows):
        raise UserError(f"{labels.path}: 'shifted' is 1 in every row; expected some rows to evaluate")
    return rows


def _pair_cameras(labels: Labels, every_nth_frame: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Pairs of rows (P,2) that cover all rows, or all of `rows`: two neighboring cameras of one instant each.

    The last of an odd number of cameras is paired with the first, and a single camera with itself.
    """
    rows = select_rows(labels, every_nth_frame=every_nth_frame, rows=rows)
    instants = group_rows(labels, INSTANT_KEYS, rows, within="cam")
    count = np.repeat(instants.count, instants.count)
    camera = np.arange(len(rows)) - np.repeat(instants.start, instants.count)
    first = np.flatnonzero(camera % 2 == 0)
    second = first - camera[first] + (camera[first] + 1) % count[first]
    return instants.order[np.stack([first, second], axis=1)]


def _is_alone(rows: np.ndarray) -> np.ndarray:
    """Which rows of flattened pairs are paired with themselves, (2P,) bool."""
    pairs = rows.reshape(-1, 2)
    return np.repeat(pairs[:, 0] == pairs[:, 1], 2)


@torch.no_grad()
def _batch_scores(network: EncodeDecode, hardware: Hardware, flip_test: bool, batch: Batch) -> dict[str, np.ndarray]:
    """Every score of one batch of camera pairs: name -> (B,)."""
    batch = hardware.move(batch)
    inputs = normalize_batch(batch)
    target, donor = evaluation_permutations(len(inputs["img_crop"]), 2, device=hardware.device)
    with hardware.autocast():
        output = network({**inputs, "shuffled_pose": target, "shuffled_appearance": donor})
    scores = {}
    if "3D" in output:
        _check_finite(output["3D"], "pose")
        pose = network.denormalize_pose(output["3D"].float())
        if flip_test:
            with hardware.autocast():
                pose = (pose + mirrored_poses(network, inputs["img_crop"])) / 2
        scores |= _pose_scores(pose, batch["3D"])
        # The baseline is scored on the same crops by the same metrics.
        scores |= _pose_scores(network.pose_mean.expand_as(batch["3D"]), batch["3D"], "mean_pose_")
    if "img_crop" in output:
        _check_finite(output["img_crop"], "image")
        image, background = denormalize(inputs["img_crop"]), None
        if "bg_crop" in inputs:
            background = denormalize(inputs["bg_crop"])
            scores |= _view_scores(background, image, background, "background_")
        scores |= _view_scores(denormalize(output["img_crop"]), image, background)
    return {name: values.cpu().numpy() for name, values in scores.items()}


def _pose_scores(predicted: torch.Tensor, target: torch.Tensor, prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + name: 1000 * metric(predicted, target) for name, metric in POSE_METRICS.items()}


def _view_scores(
    output: torch.Tensor, target: torch.Tensor, background: torch.Tensor | None, prefix: str = ""
) -> dict[str, torch.Tensor]:
    scores = {prefix + "psnr": psnr(output, target), prefix + "ssim": ssim(output, target)}
    if background is not None:
        scores[prefix + "psnr_foreground"] = psnr(output, target, foreground_mask(target, background))
    return scores


def _check_finite(values: torch.Tensor, what: str) -> None:
    if not values.isfinite().all():
        raise UserError(f"the network's {what} contains NaN or infinity; its training diverged, and it has no score")


def _table(dataset: MultiViewDataset, rows: np.ndarray, scores: dict[str, np.ndarray]) -> list[Row]:
    subjects = dataset.labels["subj"][rows].astype(str)
    motions = motion_names(dataset)[rows]
    return group_means(subjects, motions, {name: values[rows] for name, values in scores.items()})


_VIEW_SCORES = {prefix + name for prefix in ("", "background_") for name in ("psnr", "ssim", "psnr_foreground")}
