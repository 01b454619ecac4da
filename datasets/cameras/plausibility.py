"""What can hardly be right in a calibration that can be read: lines of a report."""

from collections.abc import Mapping

import numpy as np

from datasets.cameras.calibration import Calibration
from datasets.cameras.camera import Camera
from datasets.cameras.video_size import other_size

MAX_FROM_ORIGIN = 50.0  # meters
MAX_UNDISTORTION_ERROR = 1.0  # pixels
MAX_FOLDED = 0.02  # of the image


def notes_on_cameras(calibration: Calibration, used: Mapping[str, Camera]) -> list[str]:
    """What to say of a calibration and of those of its cameras that are used. used: in the pixels of their videos."""
    notes = [f"camera {name!r}: {calibration.notes[name]}" for name in used if name in calibration.notes]
    for name, camera in used.items():
        notes += _notes_on_matrix(name, calibration.cameras[name]) + _notes_on_distortion(name, camera)
    return notes + _notes_on_unit(calibration)


def _notes_on_distortion(name: str, camera: Camera) -> list[str]:
    axes = [np.linspace(0, side - 1, 40) for side in (camera.width, camera.height)]
    pixels = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    places = camera.normalized(pixels)
    again = camera.project(np.concatenate([places, np.ones((len(places), 1))], axis=1))
    # NaN is no match either.
    folded = 1 - (np.linalg.norm(again - pixels, axis=1) <= MAX_UNDISTORTION_ERROR).mean()
    if folded <= MAX_FOLDED:
        return []
    return [
        f"WARNING: camera {name!r}: no ray leads to {100 * folded:.0f} % of the image, since the distortion "
        f"{np.round(camera.distortion, 4).tolist()} folds back inside it; expected a calibration with the board in the "
        "corners, too, or undistorted videos"
    ]


def _notes_on_unit(calibration: Calibration) -> list[str]:
    # Of all cameras, since that which is used is the origin of some files.
    away = {name: float(np.linalg.norm(camera.center)) for name, camera in calibration.cameras.items()}
    name = max(away, key=away.__getitem__)
    if away[name] <= MAX_FROM_ORIGIN:
        return []
    return [
        f"WARNING: camera {name!r} is {away[name]:.0f} m away from the origin of the calibration's world; expected at "
        f"most {MAX_FROM_ORIGIN:.0f} m: check its unit, which is m where the file says nothing (docs/own_videos.md)"
    ]


def _notes_on_matrix(name: str, camera: Camera) -> list[str]:
    # Without a size in the calibration, `fit_to_video` compares K with the video.
    other = other_size(camera.intrinsics, camera.width, camera.height) if camera.width else None
    if other is None:
        return []
    return [
        f"WARNING: camera {name!r}: {other}, and the calibration is of {camera.width}x{camera.height} px; right only "
        "for an image that was cropped along both sides"
    ]
