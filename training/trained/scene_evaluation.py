"""Evaluating a network on full frames: who is found, masks, depth order, poses and composed frames."""

import copy
import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from datasets import FrameDataset
from models import evaluation_permutations
from models.parts.folding import fold_batch_norm
from models.scene.boxes import left_to_right
from training.loop.hardware import Hardware
from training.loop.loaders import Batch
from training.metrics import psnr
from training.scene_metrics import (
    DECODED,
    RECALL_IOU,
    Comparison,
    People,
    boxes_in_pixels,
    compare_people,
    depth_order,
    overlapping_pairs,
    people_as_crops,
    predicted_people,
    true_people,
)
from training.silhouettes import silhouettes
from training.stages.scenes import scene_inputs
from training.trained.evaluation import check_finite, label_note, pair_cameras, pose_scores, score_pairs
from training.trained.scene_tables import scene_table, scene_text
from training.trained.tables import Row, write_evaluation
from utils.errors import UserError
from utils.files import check_writable
from utils.images import denormalize
from utils.skeleton import NUM_JOINTS

_WHERE = ("box", "mask")  # labels of which either says where people are
_SURE = 0.5  # of a silhouette, 0..1
_LABELS = ("subj", "3D", "box", "mask", "position", "occlusion")


class SeenPeople(NamedTuple):
    """What a network sees in B frames: its people, and their poses (B,K,17,3), meters, camera frame, or None.

    `decoded`: the people by their decoded masks alone, wherever the frame is its background; None without masks.
    """

    people: People
    poses: torch.Tensor | None
    decoded: People | None = None


def evaluate_scenes(
    network: nn.Module, dataset: FrameDataset, config: dict, hardware: Hardware, folder: str | os.PathLike | None = None
) -> list[Row]:
    """Evaluate `network` on every frame of `dataset`, each once, in a fixed order.

    People are found in a frame by itself, and matched one to one with those of its labels. With an image decoder each
    frame is also composed from another camera's of the same instant, beside its background alone; without one there are
    no masks: every box counts as a person, and is compared with the crop around one. With a pose decoder, poses of
    people who were found are compared.

    Returns rows as `scene_table` does, the last over all, with those scores of `SCENE_TABLES` that labels and network
    allow. Also writes `evaluation.csv` and `evaluation.md` into `folder`, if given. `dataset` must read all that
    the set has. Config keys: batch_size_test, every_nth_frame, flip_test, num_workers, preload_images. Raises UserError
    when an output is not finite, for poses of people whose place in the frame no label tells, and where nothing can be
    measured.
    """
    pairs = pair_cameras(dataset.labels, config["every_nth_frame"])
    # Composed frames can be compared without any label.
    composes = network.decoder is not None and (pairs[:, 0] != pairs[:, 1]).any()
    compares_poses = network.pose_decoder is not None and "3D" in dataset.keys
    if (compares_poses or not composes) and not set(_WHERE) & set(dataset.keys):
        raise UserError(
            f"{str(dataset.root)!r} has neither boxes nor masks of people; expected either, to tell who is found and "
            "whose pose is whose"
        )
    if folder is not None:
        check_writable(Path(folder) / "evaluation.csv")
    folded = fold_batch_norm(network)
    folded.flip_test = config["flip_test"]
    score = partial(_batch_scores, folded, hardware)
    scores = score_pairs(dataset, pairs, score, config, hardware, lambda name: "psnr" in name)
    # Of an odd number of cameras one is in two pairs; it counts once.
    table = _table({name: values[np.unique(pairs)] for name, values in scores.items()})
    if folder is not None:
        write_evaluation(folder, table, "\n\n".join(filter(None, [label_note(dataset), scene_text(table)])))
    return table


def see_frames(network: nn.Module, inputs: Mapping[str, torch.Tensor], also: Iterable[str] = ()) -> Batch:
    """The outputs that `seen_people` needs, the latents and those named `also`: frames as they show themselves.

    As `seen` among further inputs, they spare a network seeing the same frames again.
    """
    has = {
        "ST_depth": network.depths,
        "radiance_normalized": network.decoder is not None,
        "masks": network.decoder is not None,
        "3D": network.pose_decoder is not None,
    }
    names = ["spatial_transformer", "latent_fg", "latent_3d", *(name for name in has if has[name]), *also]
    return scene_outputs(network, inputs, names, torch.arange(len(inputs["img"]), device=inputs["img"].device))


def scene_outputs(
    network: nn.Module, inputs: Mapping[str, torch.Tensor], names: Iterable[str], target: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The outputs `names` of `network`, where frame i is rendered for the view of frame `target[i]`."""
    # Of a copy that shares its weights: threads may ask for other outputs at the same time.
    asked = copy.copy(network)
    asked.output_types = tuple(names)
    own = torch.arange(len(target), device=target.device)
    return asked({**inputs, "shuffled_pose": target, "shuffled_appearance": own})


def seen_people(
    network: nn.Module, outputs: Mapping[str, torch.Tensor], inputs: Mapping[str, torch.Tensor]
) -> SeenPeople:
    """People and poses, box by box, of the outputs of `network` for the frames `img` (B,3,H,W) of its `inputs`."""
    boxes = outputs["spatial_transformer"]
    check_finite(boxes, "box")
    if "radiance_normalized" in outputs:
        check_finite(outputs["radiance_normalized"], "mask")
        decoded = outputs["radiance_normalized"], outputs.get("ST_depth"), outputs["masks"]
        people = predicted_people(*decoded, silhouettes(inputs["img"], inputs["bg"]) >= _SURE)
        people, decoded = _on_cpu(people), _on_cpu(predicted_people(*decoded, visible=DECODED))
    else:
        everybody = torch.ones(boxes.shape[1::-1], dtype=torch.bool)
        pixels = boxes_in_pixels(boxes, inputs["img"].shape[-2:])
        depths = outputs["ST_depth"].T if network.depths else None
        people, decoded = _on_cpu(People(everybody, pixels, depths=depths)), None
    if "3D" not in outputs:
        return SeenPeople(people, None, decoded)
    check_finite(outputs["3D"], "pose")
    poses = network.denormalize_pose(outputs["3D"].float())
    # They come from left to right.
    order = left_to_right(boxes).T[..., None, None].expand_as(poses)
    return SeenPeople(people, torch.empty_like(poses).scatter(1, order, poses).cpu(), decoded)


def compare_seen(people: People, true: People, labels: Batch, size: tuple[int, int]) -> Comparison:
    """`compare_people` of the people that a network sees in frames of `size` (H,W), and those of their `labels`.

    Without masks the boxes of `people` are those of crops.
    """
    if people.maps is None:
        true = people_as_crops(true, labels.get("box"), size)
    return compare_people(people, true)


def _on_cpu(people: People) -> People:
    return People(*(None if values is None else values.cpu() for values in people))


@torch.no_grad()
def _batch_scores(network: nn.Module, hardware: Hardware, batch: Batch) -> dict[str, np.ndarray]:
    """Every score of one batch of camera pairs: of frames (B,), people (B,P) and pairs of people (B,P,P)."""
    labels = {key: batch[key] for key in _LABELS if key in batch}
    inputs = scene_inputs(hardware.move({key: values for key, values in batch.items() if key not in labels}))
    scores = {"present": batch["subj"] >= 0}
    if any(key in labels for key in _WHERE):
        with hardware.autocast():
            outputs = see_frames(network, inputs)
        inputs["seen"], seen = outputs, seen_people(network, outputs, inputs)
        scores |= _people_scores(seen, labels, network, tuple(inputs["img"].shape[-2:]))
    if network.decoder is not None:
        target, _ = evaluation_permutations(len(inputs["img"]), 2, device=hardware.device)
        with hardware.autocast():
            output = scene_outputs(network, inputs, ["img"], target)["img"]
        scores |= _view_scores(output, inputs)
    if "occlusion" in labels:
        scores["occlusion"] = labels["occlusion"]
    return {name: values.cpu().double().numpy() for name, values in scores.items()}


def _people_scores(
    seen: SeenPeople, labels: Batch, network: nn.Module, size: tuple[int, int]
) -> dict[str, torch.Tensor]:
    true = true_people(labels)
    found = compare_seen(seen.people, true, labels, size)
    recall = (found.box_iou >= RECALL_IOU).double().masked_fill(~true.present, torch.nan)
    scores = {"present": true.present, "recall": recall, "box_iou": found.box_iou}
    if found.mask_iou is not None:
        scores["mask_iou"] = found.mask_iou
        scores["decoded_mask_iou"] = compare_people(seen.decoded, true).mask_iou
    scores |= {"missed": found.missed, "false": found.false}
    if seen.people.depths is not None and true.depths is not None and "occlusion" in labels:
        pairs = overlapping_pairs(true, labels["occlusion"], labels.get("box"))
        scores["depth_order"] = depth_order(seen.people, found.match, pairs)
    if seen.poses is not None and "3D" in labels:
        scores |= _matched_pose_scores(seen.poses, labels["3D"], found.match, network.pose_mean.cpu())
    return scores


def _matched_pose_scores(
    poses: torch.Tensor, labels: torch.Tensor, match: torch.Tensor, mean_pose: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Errors (B,P) of poses (B,K,17,3) against the labels (B,P,51) of people with a `match` (B,P); NaN for others."""
    frame, person = torch.nonzero((match >= 0) & labels.isfinite().all(-1), as_tuple=True)
    target = labels[frame, person].unflatten(-1, (NUM_JOINTS, 3))
    predicted = poses[frame, match[frame, person]]
    errors = pose_scores(predicted, target)
    errors |= pose_scores(mean_pose.view(NUM_JOINTS, 3).expand_as(target), target, "mean_pose_")
    scores = {}
    for name, values in errors.items():
        scores[name] = torch.full(match.shape, torch.nan, dtype=torch.float64)
        scores[name][frame, person] = values.double()
    return scores


def _view_scores(output: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    check_finite(output, "image")
    image, background = denormalize(inputs["img"]), denormalize(inputs["bg"])
    scores = {"psnr": psnr(denormalize(output), image), "background_psnr": psnr(background, image)}
    # A frame that is its background, without anybody, is exact there (100 dB), and tells nothing of the network.
    empty = (image == background).flatten(1).all(1)
    return {name: values.masked_fill(empty, torch.nan) for name, values in scores.items()}


def _table(scores: dict[str, np.ndarray]) -> list[Row]:
    """Scores of N frames: (N,), of people (N,P) and of pairs (N,P,P) -> the rows of the table."""
    present = scores.pop("present") > 0
    occlusion = scores.pop("occlusion", np.full(present.shape, np.nan))
    number = present.sum(1)
    # Of a frame, that of the person who is hidden most; nobody is hidden where nobody is.
    largest = np.where(present, occlusion, 0).max(1, initial=0)
    frames = {name: values for name, values in scores.items() if values.ndim == 1}
    people = {name: values[present] for name, values in scores.items() if values.ndim == 2}
    pairs = {name: values for name, values in scores.items() if values.ndim == 3}
    compared = np.isfinite(pairs["depth_order"]) if pairs else np.zeros((*present.shape, present.shape[1]), bool)
    at, _, behind = np.nonzero(compared)
    return scene_table(
        {"people": number, "occlusion": largest, **frames},
        {"people": np.repeat(number, number), "occlusion": occlusion[present], **people},
        {
            "people": number[at],
            "occlusion": occlusion[at, behind],
            **{name: values[compared] for name, values in pairs.items()},
        },
    )
