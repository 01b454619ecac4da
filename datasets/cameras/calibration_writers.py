"""Calibration files: the project's own JSON, and the TOML of Pose2Sim and anipose. Meters, z up."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datasets.cameras.camera import Camera, opencv
from utils.files import write_text


def write_json_calibration(file: Path, cameras: Mapping[str, Camera]) -> None:
    """Write cameras by name as the project's own file (datasets/cameras/calibration.py)."""
    fields = {
        name: {
            "width": camera.width,
            "height": camera.height,
            "K": camera.intrinsics.tolist(),
            "distortion": camera.distortion.tolist(),
            "R": camera.rotation.tolist(),
            "centre": camera.center.tolist(),
        }
        for name, camera in cameras.items()
    }
    text = json.dumps({"unit": "m", "up": "z", "cameras": fields}, indent=1)
    write_text(file, text)


def write_toml_calibration(file: Path, cameras: Mapping[str, Camera]) -> None:
    """Write cameras by name as Pose2Sim does: four numbers of distortion, unless more are in use."""
    text = "\n".join(_table(name, camera) for name, camera in cameras.items())
    text += "\n[metadata]\nadjusted = false\nerror = 0.0\n"
    write_text(file, text)


def _table(name: str, camera: Camera) -> str:
    distortion = camera.distortion if camera.distortion[4:].any() else camera.distortion[:4]
    # TOML has no pairs of escapes, by which JSON in ASCII spells rare characters.
    quoted = json.dumps(name, ensure_ascii=False)
    lines = {
        "name": quoted,
        "size": _row([camera.width, camera.height]),
        "matrix": f"[ {', '.join(map(_row, camera.intrinsics))} ]",
        "distortions": _row(distortion),
        "rotation": _row(opencv().Rodrigues(camera.rotation)[0].ravel()),
        "translation": _row(-camera.rotation @ camera.center),
        "fisheye": "false",
    }
    # Names of cameras may hold points, which separate tables.
    return "\n".join([f"[{quoted}]", *(f"{key} = {value}" for key, value in lines.items()), ""])


def _row(values) -> str:
    return f"[ {', '.join(repr(float(value)) for value in np.ravel(values))} ]"
