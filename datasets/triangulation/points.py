"""The landmarks that are triangulated, the distances between them that stay, and the 17 joints that follow."""

import numpy as np

from datasets.detection.blazepose import LANDMARK_NAMES
from utils.skeleton import JOINT_NAMES

_SIDED = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
POINT_NAMES = (
    *(f"{side}_{part}" for part in _SIDED for side in ("left", "right")),
    "nose", "left_ear", "right_ear", "left_eye_outer", "right_eye_outer", "mouth_left", "mouth_right",
)  # fmt: skip
NUM_POINTS = len(POINT_NAMES)
LANDMARKS = tuple(LANDMARK_NAMES.index(name) for name in POINT_NAMES)  # of BlazePose, in the order of POINT_NAMES
PAIRS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (13, 14), (15, 16), (17, 18))  # left and right
_MIRROR = dict(pair for left, right in PAIRS for pair in ((left, right), (right, left)))
MIRRORED_POINTS = tuple(_MIRROR.get(point, point) for point in range(NUM_POINTS))
LIMB_POINTS = tuple(range(12))
HEAD_POINTS = tuple(range(12, NUM_POINTS))


def _index(name: str) -> int:
    return POINT_NAMES.index(name)


def _segments() -> list[tuple[int, int, int, float]]:
    """(point, point, number of the length, tolerance in meters): both sides of the body share one length."""
    segments, number = [], 0
    for first, second, tolerance in (
        ("shoulder", "elbow", 0.005),
        ("elbow", "wrist", 0.005),
        ("hip", "knee", 0.005),
        ("knee", "ankle", 0.005),
        ("shoulder", "hip", 0.03),  # the trunk bends
    ):
        segments += [(_index(f"{s}_{first}"), _index(f"{s}_{second}"), number, tolerance) for s in ("left", "right")]
        number += 1
    for first, second, tolerance in (
        ("left_hip", "right_hip", 0.005),
        ("left_shoulder", "right_shoulder", 0.02),
        ("left_shoulder", "right_hip", 0.03),
        ("right_shoulder", "left_hip", 0.03),
    ):
        segments.append((_index(first), _index(second), number, tolerance))
        number += 1
    # The head is rigid.
    for place, first in enumerate(HEAD_POINTS):
        for second in HEAD_POINTS[place + 1 :]:
            segments.append((first, second, number, 0.005))
            number += 1
    return segments


SEGMENTS = _segments()

# Proportions of the rendered people (datasets/people), whose joints are at the bones' pivots.
NECK_ABOVE_SHOULDERS = 0.23  # over the distance from the middle of the hips to that of the shoulders
SPINE_ALONG_TRUNK = 0.43  # from the hip to the neck
HEAD_BEHIND_NOSE = 0.03  # meters
HEAD_TOP_ABOVE_NOSE = 0.147  # meters


def skeleton(points: np.ndarray) -> np.ndarray:
    """The 17 joints (...,17,3) of utils/skeleton.py that follow from points (...,P,3), in the same frame and unit."""
    at = {name: points[..., index, :] for index, name in enumerate(POINT_NAMES)}
    at["hip"] = (at["left_hip"] + at["right_hip"]) / 2
    shoulders = (at["left_shoulder"] + at["right_shoulder"]) / 2
    at["neck"] = shoulders + NECK_ABOVE_SHOULDERS * (shoulders - at["hip"])
    at["spine"] = at["hip"] + SPINE_ALONG_TRUNK * (at["neck"] - at["hip"])
    ears = (at["left_ear"] + at["right_ear"]) / 2
    eyes = (at["left_eye_outer"] + at["right_eye_outer"]) / 2
    mouth = (at["mouth_left"] + at["mouth_right"]) / 2
    across = _unit(at["left_ear"] - at["right_ear"])
    up = eyes - mouth
    up = _unit(up - (up * across).sum(-1, keepdims=True) * across)
    at["head"] = at["nose"] + HEAD_BEHIND_NOSE * _unit(ears - at["nose"])
    at["head_top"] = ears + HEAD_TOP_ABOVE_NOSE * up
    return np.stack([at[name] for name in JOINT_NAMES], axis=-2)


def nose_ahead(points: np.ndarray) -> np.ndarray:
    """How far the nose is in front of the ears (...), for points (...,P,3), in their unit.

    The front is that of shoulders and hips: negative where left and right of a person are exchanged.
    """
    at = {name: points[..., index, :] for index, name in enumerate(POINT_NAMES)}
    to_left = at["left_shoulder"] - at["right_shoulder"] + at["left_hip"] - at["right_hip"]
    up = at["left_shoulder"] + at["right_shoulder"] - at["left_hip"] - at["right_hip"]
    front = _unit(np.cross(to_left, up))
    return ((at["nose"] - (at["left_ear"] + at["right_ear"]) / 2) * front).sum(-1)


def hold_neck(joints: np.ndarray) -> np.ndarray:
    """Joints (T,17,3) with the distance from neck to head of all instants at its median, 0 < T.

    The neck follows from shoulders and hips, so that this distance changes where the neck bends.
    """
    neck, head, top = (JOINT_NAMES.index(name) for name in ("neck", "head", "head_top"))
    along = joints[:, head] - joints[:, neck]
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    shift = along * (np.median(length) / np.maximum(length, 1e-9) - 1)
    result = joints.copy()
    result[:, [head, top]] += shift[:, None]
    return result


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
