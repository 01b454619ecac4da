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

from datasets import FrameDataset, LayoutWriter
from datasets.triangulation.rays import meeting_points, ray_misses
from models.scene.boxes import box_sizes, crop_frames
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
_MOST = 100_000  # combinations of boxes that are tried at an instant


class Views(NamedTuple):
    """What a network finds in N frames: K boxes in each, as arrays.

    crops, backgrounds (K,N,R,R,3) uint8; rays (K,N,3) through the boxes' centers, unit, world; rotations (K,N,3,3) from
    the world to the cameras of the boxes; directions (K,N,3) of the centers at depth 1, and sides (K,N) of the boxes
    there, in the frame's camera; foreground (K,N), the share of each box that differs from the background.
    """

    crops: np.ndarray
    backgrounds: np.ndarray
    rays: np.ndarray
    rotations: np.ndarray
    directions: np.ndarray
    sides: np.ndarray
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

    The crops are what the network's encoder sees of its boxes, `inputDimension` pixels wide, without the fading border.
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
        views = look(network, dataset, rows, hardware)
        tracks = follow(_instants(views, dataset, rows))
        crops = sum(len(rows_at) for track in tracks for rows_at, _ in track)
        if tracks and not writer.has(key):
            images, backgrounds, columns = _cut(views, tracks, labels, rows, people)
            writer.add(images, backgrounds, columns, key)
        people += len(tracks)
        total = Counts(total.instants + len(np.unique(labels["frame"][rows])), people, total.crops + crops)
    if not total.crops:
        raise UserError(f"{str(dataset.root)!r}: nobody was found in all cameras; has the detector learned?")
    writer.finish()
    return total


@torch.no_grad()
def look(network: DetectEncodeDecode, dataset: FrameDataset, rows: np.ndarray, hardware: Hardware) -> Views:
    """What `network` finds in the frames `rows` (N,) of `dataset`."""
    parts = [
        _look(network, hardware.move(dataset.__getitems__(chunk)))
        for chunk in np.array_split(rows, -(-len(rows) // 32))
    ]
    return Views(*(np.concatenate(part, axis=1) for part in zip(*parts, strict=True)))


def _look(network: DetectEncodeDecode, batch: Batch) -> Views:
    frames = normalize_batch(batch)
    size = tuple(batch["img"].shape[-2:])
    boxes, _ = network.detect(frames["img"], frames["bg"])
    directions = box_directions(boxes, batch["intrinsics"], size)
    rays = torch.einsum("bij,kbj->kbi", batch["extrinsic_rot_inv"], directions)
    sides = box_sizes(boxes)[..., 1] * (size[0] - 1) / batch["intrinsics"][:, 1, 1]
    seen = crop_frames(foreground_map(frames["img"], frames["bg"])[:, None].float(), boxes, network.size // 2)

    def cut(images: torch.Tensor) -> torch.Tensor:
        crops = crop_frames(images.float(), boxes, network.size).round().clamp(0, 255).byte()
        return crops.unflatten(0, boxes.shape[:2]).movedim(2, -1)

    found = Views(
        crops=cut(batch["img"]),
        backgrounds=cut(batch["bg"]),
        rays=rays / rays.norm(dim=-1, keepdim=True),
        rotations=crop_rotations(boxes, batch["intrinsics"], size) @ batch["extrinsic_rot"],
        directions=directions,
        sides=sides,
        foreground=seen.mean((1, 2, 3)).unflatten(0, boxes.shape[:2]),
    )
    return Views(*(values.cpu().numpy() for values in found))


def _instants(views: Views, dataset: FrameDataset, rows: np.ndarray) -> Iterator[tuple[np.ndarray, list[Group]]]:
    """For each instant the places of its cameras in `rows`, and the people there."""
    frames, centers = dataset.labels["frame"][rows], dataset.labels["camera_position"][rows]
    for frame in np.unique(frames):
        at = np.flatnonzero(frames == frame)
        if len(at) > 1:
            people = group_boxes(views.rays[:, at], centers[at], views.foreground[:, at] >= _SEEN)
            yield at, people + empty_boxes(views.foreground[:, at] < _EMPTY)


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


def _cut(
    views: Views, tracks: list, labels: "dict[str, np.ndarray]", rows: np.ndarray, first: int
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Crops, backgrounds and columns of labels of the people of a sequence, who are numbered from `first`."""
    places = [
        (first + person, box, row)
        for person, track in enumerate(tracks)
        for at, group in track
        for box, row in zip(group.boxes, at, strict=True)
    ]
    person, box, row = np.array(places).T
    rotation, side = views.rotations[box, row], views.sides[box, row, None]
    corner = views.directions[box, row, :2] - side / 2
    intrinsic = np.zeros((len(row), 3, 3))
    intrinsic[:, 0, 0] = intrinsic[:, 1, 1] = 1 / side[:, 0]
    intrinsic[:, :2, 2], intrinsic[:, 2, 2] = 0.5, 1
    columns = {
        "seq": person,
        # Who they are, nothing tells: one subject, of whose sequences some are held out.
        "subj": np.ones_like(person),
        "frame": labels["frame"][rows[row]],
        "cam": labels["cam"][rows[row]],
        "extrinsic_rot": rotation,
        "extrinsic_rot_inv": rotation.transpose(0, 2, 1),
        "bounding_box_cam": np.concatenate([corner, side, side], axis=1),
        "intrinsic_crop": intrinsic,
    }
    return views.crops[box, row], views.backgrounds[box, row], columns
