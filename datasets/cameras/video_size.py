"""Cameras whose videos have another size than the calibration says: which part of the calibrated image they show."""

from typing import NamedTuple

import numpy as np

from datasets.cameras.camera import Camera
from utils.errors import UserError

BAR_TOLERANCE = 2  # pixels: an image between black bars is rarely cut at whole pixels
# Between an image and that in whose middle the principal point is: lenses are centered to a few percent of a side.
MAX_SIZE_RATIO = 1.25


class Area(NamedTuple):
    """The part of a video that is not black bars: its corner and size, pixels."""

    x0: int
    y0: int
    width: int
    height: int


class Fit(NamedTuple):
    """A camera in the pixels of its video, and a sentence that says what was assumed; empty for nothing."""

    camera: Camera
    sentence: str = ""


def fit_to_video(
    camera: Camera, width: int, height: int, area: Area, name: str, pixel_aspect: float = 1.0
) -> list[Fit]:
    """The camera in the pixels of a video of width x height, with all ways to explain a difference in size.

    One way: the sizes are equal, the calibration has none, the image was squeezed along one side, as its pixels are
    `pixel_aspect` times as wide as high, or the whole calibrated image was scaled and lies between black bars, as
    `area` shows. Several: the image was cropped along one side, at an unknown place; the middle first.
    Raises UserError for any other size: it cannot be told whether the image was cropped or scaled. So it does for a
    calibration without sizes whose K belongs to another size.
    """
    if (camera.width, camera.height) == (0, 0):
        other = other_size(camera.intrinsics, width, height)
        if other is not None:
            raise UserError(
                f"{name}: {other}, and the video has {width}x{height} px; expected K in the pixels of the video, or "
                "the size of its image in the calibration (W_ and H_ of intri.yml)"
            )
        sentence = f"{name}: no size in the calibration: that of the video, {width}x{height} px, assumed"
        return [Fit(camera._replace(width=width, height=height), sentence)]
    if (camera.width, camera.height) == (width, height):
        return [Fit(camera)]
    sizes = f"{name}: video {width}x{height} px, calibration {camera.width}x{camera.height} px"
    squeeze = np.array([width / camera.width, height / camera.height])
    # Within a pixel: encoders round sizes.
    if (
        pixel_aspect != 1
        and (squeeze == 1).any()
        and abs(pixel_aspect * squeeze[0] / squeeze[1] - 1) < 1 / camera.width
    ):
        squeezed = _scaled(camera, squeeze, Area(0, 0, width, height))._replace(width=width, height=height)
        return [Fit(squeezed, f"{sizes}: squeezed, as pixels say that are {pixel_aspect:.4g} times as wide as high")]
    scale = max(area.width / camera.width, area.height / camera.height)
    off = np.abs(np.array(area[2:]) - scale * np.array([camera.width, camera.height]))
    if tuple(area) != (0, 0, width, height) and (off <= BAR_TOLERANCE).all():
        # From the fewer pixels of the bars' side, the scale would be less exact.
        fitted = _scaled(camera, scale, area)._replace(width=width, height=height)
        return [
            Fit(fitted, f"{sizes}: scaled by {scale:.4f}, as the black bars around {area.width}x{area.height} px say")
        ]
    if (camera.width, camera.height) == (height, width):
        raise UserError(
            f"{sizes}: rotated by a quarter turn; expected the pictures as players show them, also in the calibration: "
            "calibrate these, or rotate the video"
        )
    lost = np.array([camera.width - width, camera.height - height])
    if (lost >= 0).all() and (lost == 0).any():
        axis = int(np.argmax(lost))
        ends = ("left", "right") if axis == 0 else ("top", "bottom")
        fits = []
        for first in (lost[axis] // 2, 0, lost[axis]):
            corner = np.zeros(2)
            corner[axis] = first
            cut = f"{first} px {ends[0]}, {lost[axis] - first} px {ends[1]}"
            fits.append(Fit(_moved(camera, corner)._replace(width=width, height=height), f"{sizes}: cropped, {cut}"))
        return fits
    raise UserError(
        f"{sizes}; expected the calibrated size, one cropped along one side, or one scaled as a whole with black bars "
        "(to use a scaled video, scale K of its camera, width and height too)"
    )


def other_size(intrinsics: np.ndarray, width: int, height: int) -> str | None:
    """What to say of a K whose principal point is the middle of an image of another size; None for nothing.

    One side alone says nothing: images are cropped along one side.
    """
    x, y = middle = intrinsics[:2, 2]
    ratios = 2 * (middle + 0.5) / [width, height]
    if not ((ratios > MAX_SIZE_RATIO).all() or (ratios < 1 / MAX_SIZE_RATIO).all()):
        return None
    size = f"{2 * x:.0f}x{2 * y:.0f} px"
    return f"K has its principal point at ({x:.0f}, {y:.0f}), the middle of an image of about {size}"


def _scaled(camera: Camera, scale: float | np.ndarray, area: Area) -> Camera:
    """The camera of an image scaled by `scale`, one or (2,) along x and y, whose corner is at that of `area`."""
    matrix = camera.intrinsics.copy()
    matrix[[0, 1], [0, 1]] *= scale
    # Whole numbers are pixel centers: the corner of the image lies half a pixel before the first.
    content = scale * np.array([camera.width, camera.height])
    corner = np.array([area.x0, area.y0]) + (np.array([area.width, area.height]) - content) / 2
    matrix[:2, 2] = scale * (matrix[:2, 2] + 0.5) - 0.5 + corner
    return camera._replace(intrinsics=matrix)


def _moved(camera: Camera, corner: np.ndarray) -> Camera:
    """The camera of a part of its image, from `corner` (2,) on."""
    matrix = camera.intrinsics.copy()
    matrix[:2, 2] -= corner
    return camera._replace(intrinsics=matrix)
