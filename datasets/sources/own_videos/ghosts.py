"""Is somebody in a background? Whoever stands still for half of a recording is in the median of its frames."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from datasets.detection.blazepose import BlazePose
from datasets.layout.png import read_png
from datasets.sources.own_videos.boxes import Boxes

MIN_FOUND = 0.5  # of the frames
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


def _counts(counts: dict[str, int], frames: dict[str, Sequence[int]]) -> str:
    return ", ".join(f"{name} {count} of {len(frames[name])}" for name, count in counts.items())
