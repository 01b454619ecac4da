"""Cameras in the pixels of their videos, where these have another size than the calibration says."""

from collections.abc import Callable
from pathlib import Path

from datasets.cameras.calibration import Calibration
from datasets.cameras.camera import Camera
from datasets.cameras.video_size import Area, Fit, fit_to_video
from datasets.video.image_area import image_area, video_size

CLEARLY = 0.8  # the rays of one way to crop must miss by less than this part of the others' to be chosen


def ways_to_fit(calibration: Calibration, videos: dict[str, Path]) -> dict[str, list[Fit]]:
    """For each camera with a video, all ways in which the video may show the calibrated image."""
    ways = {}
    for name, video in videos.items():
        camera, (width, height) = calibration.cameras[name], video_size(video)
        equal = (camera.width, camera.height) in ((width, height), (0, 0))
        area = Area(0, 0, width, height) if equal else image_area(video)
        ways[name] = fit_to_video(camera, width, height, area, f"camera {name!r}")
    return ways


def with_cameras(calibration: Calibration, fits: dict[str, Fit]) -> Calibration:
    """The calibration with the cameras of `fits`."""
    return calibration._replace(cameras={**calibration.cameras, **{name: fit.camera for name, fit in fits.items()}})


def assumed_fits(ways: dict[str, list[Fit]]) -> list[str]:
    """What the first way of each camera assumes, for a report; a warning where another one may be true."""
    return [
        fits[0].sentence if len(fits) == 1 else f"WARNING: {fits[0].sentence}: the middle, which nothing checked"
        for fits in ways.values()
        if fits[0].sentence
    ]


def best_fits(
    ways: dict[str, list[Fit]], miss: Callable[[dict[str, Camera]], float]
) -> tuple[dict[str, Fit], list[str]]:
    """One way for each camera, and what was assumed. miss: how far rays of cameras miss each other, meters.

    Where an image was cropped at an unknown place, the one is taken with which the rays agree clearly better than with
    all others; else the middle.
    """
    chosen = {name: fits[0] for name, fits in ways.items()}
    sentences = []
    for name, fits in ways.items():
        sentence = fits[0].sentence
        if len(fits) > 1:
            misses = [miss({other: fit.camera for other, fit in {**chosen, name: fit}.items()}) for fit in fits]
            best = min(range(len(fits)), key=misses.__getitem__)
            others = min(value for index, value in enumerate(misses) if index != best)
            clear = misses[best] < CLEARLY * others
            chosen[name] = fits[best if clear else 0]
            values = ", ".join(f"{1000 * value:.0f}" for value in misses)
            why = "rays miss by" if clear else "the middle, since rays cannot tell:"
            sentence = f"{chosen[name].sentence} ({why} {values} mm with the middle and either end)"
        if sentence:
            sentences.append(sentence)
    return chosen, sentences
