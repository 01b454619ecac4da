"""Calibration files of other programs, each brought into the form of the project's own JSON file.

Qualisys (`.qca.txt`), TOML of Pose2Sim, anipose, FreeMoCap and Caliscope, and OpenCV's YAML as EasyMocap writes it.
None says which axis is up, and TOML and YAML give no unit: users may add `unit` and `up` of the JSON file to each.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from datasets.cameras.camera import opencv
from utils.commands import install_extra
from utils.errors import UserError
from utils.readers import read_json, reading

# Qualisys' camera axes: x right, y up, z backward.
_QUALISYS_AXES = np.diag([1.0, -1.0, -1.0])
_QUALISYS_SUBPIXELS = 64
# Words of the JSON file by the keys of intri.yml and extri.yml.
_YAML_WORDS = {"K": "K", "D": "distortion", "dist": "distortion", "R": "rvec", "Rot": "R", "T": "t"}
_ROUNDING = 1e-3  # between two values of a file that are the same
# Words of the JSON file by what users write in place of them, without "_" and in lower case.
_WORLD_WORDS = {"unit": "unit", "units": "unit", "up": "up", "upaxis": "up", "axisup": "up"}


class Unusable(NamedTuple):
    """In place of a camera that cannot be used: `why`, what follows its name, and what was `expected`."""

    why: str
    expected: str


NO_POSE = Unusable("has no pose", "R and t")


def read_qualisys(path: Path) -> dict[str, Any]:
    """Cameras of a Qualisys file, XML: intrinsics in 1/64 pixel, centers in millimeters.

    `up`: an attribute of its root. "notes": what a report must say of cameras, by name.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except ElementTree.ParseError as error:
        raise UserError(f"{path} is not valid XML ({error}); expected a Qualisys calibration") from error
    cameras, notes = {}, {}
    for camera in root.iter("camera"):
        name = camera.get("serial") or f"cam_{len(cameras)}"
        where = f"{path}: camera {name!r}"
        _check_new(name, cameras, path)
        if camera.get("calibrated", "").lower() == "false":
            cameras[name] = Unusable("is not calibrated", 'calibrated="true"')
            continue
        if (angle := camera.get("viewrotation", "0")) != "0":
            notes[name] = f"viewrotation {angle} in the calibration is not applied: expected the video as it was before"
        transform, intrinsic = (_attributes(camera, part, where) for part in ("transform", "intrinsic"))
        field = _attributes(camera, "fov_video", where)
        columns = [[transform[f"r{row}{column}"] for column in "123"] for row in "123"]
        focal_x, focal_y, x, y = (
            intrinsic[f"{kind}{axis}"] for kind in ("focalLength", "centerPoint") for axis in "UV"
        )
        scale = 1 / _QUALISYS_SUBPIXELS
        cameras[name] = {
            "width": field["right"] - field["left"] + 1,
            "height": field["bottom"] - field["top"] + 1,
            "K": [focal_x * scale, 0, x * scale - field["left"], 0, focal_y * scale, y * scale - field["top"], 0, 0, 1],
            "distortion": [
                intrinsic[key]
                for key in (
                    "radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2",
                    "radialDistortion3",
                )
            ],
            "R": (_QUALISYS_AXES @ np.array(columns)).tolist(),
            "centre": [transform[axis] for axis in "xyz"],
        }  # fmt: skip
    return {"unit": "mm", **_world({str(path): root.attrib}), "cameras": cameras, "notes": notes}


def read_toml(path: Path) -> dict[str, Any]:
    """Cameras of a TOML file: a table per camera, or Caliscope's [cameras.N]; rotation and translation.

    `unit` and `up`: in [metadata], or before all tables.
    """
    tomllib = _toml_library()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    nested = content.get("cameras")
    tables = nested if isinstance(nested, dict) else {k: v for k, v in content.items() if k != "metadata"}
    _check_tables({**content, **tables}, path)
    cameras = {}
    for key, table in tables.items():
        if not isinstance(table, dict):
            continue
        # Older versions of Caliscope write this where they have nothing.
        table = {word: value for word, value in table.items() if value != "null"}
        if "matrix" not in table:
            continue
        name = str(table.get("name") or (f"cam_{key}" if nested else key))
        where = f"{path}: camera {name!r}"
        _check_new(name, cameras, path)
        cameras[name] = _toml_camera(table, where)
    metadata = content.get("metadata")
    values = {key: value for key, value in content.items() if not isinstance(value, dict)}
    described = metadata if isinstance(metadata, dict) else {}
    return {**_world({str(path): values, f"{path}: [metadata]": described}), "cameras": cameras}


def _check_tables(tables: Mapping[str, Any], path: Path) -> None:
    """UserError for unit or up below the head of another table than [metadata], to which appended lines belong."""
    for name, table in tables.items():
        if isinstance(table, dict) and name != "metadata":
            for key in _world({f"{path}: [{name}]": table}):
                raise UserError(f"{path}: {key!r} is in [{name}]; expected it below [metadata], or before all tables")


def _toml_library() -> ModuleType:
    """Python's tomllib, which 3.10 lacks, or the package that it was made of."""
    try:
        import tomllib
    except ImportError:
        try:
            import tomli as tomllib
        except ImportError as error:
            raise UserError(f"TOML files need the package 'tomli' here: {install_extra('video')}") from error
    return tomllib


def _toml_camera(table: dict[str, Any], where: str) -> dict[str, Any] | Unusable:
    if table.get("fisheye"):
        return Unusable("has a fisheye lens", "a standard one (undistort its video first)")
    if turns := table.get("rotation_count"):
        return Unusable(f"has rotation_count {turns}", "0 (rotate its video first, and calibrate again)")
    # One that was calibrated by itself alone has no pose, and may go unused.
    pose = [key for key in ("rotation", "translation") if {"rotation", "translation"} & set(table)]
    missing = [key for key in ("size", *pose) if key not in table]
    if missing:
        raise UserError(f"{where}: no '{missing[0]}'; expected size, matrix, distortions, rotation and translation")
    size = np.ravel(table["size"])
    if size.size != 2:
        raise UserError(f"{where}: 'size' is {table['size']!r}; expected width and height")
    camera = {
        "width": float(size[0]),
        "height": float(size[1]),
        "K": table["matrix"],
    }
    if pose:
        camera |= {"R" if np.size(table["rotation"]) == 9 else "rvec": table["rotation"], "t": table["translation"]}
    return camera | ({"distortion": table["distortions"]} if "distortions" in table else {})


def read_opencv_yaml(path: Path) -> dict[str, Any]:
    """Cameras of intri.yml and extri.yml, of which `path` is either: K_, dist_ or D_, Rot_ or R_, and T_ of each name.

    Sizes of images are W_ and H_; without them, those of the videos. `unit` and `up`: in either file.
    """
    files = _intri_and_extri(path)
    # Those beside it would be read in its place. Some file systems do not tell Intri.yml from intri.yml.
    if path.stem.lower() not in [file.stem for file in files]:
        raise UserError(f"{path} is neither intri{path.suffix} nor extri{path.suffix}; expected one of them")
    for file in files:
        if not file.is_file():
            raise UserError(f"no file {str(file)!r}; expected intri{path.suffix} and extri{path.suffix} side by side")
    inner, outer = map(_read_yaml, files)
    cameras = {}
    for name in map(str, inner["names"]):
        sources = {"K": inner, "dist": inner, "D": inner, "R": outer, "Rot": outer, "T": outer}
        found = {
            key: [float(word) for word in source[f"{key}_{name}"]["data"]]
            for key, source in sources.items()
            if source.get(f"{key}_{name}") is not None
        }
        _check_equal(found, ("dist", "D"), name, files[0])
        _check_equal(found, ("Rot", "R"), name, files[1])
        _check_new(name, cameras, path)
        cameras[name] = {word: found[key] for key, word in _YAML_WORDS.items() if key in found}
        if "Rot" in found:
            cameras[name].pop("rvec", None)
        cameras[name] |= {"width": inner.get(f"W_{name}", 0), "height": inner.get(f"H_{name}", 0)}
    return {**_world(dict(zip(map(str, files), (inner, outer), strict=True))), "cameras": cameras}


def _check_equal(found: Mapping[str, list[float]], keys: tuple[str, str], name: str, path: Path) -> None:
    """UserError where a file has two values of a camera under two keys, which differ by more than they are rounded."""
    if not set(keys) <= set(found):
        return
    first, second = (np.array(found[key]) for key in keys)
    if keys == ("Rot", "R") and len(second) == 3:
        second = opencv().Rodrigues(second)[0].ravel()
    # Distortions of 4 numbers are those of 5 whose last is zero.
    size = max(len(first), len(second))
    first, second = (np.pad(value, (0, size - len(value))) for value in (first, second))
    if not np.allclose(first, second, rtol=_ROUNDING, atol=_ROUNDING):
        raise UserError(
            f"{path}: '{keys[0]}_{name}' and '{keys[1]}_{name}' differ by {np.abs(first - second).max():.2g}; expected "
            "one of them, or equal ones"
        )


def _intri_and_extri(path: Path) -> list[Path]:
    return [path.with_name(f"{name}{path.suffix}") for name in ("intri", "extri")]


def _read_yaml(path: Path) -> dict[str, Any]:
    """The content of a YAML file of OpenCV, numbers as text. OpenCV's own reader aborts on damaged ones."""
    try:
        import yaml
    except ImportError as error:
        raise UserError(f"YAML files need the package 'pyyaml': {install_extra('video')}") from error

    class Loader(yaml.BaseLoader):
        def construct_mapping(self, node, deep=False):
            lines: dict[str, int] = {}
            for key, _ in node.value:
                line = key.start_mark.line + 1
                # PyYAML takes the last one in silence.
                if key.value in lines:
                    raise UserError(
                        f"{path}: {key.value!r} in line {line} is in line {lines[key.value]} too; expected it once"
                    )
                lines[key.value] = line
            return super().construct_mapping(node, deep)

    with reading(path, "YAML as cv2.FileStorage writes it"):
        # The head that OpenCV writes, "%YAML:1.0", is no valid one.
        text = re.sub(r"\A%YAML.*", "", path.read_text(encoding="utf-8-sig"))
        return dict(yaml.load(text, Loader=Loader))


def _check_new(name: str, cameras: Mapping[str, Any], path: Path) -> None:
    """UserError for a second camera of a name, which would take the place of the first."""
    if name in cameras:
        raise UserError(f"{path}: two cameras are named {name!r}; expected a name of its own for each")


def _world(places: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a file may say of its world, in the words of the JSON file. places: fields by where they are, for messages.

    Raises UserError for other spellings, and where two places differ.
    """
    world: dict[str, Any] = {}
    for where, fields in places.items():
        for key, value in fields.items():
            word = _WORLD_WORDS.get(key.lower().replace("_", ""))
            if word is None:
                continue
            if key != word:
                raise UserError(f"{where}: {key!r} is not read; expected {word!r}")
            if world.setdefault(word, value) != value:
                raise UserError(f"{where}: {word!r} is {value!r}, but {world[word]!r} before; expected it once")
    return world


READERS = {
    ".json": read_json,
    ".toml": read_toml,
    ".txt": read_qualisys,
    ".xml": read_qualisys,
    ".yml": read_opencv_yaml,
    ".yaml": read_opencv_yaml,
}
FORMATS = (
    "JSON (.json, docs/own_videos.md), TOML of Pose2Sim, anipose, FreeMoCap or Caliscope (.toml), Qualisys (.qca.txt), "
    "or intri.yml and extri.yml of EasyMocap"
)


def calibration_files(path: Path) -> list[Path]:
    """The files that are read for the calibration `path`: itself, or intri.yml and extri.yml."""
    return _intri_and_extri(path) if READERS.get(path.suffix.lower()) is read_opencv_yaml else [path]


def _attributes(camera: ElementTree.Element, part: str, where: str) -> dict[str, float]:
    element = camera.find(part)
    if element is None:
        raise UserError(
            f"{where}: no '{part}'; expected a Qualisys calibration with transform, intrinsic and fov_video"
        )
    try:
        return {key: float(value) for key, value in element.attrib.items()}
    except ValueError as error:
        raise UserError(f"{where}: '{part}' is {element.attrib}; expected numbers") from error
