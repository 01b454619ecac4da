"""Reads the cameras of a user's own set-up (docs/own_videos.md): files of other programs, or one JSON file.

    {"unit": "m", "up": "z", "cameras": {"left": {
        "width": 1280, "height": 720, "K": [[900, 0, 640], [0, 900, 360], [0, 0, 1]],
        "distortion": [k1, k2, p1, p2, k3], "R": [[...], [...], [...]], "t": [x, y, z]}}}

As in OpenCV: K in pixels, X_cam = R X + t. `rvec` may replace R, and `centre` (of the camera in the world) may replace
t.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from datasets.cameras.calibration_formats import FORMATS, NO_POSE, READERS, Unusable, read_opencv_yaml, read_qualisys
from datasets.cameras.camera import Camera, opencv
from utils.errors import UserError
from utils.readers import impostor, reading, whole_number

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}
# World axis that points up -> rotation into a world whose z axis points up.
UP_AXES = {
    "z": np.eye(3),
    "-z": np.diag([1.0, -1.0, -1.0]),
    "y": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "-y": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "x": np.array([[0, 0, -1.0], [0, 1, 0], [1, 0, 0]]),
    "-x": np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]]),
}
DISTORTIONS = (4, 5, 8, 12, 14)  # numbers of coefficients of OpenCV's model
MAX_VALUE = 1e9  # of coefficients, pixels and millimeters: beyond, products overflow
MAX_NAME = 230  # bytes of a camera's name: those of files have 255, and begin with such as "recording_000_"
MAX_SIDE = 1 << 16  # of an image, pixels
_POSE = {"R", "rvec", "t", "centre"}
_FIELDS = {"width", "height", "K", "distortion", *_POSE}


class Calibration(NamedTuple):
    """cameras: by name, in a world in meters with z up. to_z_up: (3,3) rotation from the file's world to this one.
    unusable: others of the file by name, and why. notes: what a report must say of some, by name."""

    cameras: dict[str, Camera]
    to_z_up: np.ndarray
    unusable: Mapping[str, Unusable] = MappingProxyType({})
    notes: Mapping[str, str] = MappingProxyType({})


def read_calibration(path: str | Path) -> Calibration:
    """Read a calibration file; its ending tells the format (datasets/cameras/calibration_formats.py).

    A camera whose file gives no size of the image has width and height 0. One that cannot be used, without a pose or
    with a fisheye lens, is no error before it is, which `check_cameras` finds. Raises UserError naming file, camera and
    field for whatever is missing or wrong.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"no file {str(path)!r}; expected a calibration, {FORMATS}")
    if (why := impostor(path)) is not None:
        raise UserError(f"{str(path)!r} cannot be read ({why}); expected a calibration, {FORMATS}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: calibrations with this ending are not read; expected {FORMATS}")
    with reading(path, "a calibration of this format"):
        try:
            content = reader(path)
        except KeyError as error:
            raise UserError(f"{path}: no {error}; expected a calibration of this format") from error
    if not isinstance(content, dict) or not isinstance(content.get("cameras"), dict) or not content["cameras"]:
        raise UserError(f"{path}: no 'cameras'; expected cameras by name, in {FORMATS}")
    notes = content.pop("notes", {}) if reader is read_qualisys else {}
    _check_fields(content, {"unit", "up", "cameras"}, str(path))
    scale = _choice(content, "unit", UNITS, "m", path)
    to_z_up = _choice(content, "up", UP_AXES, "z", path)
    cameras, unusable = {}, {}
    for name, fields in by_composed_name(content["cameras"], str(path)).items():
        where = f"{path}: camera {name!r}"
        check_camera_name(name, where)
        if isinstance(fields, Unusable):
            unusable[name] = fields
            continue
        if not isinstance(fields, dict):
            raise UserError(f"{where} is {fields!r}; expected an object with K, R, t, width and height")
        _check_fields(fields, _FIELDS, where)
        if not _POSE & set(fields):
            unusable[name] = NO_POSE
            continue
        cameras[name] = _camera(fields, scale, to_z_up, where, sized=reader is not read_opencv_yaml)
    if not cameras:
        name, (why, expected) = next(iter(unusable.items()))
        raise UserError(f"{path}: no camera can be used; {name!r} {why}; expected {expected}")
    return Calibration(cameras, to_z_up, unusable, {composed(name): note for name, note in notes.items()})


def check_cameras(calibration: Calibration, names: Iterable[str], file: str | Path) -> None:
    """UserError for a camera of `names` that the calibration lacks, or that cannot be used. file: for the message."""
    for name in names:
        if name in calibration.unusable:
            why, expected = calibration.unusable[name]
            raise UserError(f"camera {name!r} {why} in {file}; expected {expected}")
        if name not in calibration.cameras:
            raise UserError(
                f"no camera {name!r} in {file}; it has {', '.join(calibration.cameras)} (a video is named after its "
                "camera, or given as camera=file)"
            )


def composed(name: str) -> str:
    """A name of a camera with accents composed (NFC), as keyboards write it: macOS decomposes those of files."""
    return unicodedata.normalize("NFC", name)


def by_composed_name(values: dict[str, Any], where: str) -> dict[str, Any]:
    """`values` by composed names of cameras. UserError, which begins with `where`, for two of one name."""
    named = {composed(name): value for name, value in values.items()}
    if len(named) < len(values):
        raise UserError(f"{where}: of {', '.join(values)}, two have one name with accents composed; expected others")
    return named


def check_camera_name(name: str, where: str) -> None:
    """UserError, which begins with `where`, for a name of a camera that cannot be part of the name of a file."""
    if not re.fullmatch(r"[\w.-]+( [\w.-]+)*", name) or len(name.encode()) > MAX_NAME:
        raise UserError(
            f"{where}; expected a name of letters, digits, '_', '.', '-', and single spaces between them, of at most "
            f"{MAX_NAME} bytes"
        )


def parse_numbers(fields: dict, name: str, count: int | tuple[int, ...], where: str) -> np.ndarray:
    """The field `name` as float64 (K,), nested lists flattened. Raises UserError unless K is (one of) `count`."""
    counts = (count,) if isinstance(count, int) else count
    expected = f"expected {' or '.join(map(str, counts))} number{'s' * (counts != (1,))}"
    if name not in fields:
        raise UserError(f"{where}: no '{name}'; {expected}")
    try:
        values = np.array(fields[name], dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: '{name}' is {fields[name]!r}; {expected}") from error
    if len(values) not in counts:
        raise UserError(f"{where}: '{name}' has {len(values)} numbers; {expected}")
    if not (np.abs(values) <= MAX_VALUE).all():
        raise UserError(f"{where}: '{name}' holds NaN, infinity or numbers above {MAX_VALUE:.0e}; {expected}")
    return values


def _camera(fields: dict, scale: float, to_z_up: np.ndarray, where: str, sized: bool) -> Camera:
    rotation = _rotation(fields, where)
    if _one_of(fields, ("t", "centre"), where) == "t":
        center = -rotation.T @ (scale * parse_numbers(fields, "t", 3, where))
    else:
        center = scale * parse_numbers(fields, "centre", 3, where)
    distortion = np.zeros(5)
    if "distortion" in fields:
        given = parse_numbers(fields, "distortion", (0, *DISTORTIONS), where)
        distortion = np.concatenate([given, np.zeros(max(5 - len(given), 0))])
        # Programs write more coefficients than they fitted: with the rest zero, the model is that of the first five.
        if not distortion[5:].any():
            distortion = distortion[:5]
    sides = [parse_numbers(fields, name, 1, where)[0] for name in ("width", "height")]
    width, height = (whole_number(side) for side in sides)
    if not (width and height and max(width, height) <= MAX_SIDE) and (sized or (width, height) != (0, 0)):
        raise UserError(f"{where}: image of {sides[0]:g}x{sides[1]:g}; expected its width and height in pixels")
    # The world is rotated, not the camera: points become `to_z_up @ X`, and the camera frame stays as it is.
    return Camera(rotation @ to_z_up.T, to_z_up @ center, _intrinsics(fields, where), distortion, width, height)


def _rotation(fields: dict, where: str) -> np.ndarray:
    if _one_of(fields, ("R", "rvec"), where) == "rvec":
        return opencv().Rodrigues(parse_numbers(fields, "rvec", 3, where))[0]
    rotation = parse_numbers(fields, "R", 9, where).reshape(3, 3)
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise UserError(f"{where}: 'R' is not a rotation matrix; expected an orthonormal matrix of determinant 1")
    # Files give a few digits only. Projected back onto the rotations, its transpose is its inverse again.
    left, _, right = np.linalg.svd(rotation)
    return left @ right


def _intrinsics(fields: dict, where: str) -> np.ndarray:
    matrix = parse_numbers(fields, "K", 9, where).reshape(3, 3)
    focal, rest = matrix[[0, 1], [0, 1]], matrix[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]]
    if not (focal > 0).all() or not np.allclose(rest, [0, 0, 0, 0, 1]):
        raise UserError(f"{where}: 'K' is {matrix.tolist()}; expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels")
    return matrix


def _one_of(fields: dict, names: tuple[str, str], where: str) -> str:
    given = [name for name in names if name in fields]
    if len(given) != 1:
        which = "both" if given else "neither"
        raise UserError(f"{where}: {which} of '{names[0]}' and '{names[1]}'; expected one of them")
    return given[0]


def _choice(content: dict, name: str, choices: dict, default: str, path: str | Path) -> Any:
    value = content.get(name, default)
    if not isinstance(value, str) or value not in choices:
        raise UserError(f"{path}: '{name}' is {value!r}; expected one of {', '.join(choices)}")
    return choices[value]


def _check_fields(fields: dict, known: set[str], where: str) -> None:
    unknown = sorted(set(fields) - known)
    if unknown:
        raise UserError(f"{where}: unknown field {unknown[0]!r}; expected {', '.join(sorted(known))}")
