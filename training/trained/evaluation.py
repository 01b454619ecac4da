"""Testing a trained network: errors of its poses and likeness of its novel views, per subject and motion."""

import os

import numpy as np
import torch
from tqdm import tqdm

from datasets.reader import MultiViewDataset
from datasets.sampler import group_rows, select_rows
from models.parts.folding import fold_batch_norm
from models.parts.latent import evaluation_permutations
from training.loop.hardware import Hardware
from training.loop.loaders import make_loader, normalize_batch
from training.metrics import foreground_mask, mpjpe, n_mpjpe, p_mpjpe, psnr, published_n_mpjpe, ssim
from training.trained.inference import mirrored_poses
from training.trained.tables import group_means, table_text, write_table
from utils.errors import UserError
from utils.images import denormalize

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
    skip_shifted: bool = False,
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

    `skip_shifted` leaves out the crops that labels.h5 marks by `shifted` (three sequences of Human3.6M's S9).

    `dataset` reads `evaluation_keys(network)`. Config keys: batch_size_test, every_nth_frame, flip_test,
    num_workers, preload_images. Raises UserError when the network's output is not finite: a failed evaluation has no
    score.
    """
    rows = _well_labelled_rows(dataset.labels) if skip_shifted else None
    pairs = _pair_cameras(dataset.labels, config["every_nth_frame"], rows)
    size = max(1, config["batch_size_test"] // 2)
    batches = [pairs[start : start + size].reshape(-1) for start in range(0, len(pairs), size)]
    scores: dict[str, np.ndarray] = {}
    network = fold_batch_norm(network)
    loader = make_loader(dataset, batches, config)
    for rows, batch in zip(batches, tqdm(loader, "Evaluating", unit="batch"), strict=True):
        for name, values in _batch_scores(network, hardware.move(batch), hardware, config["flip_test"]).items():
            column = scores.setdefault(name, np.full(len(dataset), np.nan))
            column[rows] = np.where(_is_alone(rows), np.nan, values) if name in _VIEW_SCORES else values
    table = _table(dataset, np.unique(pairs), scores)
    print(table_text(table))
    if folder is not None:
        write_table(folder, table)
    return table


def evaluation_keys(network: torch.nn.Module) -> tuple[str, ...]:
    """What a dataset must read for `evaluate`, given the network's output types."""
    views = ("bg_crop", "extrinsic_rot", "extrinsic_rot_inv") if "img_crop" in network.output_types else ()
    return ("img_crop", *views, *(("3D",) if "3D" in network.output_types else ()))


def motion_names(dataset: MultiViewDataset) -> np.ndarray:
    """The motion of every row, (N,) strings: the label `motion` where the layout has it, otherwise "seq 3"."""
    if "motion" in dataset.labels:
        return dataset.labels["motion"].astype(str).reshape(-1)
    numbers, inverse = np.unique(dataset.labels["seq"], return_inverse=True)
    return np.array([f"seq {number}" for number in numbers])[inverse]


def _well_labelled_rows(labels) -> np.ndarray:
    if "shifted" not in labels:
        raise UserError(f"{labels.path} has no 'shifted'; expected a set that prepare_h36m.py made")
    rows = np.flatnonzero(labels["shifted"].reshape(-1) == 0)
    if not len(rows):
        raise UserError(f"{labels.path}: 'shifted' is 1 in every row; nothing is left to test on")
    return rows


def _pair_cameras(labels, every_nth_frame: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Pairs of rows (P,2), each two neighbouring cameras of one instant, that cover every row, or all of `rows`.

    Of an odd number of cameras the last is paired with the first; a camera alone with itself.
    """
    rows = select_rows(labels, every_nth_frame=every_nth_frame, rows=rows)
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
def _batch_scores(network, batch: dict, hardware: Hardware, flip_test: bool) -> dict:
    """Every score of one batch of camera pairs: name -> (B,)."""
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
        scores |= _pose_scores(network.pose_mean.expand_as(batch["3D"]), batch["3D"], "mean_pose_")
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
    motions = motion_names(dataset)[rows]
    return group_means(subjects, motions, {name: values[rows] for name, values in scores.items()})


_VIEW_SCORES = {prefix + name for prefix in ("", "background_") for name in ("psnr", "ssim", "psnr_foreground")}
