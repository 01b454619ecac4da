"""BlazePose: people in an image, and 33 landmarks of each.

Two networks of MediaPipe (Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020), run by
LiteRT. The first finds people in the whole image, the second finds landmarks in an upright square around one person.
Pixels: x right, y down, (0, 0) is the center of the first pixel.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from utils.commands import install_extra
from utils.errors import UserError
from utils.paths import ROOT
from utils.readers import reading

MODELS_FOLDER = ROOT / "examples" / "blazepose"
DETECTION_FILE, LANDMARK_FILE = "pose_detection.tflite", "pose_landmark_full.tflite"
LANDMARK_NAMES = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
    "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index", "left_thumb",
    "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_heel",
    "right_heel", "left_foot_index", "right_foot_index",
)  # fmt: skip
NUM_LANDMARKS = len(LANDMARK_NAMES)

_CENTER, _TOP = NUM_LANDMARKS, NUM_LANDMARKS + 1  # two further points give the square of the same person
_OUTPUTS = NUM_LANDMARKS + 6
_DETECTION_SIZE, _LANDMARK_SIZE = 224, 256  # sides of the networks' inputs, pixels
_HEAT_SIZE, _HEAT_REACH, _MIN_HEAT = 64, 3, 0.3  # side of the heat maps; cells around a landmark; least peak
_ANCHORS = ((8, 2), (16, 2), (32, 6))  # stride of a grid in pixels, anchors in each of its cells
_REGION_SCALE = 1.25  # side of the square over the diameter of the circle around the person
_MIN_DETECTION, _MIN_PRESENCE = 0.5, 0.5  # scores in 0..1 below which nobody is there
_SAME_PERSON = 0.4  # overlap (intersection over union) above which two squares show one person


class Region(NamedTuple):
    """A rotated square of an image. center: (2,) pixels. side: pixels. angle: of its upward direction, radians, 0 for
    upright, positive for clockwise."""

    center: np.ndarray
    side: float
    angle: float = 0.0


class Person(NamedTuple):
    """One person in an image.

    landmarks: (33,2) pixels. visibility: (33,) in 0..1. world: (33,3) meters from the middle of the hips, x right, y
    down, z away from the camera, estimated from this image alone. score: in 0..1, that a person is there.
    region: the square around the landmarks, for the next frame.
    """

    landmarks: np.ndarray
    visibility: np.ndarray
    world: np.ndarray
    score: float
    region: Region


class BlazePose:
    """The two networks. folder: of their .tflite files. max_people: most people per image.

    Raises UserError where the package `ai-edge-litert` or a file is missing.
    """

    def __init__(self, folder: str | Path = MODELS_FOLDER, max_people: int = 3):
        self.max_people = max_people
        self._detection = _interpreter(Path(folder) / DETECTION_FILE)
        self._landmarks = _interpreter(Path(folder) / LANDMARK_FILE)
        grids = [np.repeat(_cell_centers(_DETECTION_SIZE // stride), count, axis=0) for stride, count in _ANCHORS]
        self._anchors = np.concatenate(grids)

    def people(self, image: np.ndarray, known: Sequence[Region] = ()) -> list[Person]:
        """The people in an image (H,W,3) uint8 RGB, those of the squares `known` first (of the frame before)."""
        people: list[Person] = []
        for region in [*known, *self.regions(image)]:
            if len(people) == self.max_people:
                break
            # The square of a person who is found already shows nobody new.
            if any(_overlap(region, other.region) > _SAME_PERSON for other in people):
                continue
            person = self.landmarks(image, region)
            if person.score >= _MIN_PRESENCE and all(
                _overlap(person.region, other.region) <= _SAME_PERSON for other in people
            ):
                people.append(person)
        return people

    def regions(self, image: np.ndarray) -> list[Region]:
        """Squares around the people in an image (H,W,3) uint8 RGB, the most certain first."""
        height, width = image.shape[:2]
        square = Region(np.array([width - 1, height - 1]) / 2, float(max(width, height)))
        boxes, scores = _run(self._detection, 2 * _sample(image, square, _DETECTION_SIZE) - 1)
        scores = _sigmoid(scores[0, :, 0])
        found: list[Region] = []
        for index in np.argsort(-scores):
            if scores[index] < _MIN_DETECTION:
                break
            # Key points: middle of the hips, a point of the circle around the whole person, and two of the trunk.
            points = boxes[0, index, 4:8].reshape(2, 2) / _DETECTION_SIZE + self._anchors[index]
            region = _region(*_to_image(points, square))
            if all(_overlap(region, other) <= _SAME_PERSON for other in found):
                found.append(region)
        return found

    def landmarks(self, image: np.ndarray, region: Region) -> Person:
        """The person in the square `region` of an image (H,W,3) uint8 RGB; see `score` for whether anybody is there."""
        outputs = _run(self._landmarks, _sample(image, region, _LANDMARK_SIZE))
        by_size = {output.size: output for output in outputs}
        rows = by_size[5 * _OUTPUTS].reshape(_OUTPUTS, 5)
        heat = by_size[_OUTPUTS * _HEAT_SIZE**2].reshape(_HEAT_SIZE, _HEAT_SIZE, _OUTPUTS)
        pixels = _to_image(_refined(rows[:, :2] / _LANDMARK_SIZE, heat), region)
        world = by_size[3 * _OUTPUTS].reshape(_OUTPUTS, 3)[:NUM_LANDMARKS].astype(np.float64)
        world[:, :2] = world[:, :2] @ _turn(region.angle).T
        visibility = _sigmoid(rows[:NUM_LANDMARKS, 3])
        score = float(by_size[1].reshape(()))
        return Person(pixels[:NUM_LANDMARKS], visibility, world, score, _region(pixels[_CENTER], pixels[_TOP]))


def _interpreter(path: Path):
    litert = _litert()
    if not path.is_file():
        raise UserError(f"no model {str(path)!r}; expected {DETECTION_FILE} and {LANDMARK_FILE} of MediaPipe")
    with reading(path, f"{DETECTION_FILE} and {LANDMARK_FILE} of MediaPipe"), _silence():
        # One thread: the preparation runs one process per core.
        interpreter = litert.Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def _silence() -> Iterator[None]:
    """Native code prints to standard error what nobody needs, such as which instructions it will use."""
    shown, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown), os.close(nowhere)


def _litert() -> ModuleType:
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise UserError(f"detection needs the package 'ai-edge-litert': {install_extra('detect')}") from error
    return interpreter


def _run(interpreter, image: np.ndarray) -> list[np.ndarray]:
    """Outputs of a network for one input (S,S,3) float32, in their order."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None].astype(np.float32))
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]


def _cell_centers(cells: int) -> np.ndarray:
    """Centers (cells * cells, 2) of the cells of an image of side 1, row by row."""
    centers = (np.arange(cells) + 0.5) / cells
    x, y = np.meshgrid(centers, centers)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _sample(image: np.ndarray, region: Region, size: int) -> np.ndarray:
    """The square `region` of an image as (size,size,3) float32 in 0..1, black outside of the image."""
    import cv2

    # Sampled finely and averaged: one sample per output pixel would alias.
    factor = int(np.clip(np.ceil(region.side / size), 1, 8))
    fine = factor * size
    axes = _turn(region.angle) * region.side / fine
    offset = region.center - axes @ np.full(2, (fine - 1) / 2)
    matrix = np.concatenate([axes, offset[:, None]], axis=1)
    warped = cv2.warpAffine(image, matrix, (fine, fine), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    if factor > 1:
        warped = cv2.resize(warped, (size, size), interpolation=cv2.INTER_AREA)
    return warped.astype(np.float32) / 255


def _refined(points: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Points (N,2) of a square of side 1, moved to the nearby center of their heat maps (S,S,N) where there is one."""
    result = points.astype(np.float64)
    for number, (column, row) in enumerate((result * len(heat)).astype(int)):
        x = np.arange(max(column - _HEAT_REACH, 0), min(column + _HEAT_REACH + 1, len(heat)))
        y = np.arange(max(row - _HEAT_REACH, 0), min(row + _HEAT_REACH + 1, len(heat)))
        near = _sigmoid(heat[np.ix_(y, x)][..., number])
        if near.size and near.max() >= _MIN_HEAT:
            result[number] = [(near.sum(0) * x).sum(), (near.sum(1) * y).sum()] / near.sum() / len(heat)
    return result


def _to_image(points: np.ndarray, region: Region) -> np.ndarray:
    """Points (N,2) of a square of side 1 -> pixels of the image."""
    return region.center + region.side * (points - 0.5) @ _turn(region.angle).T


def _region(center: np.ndarray, top: np.ndarray) -> Region:
    """The square around the circle about `center` (2,) through `top` (2,), with `top` straight up."""
    across, down = top - center
    return Region(center, 2 * _REGION_SCALE * float(np.hypot(across, down)), float(np.arctan2(across, -down)))


def _turn(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _overlap(first: Region, second: Region) -> float:
    """Intersection over union of two squares, as if both were upright."""
    low = np.maximum(first.center - first.side / 2, second.center - second.side / 2)
    high = np.minimum(first.center + first.side / 2, second.center + second.side / 2)
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / max(first.side**2 + second.side**2 - shared, 1e-9)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -50, 50).astype(np.float64)))
