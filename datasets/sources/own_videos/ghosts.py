"""Is somebody in a background? Whoever stands still for half of a recording is in the median of its frames."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from datasets.detection.blazepose import BlazePose
from datasets.layout.png import read_png
from datasets.layout.writer import image_path
from datasets.sources.own_videos.boxes import MIN_DIFFERENCE, Boxes
from datasets.video.crops_of_views import CropView

MIN_FOUND = 0.5  # of the frames
SAMPLE = 12  # crops of a view that are looked at
MIN_CHANGED = 0.05  # of the pixels in the middle of a crop differ from the background where a person is
REMEDY = "give the empty scene with --empty, or film longer"


def people_in_backgrounds(backgrounds: dict[str, Path]) -> list[str]:
    """A warning of the report that names the cameras in whose backgrounds, PNG, BlazePose sees somebody.

    No warning where the package for BlazePose is missing.
    """
    if find_spec("ai_edge_litert") is None:
        return []
    detector = BlazePose(max_people=1)
    cameras = [name for name, file in backgrounds.items() if detector.people(read_png(str(file)), [])]
    return [f"WARNING: somebody is in the background of {', '.join(cameras)}: {REMEDY}"] if cameras else []


def notes_on_found(boxes: Boxes, frames: dict[str, np.ndarray], several: dict[str, int]) -> list[str]:
    """Lines of the report on persons that were found as the difference to the background.

    frames: numbers of the frames that were searched, by camera. several: number of frames in which more than one thing
    differed.
    """
    found = {name: len(of_camera) for name, of_camera in boxes.items()}
    lines = [f"images in which something differs from the background: {_counts(found, frames)}"]
    rare = [name for name in found if found[name] < MIN_FOUND * len(frames[name])]
    if rare:
        lines.append(
            f"WARNING: most images of {', '.join(rare)} are like the background: nobody is there, or the background "
            f"shows somebody who stands still ({REMEDY})"
        )
    if any(several.values()):
        where = _counts({name: count for name, count in several.items() if count}, frames)
        lines.append(
            f"WARNING: images in which several things differ from the background: {where}; kept is the largest, which "
            "may be another person, or the place where somebody stood still"
        )
    return lines


def crops_without_person(views: Sequence[CropView], output: Path) -> list[str]:
    """Warnings of the report on views most of whose crops are like their background in the middle, where the person
    ought to be: the calibration or the poses are wrong, or the background shows the person too."""
    bare: dict[str, str] = {}
    for view in views:
        if view.background is None:
            continue
        rows = np.unique(np.linspace(0, len(view.frames) - 1, min(SAMPLE, len(view.frames))).astype(int))
        places = zip(*(view.ids[name][rows].tolist() for name in ("seq", "cam", "frame")), strict=True)
        empty = sum(_changed(output, *place) < MIN_CHANGED for place in places)
        if empty > len(rows) / 2:
            bare[view.name] = f"{view.name} {empty} of {len(rows)}"
    if not bare:
        return []
    return [
        f"WARNING: crops whose middle is like the background, of those looked at: {', '.join(bare.values())}; the "
        f"calibration, the offsets or the poses are wrong, or somebody stands still in the background ({REMEDY})"
    ]


def _changed(output: Path, seq: int, cam: int, frame: int) -> float:
    """Share of the pixels in the middle of a crop that differ from its background."""
    crop, background = (
        read_png(image_path(output, seq, cam, frame, kind)).astype(int) for kind in ("img_crop", "bg_crop")
    )
    quarter = len(crop) // 4
    difference = np.abs(crop - background).max(-1)[quarter:-quarter, quarter:-quarter]
    return float((difference > MIN_DIFFERENCE).mean())


def _counts(counts: dict[str, int], frames: dict[str, Sequence[int]]) -> str:
    return ", ".join(f"{name} {count} of {len(frames[name])}" for name, count in counts.items())
