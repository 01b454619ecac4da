"""What can hardly be right in a calibration that can be read: lines of a report."""

from collections.abc import Mapping

from datasets.cameras.calibration import Calibration
from datasets.cameras.camera import Camera
from datasets.cameras.video_size import other_size


def notes_on_cameras(calibration: Calibration, used: Mapping[str, Camera]) -> list[str]:
    """What to say of a calibration and of those of its cameras that are used. used: in the pixels of their videos."""
    return [note for name in used for note in _notes_on_matrix(name, calibration.cameras[name])]


def _notes_on_matrix(name: str, camera: Camera) -> list[str]:
    # Without a size in the calibration, `fit_to_video` compares K with the video.
    other = other_size(camera.intrinsics, camera.width, camera.height) if camera.width else None
    if other is None:
        return []
    return [
        f"WARNING: camera {name!r}: {other}, and the calibration is of {camera.width}x{camera.height} px; right only "
        "for an image that was cropped along both sides"
    ]
