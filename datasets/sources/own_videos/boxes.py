"""Where the person is in the pictures of a fixed camera: boxes from a file, or from the difference to the background;
and from the boxes of several cameras, where the person is in the world."""

import csv
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.cameras.calibration import parse_numbers, read_json
from datasets.cameras.camera import Camera, opencv
from utils.errors import UserError

Boxes = dict[str, dict[int, np.ndarray]]  # camera name -> frame number -> x0, y0, width, height in pixels

COLUMNS = ("camera", "frame", "x0", "y0", "w", "h")
DETECTION_WIDTH = 480  # pictures are shrunk to this for detection, pixels
MIN_DIFFERENCE = 28  # gray levels, of any channel
MIN_AREA = 0.002  # of the picture
PERSON_METERS = 1.6  # height of a box, on average: a weak hint of the distance, which decides where rays are parallel
HINT_WEIGHT = 0.02
MAX_RAY_DISTANCE = 0.4  # meters between the person and the ray through a box's center


def read_boxes(path: str | Path, cameras: Sequence[str]) -> Boxes:
    """Boxes of one person, from a CSV with the columns camera, frame, x0, y0, w, h, or a JSON list of such objects.

    Frames are those of each camera's own video, from 0; left out where the camera does not see the person. Raises
    UserError naming the row.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        rows = read_json(path)
        if not isinstance(rows, list):
            raise UserError(f"{path} holds {type(rows).__name__}; expected a list of objects with {', '.join(COLUMNS)}")
    else:
        rows = _read_csv(path)
    boxes: Boxes = {name: {} for name in cameras}
    for number, row in enumerate(rows, 1):
        where = f"{path}: box {number}"
        if not isinstance(row, dict) or row.get("camera") not in boxes:
            name = row.get("camera") if isinstance(row, dict) else row
            raise UserError(f"{where}: camera {name!r}; expected one of {', '.join(cameras)}")
        frame = parse_numbers(row, "frame", 1, where)[0]
        box = np.concatenate([parse_numbers(row, name, 1, where) for name in COLUMNS[2:]])
        if (box[2:] <= 0).any() or frame < 0 or frame != int(frame):
            raise UserError(
                f"{where}: frame {frame:g}, box {box.tolist()}; expected a whole frame from 0, w and h above 0"
            )
        if frame in boxes[row["camera"]]:
            raise UserError(
                f"{where}: a second box of camera {row['camera']!r} in frame {frame:g}; expected one person"
            )
        boxes[row["camera"]][int(frame)] = box
    return boxes


def _read_csv(path: Path) -> list[dict]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            rows = list(reader)
    except FileNotFoundError as error:
        raise UserError(f"no file {str(path)!r}; expected a CSV of boxes") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV ({error}); expected the columns {', '.join(COLUMNS)}") from error
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"{path}: no column '{missing[0]}'; expected the columns {', '.join(COLUMNS)}")
    return rows


class Ray(NamedTuple):
    """From a camera's `center` (3,) through a box's center: unit `direction` (3,), world, and the distance in meters
    that the size of the box hints at."""

    center: np.ndarray
    direction: np.ndarray
    distance: float


class PersonDetector:
    """Finds the one person before the `background` (H,W,3) uint8 of a fixed camera, as what differs from it."""

    def __init__(self, background: np.ndarray):
        self.scale = min(1.0, DETECTION_WIDTH / background.shape[1])
        self.background = self._shrink(background)

    def __call__(self, frame: np.ndarray) -> np.ndarray | None:
        """x0, y0, width, height in pixels of the largest thing that is not background in a frame (H,W,3); or None."""
        cv2 = opencv()
        difference = cv2.absdiff(self._shrink(frame), self.background).max(axis=2)
        mask = (cv2.medianBlur(difference, 5) > MIN_DIFFERENCE).astype(np.uint8)
        # limbs that look like the background break a person up: join what is near
        joined = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((13, 5), np.uint8))
        _, parts, statistics, _ = cv2.connectedComponentsWithStats(joined)
        areas = np.bincount(parts[mask > 0], minlength=len(statistics))
        areas[0] = 0
        largest = int(np.argmax(areas))
        if areas[largest] < MIN_AREA * mask.size:
            return None
        return statistics[largest, :4] / self.scale

    def _shrink(self, image: np.ndarray) -> np.ndarray:
        cv2 = opencv()
        return cv2.resize(image, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)


def locate_person(cameras: Sequence[Camera], boxes: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]] | None:
    """Where the person is, (3,) meters in the world, and which of the boxes agree; None where no two of them do.

    The point nearest to the rays through the centers of the boxes, of as many boxes as agree about it; between equally
    many, of those whose size fits their distance. Where rays are nearly parallel, the size decides the distance.
    """
    rays = [_box_ray(camera, box) for camera, box in zip(cameras, boxes, strict=True)]
    best, agreeing = (0, 0.0), []
    for pair in combinations(range(len(rays)), 2):
        miss, misfit = _errors(_nearest_point([rays[i] for i in pair]), rays)
        used = np.flatnonzero(miss <= MAX_RAY_DISTANCE).tolist()
        score = (len(used), -misfit[used].sum())
        if set(pair) <= set(used) and score > best:
            best, agreeing = score, used
    return (_nearest_point([rays[i] for i in agreeing]), agreeing) if agreeing else None


def _box_ray(camera: Camera, box: np.ndarray) -> Ray:
    middle = box[:2] + box[2:] / 2
    normalized = opencv().undistortPoints(middle[None, None], camera.intrinsics, camera.distortion)[0, 0]
    ray = np.append(normalized, 1.0)
    depth = camera.intrinsics[1, 1] * PERSON_METERS / max(box[2:])
    length = np.linalg.norm(ray)
    return Ray(camera.center, camera.rotation.T @ (ray / length), depth * length)


def _nearest_point(rays: Sequence[Ray]) -> np.ndarray:
    """The point (3,) nearest to all rays, in the world."""
    left, right = np.zeros((3, 3)), np.zeros(3)
    for ray in rays:
        along = np.outer(ray.direction, ray.direction)
        weight = np.eye(3) - along + HINT_WEIGHT**2 * along
        left += weight
        right += weight @ (ray.center + ray.distance * ray.direction)
    return np.linalg.solve(left, right)


def _errors(point: np.ndarray, rays: Sequence[Ray]) -> tuple[np.ndarray, np.ndarray]:
    """Distance (C,) of a point from each ray, meters, and how far its distance is from what the box says, (C,)."""
    offsets = np.stack([point - ray.center for ray in rays])
    directions = np.stack([ray.direction for ray in rays])
    along = np.einsum("ci,ci->c", offsets, directions)
    miss = np.linalg.norm(offsets - along[:, None] * directions, axis=1)
    misfit = np.abs(np.log(np.maximum(along, 1e-3) / [ray.distance for ray in rays]))
    return np.where(along > 0, miss, np.inf), misfit
