"""Boxes of the person, from a file or by comparison with the background, and their triangulation."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.cameras.calibration import composed, parse_numbers
from datasets.cameras.camera import Camera, opencv
from utils.errors import UserError
from utils.readers import MISSING, read_csv, read_json, whole_number

Boxes = dict[str, dict[int, np.ndarray]]  # camera name -> frame number -> x0, y0, width, height, pixels

BOX_COLUMNS = ("camera", "frame", "x0", "y0", "w", "h")
DETECTION_WIDTH = 480  # images are downscaled to this width for detection, pixels
MIN_DIFFERENCE = 28  # gray levels, of any channel
MIN_AREA = 0.002  # of the image
SECOND_AREA = 0.3  # of the largest difference, from which on another one is no part of the person or noise
PERSON_METERS = 1.6  # average height of a box: gives the distance where rays are nearly parallel
DISTANCE_WEIGHT = 0.02
MAX_RAY_DISTANCE = 0.4  # meters between the person and the ray through a box's center


def read_boxes(path: str | Path, cameras: Sequence[str]) -> Boxes:
    """Boxes of one person, from a CSV file with columns camera, frame, x0, y0, w, h, or a JSON list of such objects.

    Frames are counted from 0 in each camera's own video. Frames without the person are missing. Raises UserError with
    the number of the faulty box.
    """
    path = Path(path)
    json = path.suffix.lower() == ".json"
    rows = read_json(path, list) if json else read_csv(path, BOX_COLUMNS)
    # A cell that a row of CSV lacks is None too, but that row was cut off.
    missing = MISSING | ({"none"} if json else set())
    boxes: Boxes = {name: {} for name in cameras}
    for number, row in enumerate(rows, 1):
        where = f"{path}: box {number}"
        name = row.get("camera") if isinstance(row, dict) else row
        name = composed(name) if isinstance(name, str) else name
        # Programs that write a row for each frame leave those without a person empty, or fill in NaN.
        if (
            isinstance(row, dict)
            and _lacks(row, BOX_COLUMNS[2:], missing)
            and (name in boxes or _lacks(row, BOX_COLUMNS, missing))
        ):
            continue
        if not isinstance(name, str) or name not in boxes or not isinstance(row, dict):
            raise UserError(f"{where}: camera {name!r}; expected one of {', '.join(cameras)}")
        given = parse_numbers(row, "frame", 1, where)[0]
        frame = whole_number(given)
        box = np.concatenate([parse_numbers(row, name, 1, where) for name in BOX_COLUMNS[2:]])
        if frame is None or (box[2:] <= 0).any():
            raise UserError(
                f"{where}: frame {given:g}, box {box.tolist()}; expected a whole frame from 0, w and h above 0"
            )
        if frame in boxes[name]:
            raise UserError(f"{where}: a second box of camera {name!r} in frame {frame}; expected one person")
        boxes[name][frame] = box
    return boxes


def _lacks(row: dict, columns: Sequence[str], missing: set[str]) -> bool:
    return all(column in row and str(row[column]).strip().lower() in missing for column in columns)


class Ray(NamedTuple):
    """The ray from a camera's `center` (3,) through the center of a box: unit `direction` (3,), world frame.

    distance: meters, estimated from the size of the box.
    """

    center: np.ndarray
    direction: np.ndarray
    distance: float


class PersonDetector:
    """Detects one person as the difference to the `background` (H,W,3) uint8 of a fixed camera."""

    def __init__(self, background: np.ndarray):
        self.scale = min(1.0, DETECTION_WIDTH / background.shape[1])
        self.background = self._shrink(background)

    def __call__(self, frame: np.ndarray) -> np.ndarray | None:
        """Box x0, y0, width, height (pixels) of the largest difference to the background of a frame; None for none."""
        found = self.largest(frame)
        return None if found is None else found[0]

    def largest(self, frame: np.ndarray) -> tuple[np.ndarray, float] | None:
        """The box of the largest difference, and the area of the second largest as a ratio; None for none."""
        cv2 = opencv()
        difference = cv2.absdiff(self._shrink(frame), self.background).max(axis=2)
        mask = (cv2.medianBlur(difference, 5) > MIN_DIFFERENCE).astype(np.uint8)
        # Limbs of the background's color split a person into parts: closing joins parts that are near.
        joined = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((13, 5), np.uint8))
        _, parts, statistics, _ = cv2.connectedComponentsWithStats(joined)
        areas = np.bincount(parts[mask > 0], minlength=len(statistics))
        areas[0] = 0
        largest = int(np.argmax(areas))
        if areas[largest] < MIN_AREA * mask.size:
            return None
        second = float(np.sort(areas)[-2] / areas[largest])
        return statistics[largest, :4] / self.scale, second

    def _shrink(self, image: np.ndarray) -> np.ndarray:
        cv2 = opencv()
        return cv2.resize(image, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)


def locate_person(cameras: Sequence[Camera], boxes: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]] | None:
    """Position (3,) of the person in the world, meters, and indices of the boxes that agree; None where no two agree.

    The position is the point nearest to the rays through the centers of the largest set of boxes that agree. Between
    sets of the same size, the sizes of the boxes decide. Where rays are nearly parallel, the sizes give the distance.
    """
    rays = [_box_ray(camera, box) for camera, box in zip(cameras, boxes, strict=True)]
    # Every pair proposes a point, as in RANSAC, but there are few enough cameras to try all pairs.
    best, agreeing = (0, 0.0), []
    for pair in combinations(range(len(rays)), 2):
        miss, misfit = _errors(_nearest_point([rays[i] for i in pair]), rays)
        used = np.flatnonzero(miss <= MAX_RAY_DISTANCE).tolist()
        score = (len(used), -misfit[used].sum())
        if set(pair) <= set(used) and score > best:
            best, agreeing = score, used
    return (_nearest_point([rays[i] for i in agreeing]), agreeing) if agreeing else None


def _box_ray(camera: Camera, box: np.ndarray) -> Ray:
    ray = np.append(camera.normalized(box[:2] + box[2:] / 2), 1.0)
    # The longer side is the height of a standing person, and the length of a lying one.
    depth = camera.intrinsics[1, 1] * PERSON_METERS / max(box[2:])
    length = np.linalg.norm(ray)
    return Ray(camera.center, camera.rotation.T @ (ray / length), depth * length)


def _nearest_point(rays: Sequence[Ray]) -> np.ndarray:
    """The point (3,) nearest to all rays in the world frame, by weighted least squares."""
    left, right = np.zeros((3, 3)), np.zeros(3)
    for ray in rays:
        along = np.outer(ray.direction, ray.direction)
        # Full weight across the ray. The small weight along it pulls to the estimated distance, which matters only
        # where the rays cannot tell the distance.
        weight = np.eye(3) - along + DISTANCE_WEIGHT**2 * along
        left += weight
        right += weight @ (ray.center + ray.distance * ray.direction)
    return np.linalg.solve(left, right)


def _errors(point: np.ndarray, rays: Sequence[Ray]) -> tuple[np.ndarray, np.ndarray]:
    """Distances (C,) of a point from the rays, meters, and (C,) log ratios of its distance to that of the box size."""
    offsets = np.stack([point - ray.center for ray in rays])
    directions = np.stack([ray.direction for ray in rays])
    along = np.einsum("ci,ci->c", offsets, directions)
    miss = np.linalg.norm(offsets - along[:, None] * directions, axis=1)
    misfit = np.abs(np.log(np.maximum(along, 1e-3) / [ray.distance for ray in rays]))
    return np.where(along > 0, miss, np.inf), misfit
