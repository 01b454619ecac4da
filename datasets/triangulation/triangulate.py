"""3D skeletons of one person through a recording, from 2D landmarks in all cameras, and how far to trust them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datasets.cameras.camera import Camera
from datasets.triangulation.points import HEAD_POINTS, LANDMARKS, LIMB_POINTS, PAIRS, hold_neck, nose_ahead, skeleton
from datasets.triangulation.rays import robust_points, world_rays
from datasets.triangulation.sides import exchange_pairs, exchange_people, swap_pairs
from datasets.triangulation.track import fit_track
from utils.skeleton import BONES

MIN_WEIGHT = 0.05  # of a landmark that the detector calls hidden
ROUNDS = 3  # of fitting the track, and of looking for exchanged sides
MIN_CAMERAS = 2  # that agree about a point
MIN_HEAD_POINTS = 4
AGREES = 0.06  # meters between a point and a ray that agree
MAX_MEDIAN_ERROR = 0.03  # meters, of an instant
MAX_BONE_CHANGE = 0.1  # of the median length
UNSEEN = "with the person in fewer than two images"
CLEARLY_AHEAD = 0.03  # meters, of a nose that tells left from right: a third of what it is of a head turned forward


class Triangulation(NamedTuple):
    """The skeleton at T instants.

    joints: (T,17,3) meters, world; passed: (T,) bool, whether they are good enough for labels. left_out: number of
    instants by reason. cameras: as given, or corrected. errors: (C,T,P) pixels between a landmark and the projected
    point, NaN where the camera does not see the person. misses: (C,) meters between a camera's rays and the points of
    the limbs, at instants that passed, in the median; NaN without any. exchanged: (C,) number of images with exchanged
    sides. bone_changes: (T,) largest deviation of a bone from its median length, as a ratio.
    """

    joints: np.ndarray
    passed: np.ndarray
    left_out: Counter
    cameras: list[Camera]
    errors: np.ndarray
    misses: np.ndarray
    exchanged: np.ndarray
    bone_changes: np.ndarray


def triangulate(
    cameras: Sequence[Camera],
    pixels: np.ndarray,
    visibility: np.ndarray,
    seconds: float,
    correct_cameras: bool = False,
) -> Triangulation:
    """Triangulate the landmarks of one person.

    pixels: (C,T,33,2) landmarks of BlazePose in C cameras at T instants, NaN where a camera does not see the person.
    visibility: (C,T,33) in 0..1. seconds: between two instants. correct_cameras: see `fit_track`.
    """
    pixels, visibility = pixels[:, :, list(LANDMARKS)], visibility[:, :, list(LANDMARKS)]
    seen = np.isfinite(pixels).all(-1)
    weights = np.where(seen, np.clip(visibility, MIN_WEIGHT, 1), 0)
    places = np.stack([camera.normalized(one) for camera, one in zip(cameras, pixels, strict=True)])
    centers = np.stack([camera.center for camera in cameras])
    exchanged, either = exchange_people(centers, world_rays(cameras, places), weights)
    exchanged = np.repeat(exchanged[..., None], len(PAIRS), axis=-1)
    points, fitted = None, list(cameras)
    for number in range(ROUNDS):
        sorted_places, sorted_weights = swap_pairs(places, exchanged), swap_pairs(weights[..., None], exchanged)[..., 0]
        if points is None:
            points = _first_guess(centers, world_rays(cameras, sorted_places), sorted_weights)
        correct = correct_cameras and number > 0
        points, _, fitted = fit_track(cameras, sorted_places, sorted_weights, points, seconds, correct)
        before, exchanged = exchanged, exchange_pairs(_seen_from(fitted, points), places)
        if number and (before == exchanged).all():
            break
    sorted_weights = swap_pairs(weights[..., None], exchanged)[..., 0]
    return _judged(points, fitted, swap_pairs(pixels, exchanged), sorted_weights, exchanged, either)


def _first_guess(centers: np.ndarray, rays: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Points (T,P,3) by themselves; those that fewer than two cameras see lie between their neighbors in time."""
    points, costs = robust_points(centers, rays, weights)
    instants = np.arange(len(points))
    for point in range(points.shape[1]):
        known = np.isfinite(costs[:, point])
        if known.any():
            for axis in range(3):
                points[:, point, axis] = np.interp(instants, instants[known], points[known, point, axis])
    return points


def _seen_from(cameras: Sequence[Camera], points: np.ndarray) -> np.ndarray:
    """Normalized coordinates (C,T,P,2) of points (T,P,3)."""
    in_camera = np.stack([camera.world_to_cam(points) for camera in cameras])
    return in_camera[..., :2] / in_camera[..., 2:]


def _judged(
    points: np.ndarray,
    cameras: list[Camera],
    pixels: np.ndarray,
    weights: np.ndarray,
    exchanged: np.ndarray,
    either: np.ndarray,
) -> Triangulation:
    """The skeletons of points (T,P,3). either: (T,) bool, where rays agree as well with left and right exchanged."""
    joints = hold_neck(skeleton(points))
    in_camera = np.stack([camera.world_to_cam(points) for camera in cameras])
    projected = np.stack([camera.project(one) for camera, one in zip(cameras, in_camera, strict=True)])
    errors = np.where(weights > 0, np.linalg.norm(projected - pixels, axis=-1), np.nan)
    focal = np.array([camera.intrinsics[[0, 1], [0, 1]].mean() for camera in cameras])
    meters = errors * in_camera[..., 2] / focal[:, None, None]
    agreeing = (meters < AGREES).sum(0)
    change = bone_changes(joints)
    limbs, head = list(LIMB_POINTS), list(HEAD_POINTS)
    seen = (np.isfinite(meters).sum(0) >= MIN_CAMERAS).any(1)
    reasons = {
        UNSEEN: ~seen,
        "with a joint on which no two cameras agree": (agreeing[:, limbs] < MIN_CAMERAS).any(1)
        | ((agreeing[:, head] >= MIN_CAMERAS).sum(1) < MIN_HEAD_POINTS),
        "with large reprojection errors": _median(np.moveaxis(meters, 1, 0), np.inf) > MAX_MEDIAN_ERROR,
        "with bones of another length": change > MAX_BONE_CHANGE,
        # Where most cameras agree about the sides, a face that says nothing is no reason to doubt them.
        "with left and right that may be exchanged": nose_ahead(points) < np.where(either, 1, -1) * CLEARLY_AHEAD,
    }
    passed, left_out = np.ones(len(points), dtype=bool), Counter()
    for reason, bad in reasons.items():
        left_out[reason] = int((passed & bad).sum())
        passed &= ~bad
    images = np.isfinite(errors).any(2) & exchanged.any(2)
    misses = _median(meters[:, passed][:, :, limbs], np.nan)
    return Triangulation(joints, passed, left_out, cameras, errors, misses, images.sum(1), change)


def bone_changes(joints: np.ndarray) -> np.ndarray:
    """(T,) largest deviation of a bone from its median length in joints (T,17,3), as a ratio; inf without length."""
    first, second = np.array(BONES).T
    lengths = np.linalg.norm(joints[:, first] - joints[:, second], axis=-1)
    median = np.median(lengths, axis=0)
    # All joints are at one place where nobody is seen.
    ratios = np.divide(lengths, median, out=np.full_like(lengths, np.inf), where=median > 0)
    return np.abs(ratios - 1).max(1)


def _median(meters: np.ndarray, unknown: float) -> np.ndarray:
    """(N,) median of what is known in each of N parts, `unknown` where nothing is."""
    known = (part[np.isfinite(part)] for part in meters)
    return np.array([np.median(part) if len(part) else unknown for part in known])
