"""What can hardly be right in a calibration that can be read: lines of a report."""

from collections.abc import Mapping

import numpy as np

from datasets.cameras.calibration import Calibration
from datasets.cameras.camera import Camera
from datasets.cameras.video_size import other_size

MAX_FROM_ORIGIN = 50.0  # meters


def notes_on_cameras(calibration: Calibration, used: Mapping[str, Camera]) -> list[str]:
    """What to say of a calibration and of those of its cameras that are used. used: in the pixels of their videos."""
    notes = [note for name in used for note in _notes_on_matrix(name, calibration.cameras[name])]
    return [*notes, *_notes_on_unit(calibration)]


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
