"""Evaluating a trained network: errors of its poses and quality of its novel views, per subject and motion."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from datasets import FrameDataset, Labels, MultiViewDataset
from datasets.layout.labels import instant_keys
from datasets.sampler import group_rows, select_rows
from models import EncodeDecode
from models.parts.folding import fold_batch_norm
from models.parts.latent import evaluation_permutations
from training.loop.hardware import Hardware
from training.loop.loaders import Batch, make_loader, normalize_batch
from training.loop.threads import map_batches
from training.metrics import foreground_mask, mpjpe, n_mpjpe, p_mpjpe, psnr, published_n_mpjpe, ssim
from training.stages.centering import targets_of
from training.trained.copies import Estimate, estimate_poses, mirrored_poses
from training.trained.fusion import check_rotations
from training.trained.poses_file import check_poses_path, fuse_instants, write_poses
from training.trained.tables import QUARTER_SCORES, Row, group_means, write_table
from utils.errors import UserError
from utils.files import check_writable
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
    fuse: bool = False,
    trust: bool = True,
    poses_file: str | os.PathLike | None = None,
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

    Of a network that was calibrated for it, poses are judged (`trust`; False leaves it out, which is faster): `trust`,
    `flagged` (share), `expected_error_mm`, and N-MPJPE, trust and expected error of each quarter of all crops with the
    suffix `_quarter_1` (trusted most) to `_quarter_4`. `fuse`: also errors of the mean pose of all cameras of an
    instant, by trust, agreement and depth, with the prefix `fused_`. `poses_file`: write every pose
    there (`write_poses`).

    `skip_shifted` leaves out the crops that labels.h5 marks as `shifted` (three sequences of Human3.6M's S9).
    `dataset` must read `evaluation_keys(network)`. Config keys: batch_size_test, every_nth_frame, flip_test,
    num_workers, preload_images. Raises UserError when the network's output is not finite, and
    before the evaluation for what cannot be written, and where nothing can be measured.
    """
    if not {"3D", "img_crop"} & set(network.output_types):
        raise UserError(f"output_types is {list(network.output_types)}; expected 3D, img_crop or both")
    if (fuse or poses_file is not None) and "3D" not in network.output_types:
        raise UserError("this network was not trained for poses; expected one of stage 2, to fuse or to write poses")
    if poses_file is not None:
        check_poses_path(poses_file)
    if folder is not None:
        check_writable(Path(folder) / "evaluation.csv")
    rows = rows_not_shifted(dataset.labels) if skip_shifted else None
    pairs = pair_cameras(dataset.labels, config["every_nth_frame"], rows)
    # Of an odd number of cameras one is in two pairs; it counts once.
    evaluated = np.unique(pairs)
    if "3D" not in network.output_types and (pairs[:, 0] == pairs[:, 1]).all():
        raise UserError(
            f"no instant of {str(dataset.root)!r} has two cameras; expected some, since this network has no poses, and "
            "a view is rendered from another camera's crop"
        )
    if fuse:
        check_rotations(dataset.labels["extrinsic_rot"][evaluated], len(evaluated))
    score = partial(_batch_scores, fold_batch_norm(network), hardware, config["flip_test"], trust)
    scores = score_pairs(dataset, pairs, score, config, hardware, _VIEW_SCORES.__contains__)
    poses, fused = scores.pop("pose", None), None
    if fuse:
        fused, of_camera = fuse_instants(dataset.labels, evaluated, poses, scores.get("trust"))
        scores |= _fused_scores(dataset, evaluated, of_camera)
    if "trust" in scores:
        scores |= _quarters(evaluated, scores)
    table = _table(dataset, evaluated, scores)
    if folder is not None:
        write_table(folder, table, label_note(dataset))
    if poses_file is not None:
        write_poses(poses_file, dataset.labels, evaluated, poses, scores, fused)
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


def rows_not_shifted(labels: Labels) -> np.ndarray:
    """The rows that are not marked as `shifted`. UserError for a set that marks none, or all."""
    if "shifted" not in labels:
        raise UserError(f"{labels.path} has no 'shifted'; expected a set that prepare_h36m.py made")
    rows = np.flatnonzero(labels["shifted"].reshape(-1) == 0)
    if not len(rows):
        raise UserError(f"{labels.path}: 'shifted' is 1 in every row; expected some rows to evaluate")
    return rows


def pair_cameras(labels: Labels, every_nth_frame: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Pairs of rows (P,2) that cover all rows, or all of `rows`: two neighboring cameras of one instant each.

    The last of an odd number of cameras is paired with the first, and a single camera with itself.
    """
    rows = select_rows(labels, every_nth_frame=every_nth_frame, rows=rows)
    instants = group_rows(labels, instant_keys(labels), rows, within="cam")
    count = np.repeat(instants.count, instants.count)
    camera = np.arange(len(rows)) - np.repeat(instants.start, instants.count)
    first = np.flatnonzero(camera % 2 == 0)
    second = first - camera[first] + (camera[first] + 1) % count[first]
    return instants.order[np.stack([first, second], axis=1)]


def score_pairs(
    dataset: MultiViewDataset | FrameDataset,
    pairs: np.ndarray,
    score: Callable[[Batch], dict[str, np.ndarray]],
    config: dict,
    hardware: Hardware,
    of_views: Callable[[str], bool],
) -> dict[str, np.ndarray]:
    """Every score (N,...) by name, of the rows in `pairs` (P,2) of cameras, NaN elsewhere.

    `score(batch)`: name -> the scores (2B,...) of a batch of B pairs, one after the other. A camera without a partner
    shows no novel view: it has NaN where `of_views(name)`.
    """
    # Batches hold whole pairs, because a view is rendered from another picture of its batch.
    size = max(1, config["batch_size_test"] // 2)
    batches = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    loader = make_loader(dataset, [batch.reshape(-1) for batch in batches], config)
    scored = map_batches(score, loader, hardware.device)
    scores: dict[str, np.ndarray] = {}
    for batch, values_of in zip(batches, tqdm(scored, "evaluating", len(batches), unit="batch"), strict=True):
        alone = np.repeat(batch[:, 0] == batch[:, 1], 2)
        for name, values in values_of.items():
            column = scores.setdefault(name, np.full((len(dataset), *values.shape[1:]), np.nan))
            column[batch.reshape(-1)] = np.where(alone, np.nan, values) if of_views(name) else values
    return scores


@torch.no_grad()
def _batch_scores(
    network: EncodeDecode, hardware: Hardware, flip_test: bool, trust: bool, batch: Batch
) -> dict[str, np.ndarray]:
    """Every score of one batch of camera pairs: name -> (B,), and `pose` (B,51)."""
    batch = hardware.move(batch)
    inputs = normalize_batch(batch)
    views = targets_of(network, inputs)
    target, donor = evaluation_permutations(len(inputs["img_crop"]), 2, device=hardware.device)
    judges = trust and "3D" in network.output_types and network.trust is not None
    with hardware.autocast():
        # Once for the views and for the copies that are judged.
        encoded = network.encode(inputs["img_crop"]) if judges else None
        output = network({**views, "encoded": encoded, "shuffled_pose": target, "shuffled_appearance": donor})
    scores = {}
    if "3D" in output:
        check_finite(output["3D"], "pose")
        estimate = Estimate(network.denormalize_pose(output["3D"].float()))
        with hardware.autocast():
            if judges:
                # The mirrored crop is one of the copies that are judged.
                estimate = estimate_poses(network, inputs["img_crop"], flip_test, encoded=encoded)
            elif flip_test:
                estimate = Estimate((estimate.pose + mirrored_poses(network, inputs["img_crop"])) / 2)
        scores |= {"pose": estimate.pose, **pose_scores(estimate.pose, batch["3D"])}
        if estimate.trust is not None:
            scores |= {
                "trust": estimate.trust,
                "flagged": estimate.flagged,
                "expected_error_mm": estimate.expected_error,
            }
        # The baseline is scored on the same crops by the same metrics.
        scores |= pose_scores(network.pose_mean.expand_as(batch["3D"]), batch["3D"], "mean_pose_")
    if "img_crop" in output:
        check_finite(output["img_crop"], "image")
        image, background = denormalize(views["img_crop"]), None
        if "bg_crop" in views:
            background = denormalize(views["bg_crop"])
            scores |= _view_scores(background, image, background, "background_")
        scores |= _view_scores(denormalize(output["img_crop"]), image, background)
    return {name: values.cpu().numpy() for name, values in scores.items()}


def _fused_scores(dataset: MultiViewDataset, rows: np.ndarray, of_camera: np.ndarray) -> dict[str, np.ndarray]:
    """Errors of the fused poses of `rows` in the frames of their cameras, by the same metrics."""
    errors = pose_scores(torch.from_numpy(of_camera), torch.from_numpy(dataset.labels["3D"][rows]), "fused_")
    scores = {name: np.full(len(dataset), np.nan) for name in errors}
    for name, values in errors.items():
        scores[name][rows] = values.numpy()
    return scores


def _quarters(rows: np.ndarray, scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The scores of trust of each quarter of `rows`, from that trusted most; NaN elsewhere, which means leave out."""
    order = rows[np.argsort(-scores["trust"][rows], kind="stable")]
    columns = {}
    for number, quarter in enumerate(np.array_split(order, 4), 1):
        for name in QUARTER_SCORES:
            column = columns[f"{name}_quarter_{number}"] = np.full_like(scores[name], np.nan)
            column[quarter] = scores[name][quarter]
    return columns


def pose_scores(predicted: torch.Tensor, target: torch.Tensor, prefix: str = "") -> dict[str, torch.Tensor]:
    """Every metric, with `prefix`, of poses (N,51) or (N,17,3) in meters: name -> (N,), mm."""
    return {prefix + name: 1000 * metric(predicted, target) for name, metric in POSE_METRICS.items()}


def _view_scores(
    output: torch.Tensor, target: torch.Tensor, background: torch.Tensor | None, prefix: str = ""
) -> dict[str, torch.Tensor]:
    scores = {prefix + "psnr": psnr(output, target), prefix + "ssim": ssim(output, target)}
    if background is not None:
        scores[prefix + "psnr_foreground"] = psnr(output, target, foreground_mask(target, background))
    return scores


def check_finite(values: torch.Tensor, what: str) -> None:
    """UserError where an output of a network, its `what`, has no score."""
    if not values.isfinite().all():
        raise UserError(f"the network's {what} contains NaN or infinity; its training diverged, and it has no score")


def _table(dataset: MultiViewDataset, rows: np.ndarray, scores: dict[str, np.ndarray]) -> list[Row]:
    subjects = dataset.labels["subj"][rows].astype(str)
    motions = motion_names(dataset)[rows]
    return group_means(subjects, motions, {name: values[rows] for name, values in scores.items()})


_VIEW_SCORES = {prefix + name for prefix in ("", "background_") for name in ("psnr", "ssim", "psnr_foreground")}
