"""Warnings of somebody who stands still for so long that the background shows them."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("av")

from datasets.layout.png import write_png
from datasets.sources.own_videos.backgrounds import with_notes_on_backgrounds
from datasets.sources.own_videos.ghosts import REMEDY, notes_on_found, people_in_backgrounds
from datasets.video.frames import read_frames
from tests.tiny import ROOT


@pytest.fixture(scope="module")
def backgrounds(tmp_path_factory):
    """Of three cameras: the middle one's shows a man."""
    folder = tmp_path_factory.mktemp("backgrounds")
    man = next(read_frames(ROOT / "examples/recording/videos/cam03.mp4", [0]))[1]
    files = {name: folder / f"{name}.png" for name in ("left", "middle", "right")}
    for name, file in files.items():
        write_png(str(file), man if name == "middle" else np.full_like(man, 90))
    return files


class PlanOfOne(NamedTuple):
    """What warnings on backgrounds are made of."""

    notes: tuple[str, ...]
    recording: SimpleNamespace


def test_a_warning_names_the_cameras_with_somebody_in_the_background(backgrounds):
    pytest.importorskip("ai_edge_litert")
    warning = f"WARNING: somebody is in the background of middle: {REMEDY}"
    assert "--empty" in REMEDY and people_in_backgrounds(backgrounds) == [warning]
    # A scene that the user calls empty is not doubted.
    plans = [PlanOfOne(("a note",), SimpleNamespace(empty=empty)) for empty in ({}, {"middle": "scene.png"})]
    noted = with_notes_on_backgrounds(plans, [backgrounds, backgrounds])
    assert [plan.notes for plan in noted] == [("a note", warning), ("a note",)]


def test_without_the_detector_nobody_is_looked_for(backgrounds, monkeypatch):
    monkeypatch.setattr("datasets.sources.own_videos.ghosts.find_spec", lambda name: None)
    assert people_in_backgrounds(backgrounds) == []


def test_cameras_that_see_hardly_anything_but_the_background_are_named():
    frames = {"left": np.arange(10), "right": np.arange(8)}
    box = np.array([0.0, 0, 10, 20])

    def notes(left: int, right: int, several: int = 0) -> list[str]:
        boxes = {"left": dict.fromkeys(range(left), box), "right": dict.fromkeys(range(right), box)}
        return notes_on_found(boxes, frames, {"left": 0, "right": several})

    # Half of the frames is enough.
    assert notes(5, 8) == ["images in which something differs from the background: left 5 of 10, right 8 of 8"]
    _, rare = notes(4, 4)
    assert rare.startswith("WARNING: most images of left are like the background") and rare.endswith(f"({REMEDY})")
    assert notes(0, 3)[1].startswith("WARNING: most images of left, right are like the background")
    _, second = notes(9, 8, several=3)
    assert second.startswith(
        "WARNING: images in which several things differ from the background: right 3 of 8; kept is"
    )
