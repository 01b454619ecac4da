"""Checks a training layout of crops (version 1)."""

from collections.abc import Callable

import numpy as np

from datasets.cameras.agreement import MAX_VIEW_DIFFERENCE, view_disagreement
from datasets.layout.groups import Groups, group_rows
from datasets.layout.labels import MAX_JOINT_DISTANCE, ROW_KEYS, Labels
from datasets.layout.png import map_threads
from datasets.layout.writer import CROP_CHANNELS
from datasets.validation.common import (
    TrainingImages,
    check_instants,
    check_labels,
    check_rotations,
    check_rows,
    check_views,
    count_table,
    listed,
)
from utils.errors import UserError
from utils.skeleton import order_fault

MAX_EMPTY_MASKS = 0.01  # share of all masks


def validate_crops(labels: Labels) -> str:
    """Check every label and decode every crop of a layout of version 1; returns a summary table.

    Raises UserError for the first error: a missing or misshapen key, NaN, a matrix that is not a rotation or not the
    inverse that it should be, a pose that is not root-centered or not in meters, joints in another order, cameras that
    disagree about a pose, duplicate rows, instants of one camera only, a crop that is missing, truncated, of another
    size, or packed of another one. A layout may lack all background crops, all masks, and all 3D poses with their
    statistics.
    """
    check_labels(labels, ROW_KEYS)
    check_rotations(labels)
    instants = _check_instants(labels)
    about_poses = _check_poses(labels, instants) if "3D" in labels else ["no 3D poses: stage 1 only"]
    size, kinds = _check_crops(labels)
    return "\n".join([*_table(labels, instants, size, kinds), *about_poses])


def _check_poses(labels: Labels, instants: Groups) -> list[str]:
    """Check root, unit and agreement between cameras. Returns lines for the summary."""
    poses = labels["3D"].reshape(-1, 17, 3)
    root = np.abs(poses[:, 0]).max(axis=1)
    check_rows(labels, root, "'3D' has its root {:.3g} m from the origin{}; expected joint 0 at zero", 1e-4)
    reach = np.linalg.norm(poses, axis=2).max(axis=1)
    check_rows(labels, reach, "'3D' has a joint {:.3g} from the root{}; expected meters, at most 3", MAX_JOINT_DISTANCE)
    fault = order_fault(poses)
    if fault:
        raise UserError(f"{labels.path}: '3D': {fault}; expected the joints in the order of utils/skeleton.py")
    difference = _check_views_agree(labels, instants)
    source = [f"poses: {labels.label_source}"] if labels.label_source else []
    return [
        *source,
        f"largest joint distance from the root: {reach.max():.2f} m",
        f"cameras agree about 3D within {1000 * difference:.2f} mm",
    ]


def _check_instants(labels: Labels) -> Groups:
    instants = check_instants(labels)
    # Folders are named by `seq` alone: crops of a second subject would overwrite those of the first.
    sequences = group_rows(labels, ("seq", "subj"))
    shared = np.flatnonzero(np.diff(labels["seq"][sequences.first]) == 0)
    if len(shared):
        seq = labels["seq"][sequences.first][shared[0]]
        raise UserError(f"{labels.path}: two subjects share seq {seq}; expected one subject per seq")
    check_views(labels, instants)
    return instants


def _check_views_agree(labels: Labels, instants: Groups) -> float:
    """Largest distance (meters) of a joint between two cameras of an instant, rotated into the world frame."""
    world = np.einsum("nij,npj->npi", labels["extrinsic_rot_inv"], labels["3D"].reshape(-1, 17, 3))
    difference = np.zeros(labels.num_rows)
    difference[instants.first] = view_disagreement(world[instants.order], instants.start)
    check_rows(
        labels,
        difference,
        "the cameras of one instant disagree about '3D' by {:.3g} m{}; expected camera-frame poses that "
        "'extrinsic_rot_inv' rotates into one pose",
        MAX_VIEW_DIFFERENCE,
    )
    return float(difference.max())


def _check_crops(labels: Labels) -> tuple[int, list[str]]:
    """Decode all crops. Returns their side in pixels and the kinds that exist."""
    from tqdm import tqdm

    images, count = TrainingImages(labels), labels.num_rows
    # A set of moving cameras has no background at all; a set with any background must have all of them. So with masks.
    kinds = [kind for kind in CROP_CHANNELS if kind == "img_crop" or images.has(kind)]
    empty_masks: list[str] = []
    for kind in kinds:
        with tqdm(desc=f"Checking {kind}", total=count, unit="crop") as bar:
            for done in map_threads(_crop_checker(images, kind, empty_masks), range(count)):
                bar.update(done)
    # Now and then somebody is hidden by furniture; where that is common, something else went wrong.
    if len(empty_masks) > MAX_EMPTY_MASKS * count:
        raise UserError(
            f"{len(empty_masks)} of {count} masks are empty, such as {empty_masks[0]}; expected 255 at the person"
        )
    return images.files.size, kinds


def _crop_checker(images: TrainingImages, kind: str, empty_masks: list[str]) -> Callable[[int], None]:
    def check(row: int) -> None:
        crop = images.read(row, kind)
        if kind == "mask_crop" and not crop.any():
            empty_masks.append(images.files.path(row, kind))

    return check


def _table(labels: Labels, instants: Groups, size: int, kinds: list[str]) -> list[str]:
    lines = count_table(labels, instants, "subject", labels["subj"], "crops")
    fewest, most = instants.count.min(), instants.count.max()
    lines.append(f"crops: {size}x{size} px, {listed(kinds)}; cameras per instant: {fewest} to {most}")
    return lines
