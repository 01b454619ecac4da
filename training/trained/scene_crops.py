"""Cutting out the people whom a network finds in full frames: a set of views of single people, without a label.

Whose boxes are one person's, the rays through their centers say: those of all cameras meet.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from datasets import BOX_METRES, FrameDataset, LayoutWriter
from datasets.triangulation.rays import meeting_points, ray_misses
from models.scene.boxes import box_matrices, box_sizes, crop_frames
from models.scene.network import DetectEncodeDecode
from models.scene.perspective import box_directions, crop_rotations
from training.loop.hardware import Hardware
from training.loop.loaders import Batch, normalize_batch
from training.stages.box_losses import foreground_map
from utils.errors import UserError

KEYS = ("img", "bg", "extrinsic_rot", "extrinsic_rot_inv", "intrinsics", "camera_position", "frame", "cam", "seq")
_MISS = 0.35  # meters between a ray and the point where all nearly meet: more is not one person
_APART = 0.35  # meters: two people are never closer
_STEP = 1.0  # meters that a person may move between instants
_SEEN = 0.05  # share of the box that differs from the background: less is nobody, or too little to learn from
_EMPTY = 0.003  # the same: less is surely nobody
_AT_ONCE = 32  # frames
_SIDE_OF_MAP = 32  # pixels of a box, in which its foreground is counted
_MOST = 100_000  # combinations of boxes that are tried at an instant


class Sequence(NamedTuple):
    """N frames of a sequence, ordered by instants, and the K boxes in each.

    `rows` (N,) of the set; `batch`: KEYS of them; `boxes` (K,N,2,3); `rays` (K,N,3) through their centers, unit, world;
    `foreground` (K,N), the share of each box that differs from the background.
    """

    rows: np.ndarray
    batch: Batch
    boxes: torch.Tensor
    rays: np.ndarray
    foreground: np.ndarray


class Group(NamedTuple):
    """One person at an instant: the number of the box in each camera, and the point (3,) where their rays meet.

    `empty`: boxes that show nobody, in any place.
    """

    boxes: tuple[int, ...]
    point: np.ndarray
    empty: bool = False


class Counts(NamedTuple):
    instants: int = 0
    people: int = 0
    crops: int = 0


def crop_people(network: DetectEncodeDecode, dataset: FrameDataset, output: str | Path, hardware: Hardware) -> Counts:
    """Write the people whom `network` finds in all cameras of `dataset` as crops, a layout of version 1.

    A crop is a square of BOX_METRES, `inputDimension` pixels wide, around the place where the rays through a person's
    boxes meet, without the fading border.
    A person of one sequence is a sequence of its own there, followed through time. So is nobody, where
    frames have fewer people than boxes: of that, the decoder learns to draw nothing. `dataset` reads KEYS.
    Resumes what was interrupted. Raises UserError where nobody was found.
    """
    if network.detector is None:
        raise UserError("disable_detector is True; expected a network with a detector, which finds the people")
    writer = LayoutWriter(output, size=network.size)
    labels = dataset.labels
    sequences = np.unique(labels["seq"])
    total, people = Counts(), 0
    for number in tqdm(sequences, "cropping", unit="sequence"):
        key = f"seq_{number:06d}"
        rows = np.flatnonzero(labels["seq"] == number)
        rows = rows[np.lexsort((labels["cam"][rows], labels["frame"][rows]))]
        # Computed again of a piece that is there: how many people it has, numbers those that follow.
        sequence = look(network, dataset, rows, hardware)
        tracks = follow(_instants(sequence))
        crops = sum(len(rows_at) for track in tracks for rows_at, _ in track)
        if tracks and not writer.has(key):
            writer.add(*_cut(sequence, tracks, network.size, people), key)
        people += len(tracks)
        total = Counts(total.instants + len(np.unique(labels["frame"][rows])), people, total.crops + crops)
    if not total.crops:
        raise UserError(f"{str(dataset.root)!r}: nobody was found in all cameras; has the detector learned?")
    writer.finish()
    return total


@torch.no_grad()
def look(network: DetectEncodeDecode, dataset: FrameDataset, rows: np.ndarray, hardware: Hardware) -> Sequence:
    """What `network` finds in the frames `rows` (N,) of `dataset`."""
    batch = dataset.__getitems__(rows)
    parts = [network_boxes(network, hardware.move(dict(zip(batch, part, strict=True)))) for part in _parts(batch)]
    boxes, rays, foreground = (torch.cat(part, dim=1).cpu() for part in zip(*parts, strict=True))
    return Sequence(rows, batch, boxes, rays.numpy(), foreground.numpy())


def _parts(batch: Batch) -> Iterator[tuple[torch.Tensor, ...]]:
    return zip(*(values.split(_AT_ONCE) for values in batch.values()), strict=True)


def network_boxes(network: DetectEncodeDecode, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes (K,B,2,3) of a batch of frames, the rays (K,B,3) through them, unit, world, and their foreground (K,B)."""
    frames, size = normalize_batch(batch), tuple(batch["img"].shape[-2:])
    boxes, _ = network.detect(frames["img"], frames["bg"])
    rays = torch.einsum("bij,kbj->kbi", batch["extrinsic_rot_inv"], box_directions(boxes, batch["intrinsics"], size))
    seen = crop_frames(foreground_map(frames["img"], frames["bg"])[:, None].float(), boxes, _SIDE_OF_MAP)
    return boxes, rays / rays.norm(dim=-1, keepdim=True), seen.mean((1, 2, 3)).unflatten(0, boxes.shape[:2])


def _instants(sequence: Sequence) -> Iterator[tuple[np.ndarray, list[Group]]]:
    """For each instant the places of its cameras among the frames, and the people there."""
    frames, centers = sequence.batch["frame"].numpy(), sequence.batch["camera_position"].double().numpy()
    for frame in np.unique(frames):
        at = np.flatnonzero(frames == frame)
        if len(at) > 1:
            foreground = sequence.foreground[:, at]
            people = group_boxes(sequence.rays[:, at].astype(np.float64), centers[at], foreground >= _SEEN)
            yield at, people + empty_boxes(foreground < _EMPTY)


def group_boxes(rays: np.ndarray, centers: np.ndarray, there: np.ndarray) -> list[Group]:
    """The people at an instant: one box in each of C cameras, whose rays all nearly meet, each box of one person.

    rays (K,C,3), unit, from `centers` (C,3), world; `there` (K,C) tells which boxes show somebody. Those whose rays
    meet best come first; of two at one place the second is none. UserError for more combinations than can be tried.
    """
    boxes, cameras = there.shape
    if boxes**cameras > _MOST:
        raise UserError(f"{boxes} boxes in {cameras} cameras: expected at most {_MOST} combinations of them")
    combinations = np.array(list(itertools.product(*(np.flatnonzero(camera) for camera in there.T))), dtype=int)
    if not len(combinations):
        return []
    chosen = rays[combinations.T, np.arange(cameras)[:, None]]  # (C,M,3)
    points = meeting_points(centers, chosen, np.ones(chosen.shape[:2]))
    misses = ray_misses(centers, chosen, points).max(0)
    groups: list[Group] = []
    for candidate in np.argsort(misses, kind="stable"):
        boxes_of, point = combinations[candidate], points[candidate]
        if misses[candidate] > _MISS:
            break
        taken = any((boxes_of == other.boxes).any() or np.linalg.norm(point - other.point) < _APART for other in groups)
        if not taken:
            groups.append(Group(tuple(boxes_of.tolist()), point))
    return groups


def empty_boxes(empty: np.ndarray) -> list[Group]:
    """Boxes that show nobody, one of each of C cameras; `empty` (K,C) tells which do."""
    count = empty.sum(0).min()
    numbers = [np.flatnonzero(camera)[:count] for camera in empty.T]
    return [Group(tuple(map(int, boxes)), np.full(3, np.nan), empty=True) for boxes in zip(*numbers, strict=True)]


def follow(instants: Iterator[tuple[np.ndarray, list[Group]]]) -> list[list[tuple[np.ndarray, Group]]]:
    """The people of a sequence: for each, the rows and the group of every instant at which it was found."""
    from scipy.optimize import linear_sum_assignment

    tracks: list[list[tuple[np.ndarray, Group]]] = []
    for at, groups in instants:
        gaps = np.array([[_gap(track[-1][1], group) for group in groups] for track in tracks])
        gaps = gaps.reshape(len(tracks), len(groups))
        known = {new: old for old, new in zip(*linear_sum_assignment(gaps), strict=True) if gaps[old, new] <= _STEP}
        for number, group in enumerate(groups):
            if number in known:
                tracks[known[number]].append((at, group))
            else:
                tracks.append([(at, group)])
    return tracks


def _gap(last: Group, new: Group) -> float:
    """Meters between two places of a person; nobody is anywhere, and never becomes somebody."""
    if last.empty or new.empty:
        return 0.0 if last.empty and new.empty else 2 * _STEP
    return float(np.linalg.norm(last.point - new.point))


def _cut(sequence: Sequence, tracks: list, side: int, first: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """Crops, backgrounds and columns of labels of the people of a sequence, who are numbered from `first`."""
    batch, size = sequence.batch, tuple(sequence.batch["img"].shape[-2:])
    images: dict[str, list[np.ndarray]] = {"img": [], "bg": []}
    columns: dict[str, list[np.ndarray]] = {}
    for person, track in enumerate(tracks, first):
        at = np.concatenate([places for places, _ in track])
        numbers = np.concatenate([group.boxes for _, group in track])
        found = {name: batch[name][at] for name in KEYS}
        boxes = sequence.boxes[numbers, at]
        if not track[0][1].empty:
            points = np.concatenate([np.broadcast_to(group.point, (len(places), 3)) for places, group in track])
            boxes = boxes_around(torch.from_numpy(points).float(), found, size)
        for name, crops in images.items():
            cut = crop_frames(found[name].float(), boxes[None], side).round().clamp(0, 255).byte()
            crops.append(cut.movedim(1, -1).numpy())
        for name, values in _rows(found, boxes, size).items():
            columns.setdefault(name, []).append(values)
        columns.setdefault("seq", []).append(np.full(len(at), person))
        # Who they are, nothing tells: one subject, of whose sequences some are held out.
        columns.setdefault("subj", []).append(np.ones(len(at), int))
    return (*map(np.concatenate, images.values()), {name: np.concatenate(parts) for name, parts in columns.items()})


def boxes_around(points: torch.Tensor, batch: Batch, size: tuple[int, int]) -> torch.Tensor:
    """Boxes (N,2,3) of BOX_METRES around points (N,3) of the world, in a batch of N frames of `size` (H,W).

    Where the rays of all cameras meet is more exact than any box, and the same place for all of them.
    """
    local = torch.einsum("nij,nj->ni", batch["extrinsic_rot"], points - batch["camera_position"])
    pixels = torch.einsum("nij,nj->ni", batch["intrinsics"], local / local[:, 2:])[:, :2]
    limits = pixels.new_tensor([size[1] - 1, size[0] - 1])
    sides = BOX_METRES * batch["intrinsics"][:, 1, 1] / local.norm(dim=1)
    return box_matrices(sides[:, None] / limits, pixels / limits * 2 - 1)


def _rows(batch: Batch, boxes: torch.Tensor, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Columns of the labels of crops: one box (N,2,3) in each of N frames."""
    direction = box_directions(boxes[None], batch["intrinsics"], size)[0]
    rotation = crop_rotations(boxes[None], batch["intrinsics"], size)[0] @ batch["extrinsic_rot"]
    side = (box_sizes(boxes)[:, 1:] * (size[0] - 1) / batch["intrinsics"][:, 1, 1:2]).numpy()
    intrinsic = np.zeros((len(boxes), 3, 3))
    intrinsic[:, 0, 0] = intrinsic[:, 1, 1] = 1 / side[:, 0]
    intrinsic[:, :2, 2], intrinsic[:, 2, 2] = 0.5, 1
    return {
        "frame": batch["frame"].numpy(),
        "cam": batch["cam"].numpy(),
        "extrinsic_rot": rotation.numpy(),
        "extrinsic_rot_inv": rotation.mT.numpy(),
        "bounding_box_cam": np.concatenate([direction[:, :2].numpy() - side / 2, side, side], axis=1),
        "intrinsic_crop": intrinsic,
    }
