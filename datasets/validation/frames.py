"""Checks a training layout of full frames of several people (version 2)."""

import numpy as np

from datasets.cameras.agreement import MAX_VIEW_DIFFERENCE, view_disagreement
from datasets.layout.frame_writer import FRAME_CHANNELS
from datasets.layout.groups import Groups, group_rows
from datasets.layout.labels import FRAME_ROW_KEYS, MAX_JOINT_DISTANCE, NOBODY, OPTIONAL_FRAME_KEYS, Labels
from datasets.layout.png import map_threads
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

PIXEL = 1.0  # how far boxes may reach beyond the frame, and masks beyond boxes: rounding
MAX_ROOTS_OUTSIDE = 0.05  # share of the people whose root may lie outside their box: errors of detectors
OCCLUDED = 0.1  # a person of whom others hide more counts as occluded


def validate_frames(labels: Labels) -> str:
    """Check every label and decode every image of a layout of version 2; returns a summary table.

    Raises UserError for the first error: a missing or misshapen key, NaN where none may be, a matrix that is not a
    rotation or no matrix of intrinsics, a column that changes its person within a sequence, labels of nobody, boxes
    outside the frame, roots outside their boxes, a pose that is not root-centered or not in meters, joints in another
    order, cameras that disagree about a pose or a place, duplicate rows, instants of one camera only, an image that is
    missing, truncated, of another size or packed of another one, a mask of a person who is not there. Optional keys,
    poses and masks may be missing altogether.
    """
    check_labels(labels, [key for key in FRAME_ROW_KEYS if key not in OPTIONAL_FRAME_KEYS])
    check_rotations(labels)
    _check_intrinsics(labels)
    instants = check_instants(labels)
    check_views(labels, instants)
    _check_people(labels)
    images = TrainingImages(labels)
    _check_boxes(labels, images.files.size)
    about_places = _check_places(labels, instants)
    about_poses = _check_poses(labels, instants) if "3D" in labels else ["no 3D poses: stage 1 only"]
    kinds = _check_images(labels, images)
    return "\n".join([*_table(labels, instants, images.files.size, kinds), *about_places, *about_poses])


def _check_intrinsics(labels: Labels) -> None:
    matrix = labels["intrinsics"]
    fault = np.abs(matrix[:, 2] - [0, 0, 1]).max(1) + np.maximum(0, 1 - np.minimum(matrix[:, 0, 0], matrix[:, 1, 1]))
    check_rows(
        labels,
        fault,
        "'intrinsics' is no camera matrix in pixels (by {:.3g}){}; expected focal lengths above 1 px, last row 0 0 1",
        1e-4,
    )


def _check_people(labels: Labels) -> None:
    """Check that a column is one person throughout a sequence, and that nobody has labels."""
    people = labels["subj"]
    check_rows(labels, -people.min(1), "'subj' holds -{}{}; expected numbers from 0, or -1 for nobody", -NOBODY)
    ordered = np.sort(people, axis=1)
    twice = ((np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] != NOBODY)).any(1)
    check_rows(labels, twice, "'subj' has a person in two columns{1}; expected each once", 0)
    sequences = group_rows(labels, ("seq",))
    highest = np.maximum.reduceat(people[sequences.order], sequences.start)
    constant = np.empty_like(people)
    constant[sequences.order] = np.repeat(highest, sequences.count, axis=0)
    changed = ((people != constant) & (people != NOBODY)).any(1)
    check_rows(labels, changed, "'subj' changes within its sequence{1}; expected the same person in a column", 0)
    for key in ("3D", "box", "position", "occlusion"):
        if key in labels:
            known = np.isfinite(labels[key]).reshape(*people.shape, -1)
            partly = (known.any(-1) & ~known.all(-1)).any(1)
            check_rows(labels, partly, f"'{key}' of a person is NaN in part{{1}}; expected all or nothing", 0)
            ghosts = (known.any(-1) & (people == NOBODY)).any(1)
            check_rows(labels, ghosts, f"'{key}' is given where 'subj' is -1{{1}}; expected NaN for nobody", 0)


def _check_boxes(labels: Labels, size: tuple[int, int]) -> None:
    if "occlusion" in labels:
        beyond = np.nan_to_num(np.abs(labels["occlusion"] - 0.5) - 0.5).max(1)
        check_rows(labels, beyond, "'occlusion' is beyond 0 to 1 by {:.3g}{}; expected a share", 1e-4)
    if "box" not in labels:
        return
    box = labels["box"]
    empty = (box[..., 2:] <= 0).any((1, 2))
    check_rows(labels, empty, "'box' is empty{1}; expected a width and height above 0, or NaN", 0)
    limit = np.array(size[::-1])
    beyond = np.maximum(-box[..., :2], box[..., :2] + box[..., 2:] - limit)
    check_rows(
        labels,
        np.nan_to_num(beyond).max((1, 2)),
        "'box' reaches {:.1f} px beyond the frame{}; expected left, top, width, height inside "
        f"{limit[0]}x{limit[1]} px",
        PIXEL,
    )
    if "position" in labels:
        _check_roots(labels, limit)


def _check_roots(labels: Labels, limit: np.ndarray) -> None:
    """Check that roots are seen inside boxes, where the frame does not cut them: else intrinsics have another size."""
    box, position = labels["box"], labels["position"]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixel = np.einsum("nij,npj->npi", labels["intrinsics"], position)
        pixel = pixel[..., :2] / pixel[..., 2:]
    low, high = box[..., :2], box[..., :2] + box[..., 2:]
    known = np.isfinite(box).all(-1) & np.isfinite(position).all(-1)
    check_rows(
        labels,
        (known & (position[..., 2] <= 0)).any(1),
        "'position' of a person with a box is behind the camera{1}; expected z above 0",
        0,
    )
    whole = known & (low > PIXEL).all(-1) & (high < limit - PIXEL).all(-1)
    outside = whole & ~((pixel > low - PIXEL) & (pixel < high + PIXEL)).all(-1)
    if outside.sum() > MAX_ROOTS_OUTSIDE * whole.sum():
        row = int(np.argmax(outside.any(1)))
        raise UserError(
            f"{labels.path}: {outside.sum()} of {whole.sum()} people have their 'position' outside their 'box', "
            f"the first{labels.row_name(row)}; expected 'intrinsics' that project it into the box"
        )


def _world_agreement(labels: Labels, instants: Groups, points: np.ndarray, what: str) -> float:
    """Check that cameras agree about points (N,P,J,3), world; those of NaN are left out. Returns the largest
    difference, meters.
    """
    # A person whom not all cameras know is compared among those that do: the first of them stands in for the others.
    order = instants.order
    difference = np.zeros(len(points))
    for column in range(points.shape[1]):
        known = np.isfinite(points[order, column]).all((1, 2))
        rows = order[known]
        instant = np.repeat(np.arange(len(instants.start)), instants.count)[known]
        start = np.flatnonzero(np.diff(instant, prepend=-1))
        if len(rows):
            apart = view_disagreement(points[rows, column], start)
            difference[rows[start]] = np.maximum(difference[rows[start]], apart)
    check_rows(
        labels,
        difference,
        f"the cameras of one instant disagree about {what} by {{:.3g}} m{{}}; expected labels of the camera frame "
        "that 'extrinsic_rot_inv' rotates into one",
        MAX_VIEW_DIFFERENCE,
    )
    return float(difference.max())


def _check_places(labels: Labels, instants: Groups) -> list[str]:
    """Check that the cameras see a person at one place. Returns lines for the summary."""
    if "position" not in labels:
        return []
    depth = labels["position"][..., 2]
    lines = [f"depth of people: {np.nanmin(depth):.1f} to {np.nanmax(depth):.1f} m"] if np.isfinite(depth).any() else []
    if "camera_position" in labels:
        world = np.einsum("nij,npj->npi", labels["extrinsic_rot_inv"], labels["position"])
        world = (world + labels["camera_position"][:, None])[:, :, None]
        difference = _world_agreement(labels, instants, world, "'position'")
        lines.append(f"cameras agree about places within {1000 * difference:.2f} mm")
    return lines


def _check_poses(labels: Labels, instants: Groups) -> list[str]:
    """Check root, unit, order and agreement between cameras. Returns lines for the summary."""
    poses = labels["3D"].reshape(labels.num_rows, -1, 17, 3)
    reach = np.linalg.norm(poses, axis=-1)
    root = np.nan_to_num(reach[..., 0]).max(1)
    check_rows(labels, root, "'3D' has its root {:.3g} m from the origin{}; expected joint 0 at zero", 1e-4)
    farthest = np.nan_to_num(reach).max((1, 2))
    check_rows(
        labels, farthest, "'3D' has a joint {:.3g} from the root{}; expected meters, at most 3", MAX_JOINT_DISTANCE
    )
    known = poses[np.isfinite(poses).all((2, 3))]
    fault = order_fault(known) if len(known) else None
    if fault:
        raise UserError(f"{labels.path}: '3D': {fault}; expected the joints in the order of utils/skeleton.py")
    world = np.einsum("nij,npkj->npki", labels["extrinsic_rot_inv"], poses)
    difference = _world_agreement(labels, instants, world, "'3D'")
    source = [f"poses: {labels.label_source}"] if labels.label_source else []
    return [
        *source,
        f"{len(known)} poses; largest joint distance from the root: {farthest.max():.2f} m",
        f"cameras agree about 3D within {1000 * difference:.2f} mm",
    ]


def _check_images(labels: Labels, images: TrainingImages) -> list[str]:
    """Decode all images. A set with any mask must have all of them; backgrounds there must be. Returns the kinds."""
    from tqdm import tqdm

    kinds = [kind for kind in FRAME_CHANNELS if kind != "mask" or images.has(kind)]
    for kind in kinds:
        index = images.files.index(kind)
        rows = np.arange(labels.num_rows) if index is None else np.unique(index, return_index=True)[1]

        def check(row: int, kind: str = kind) -> None:
            image = images.read(row, kind)
            if kind == "mask":
                _check_mask(labels, images.files.path(row, kind), image, row)

        with tqdm(desc=f"Checking {kind}", total=len(rows), unit="image") as bar:
            for done in map_threads(check, rows.tolist()):
                bar.update(done)
    return kinds


def _check_mask(labels: Labels, path: str, mask: np.ndarray, row: int) -> None:
    people = labels["subj"][row]
    for value in np.unique(mask[mask > 0]).tolist():
        if value > len(people) or people[value - 1] == NOBODY:
            raise UserError(f"{path} holds {value}; expected 0, or p + 1 of a person p of this row")
        if "box" in labels:
            top, left = (where.min() for where in np.nonzero(mask == value))
            bottom, right = (where.max() + 1 for where in np.nonzero(mask == value))
            box = labels["box"][row, value - 1]
            low, high = box[:2] - PIXEL, box[:2] + box[2:] + PIXEL
            # Negated, so that a person without a box is bad too.
            if not (left >= low[0] and top >= low[1] and right <= high[0] and bottom <= high[1]):
                raise UserError(f"{path} shows person {value - 1} outside its 'box' {box.tolist()}; expected it inside")


def _table(labels: Labels, instants: Groups, size: tuple[int, int], kinds: list[str]) -> list[str]:
    people = (labels["subj"] != NOBODY).sum(1)
    lines = count_table(labels, instants, "people", people, "frames")
    fewest, most = instants.count.min(), instants.count.max()
    height, width = size
    lines.append(f"frames: {width}x{height} px, {listed(kinds)}; cameras per instant: {fewest} to {most}")
    subjects = np.unique(labels["subj"][labels["subj"] != NOBODY]).tolist()
    shown = ", ".join(map(str, subjects[:10])) + (", ..." if len(subjects) > 10 else "")
    lines.append(f"{len(subjects)} subjects in {labels.num_people} columns" + (f": {shown}" if subjects else ""))
    if "box" in labels:
        seen = np.isfinite(labels["box"]).all(-1)
        text = f"boxes: {seen.sum()} of {people.sum()} people are in the frame"
        if "occlusion" in labels:
            text += f"; {(labels['occlusion'][seen] > OCCLUDED).sum()} are occluded by more than {OCCLUDED:.0%}"
        lines.append(text)
    return lines
