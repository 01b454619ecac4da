"""Cameras in the pixels of their videos, where these have another size than the calibration says."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from datasets.cameras.calibration import Calibration
from datasets.cameras.camera import Camera
from datasets.cameras.video_size import Area, Fit, fit_to_video
from datasets.video.frames import pixel_aspect
from datasets.video.image_area import image_area, video_size

CLEARLY = 0.8  # the rays of one way to crop must miss by less than this part of the others' to be chosen
MAX_ALL = 6  # cropped cameras of which all combinations are tried: 729 of six
# Meters. Boxes of the recording in the box miss by 0.05, where its calibration is right; a crop that is misplaced by a
# tenth of the width moves rays by 0.3 or more at 4 m.
MAX_MISS = 0.1
USUAL_DISTANCE = 4.0  # meters between a camera and the person, where no better one is known


def ways_to_fit(calibration: Calibration, videos: dict[str, Path]) -> dict[str, list[Fit]]:
    """For each camera with a video, all ways in which the video may show the calibrated image."""
    ways = {}
    for name, video in videos.items():
        camera, (width, height) = calibration.cameras[name], video_size(video)
        area, aspect = Area(0, 0, width, height), 1.0
        # Only another size needs an explanation, for which the video is opened again.
        if (camera.width, camera.height) not in ((width, height), (0, 0)):
            area, aspect = image_area(video), pixel_aspect(video, width, height)
        ways[name] = fit_to_video(camera, width, height, area, f"camera {name!r}", aspect)
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

    Images that were cropped at unknown places are placed together, where the rays agree clearly better than elsewhere;
    what the rays cannot tell is the middle.
    """
    cropped = [name for name, fits in ways.items() if len(fits) > 1]

    def fitted(numbers: Sequence[int]) -> dict[str, Fit]:
        of_cropped = dict(zip(cropped, numbers, strict=True))
        return {name: fits[of_cropped.get(name, 0)] for name, fits in ways.items()}

    if not cropped:
        return fitted(()), [fits[0].sentence for fits in ways.values() if fits[0].sentence]

    @cache
    def rays_miss(numbers: tuple[int, ...]) -> float:
        return miss({name: fit.camera for name, fit in fitted(numbers).items()})

    tried = _combinations([len(ways[name]) for name in cropped], rays_miss)
    least = min(map(rays_miss, tried))
    # Where several combinations fit nearly as well, the usual one is that with the most images cropped in the middle.
    likely = [numbers for numbers in tried if CLEARLY * rays_miss(numbers) <= least]
    chosen = min(likely, key=lambda numbers: (np.count_nonzero(numbers), rays_miss(numbers)))
    fits, sentences = fitted(chosen), []
    for name, fit in fits.items():
        sentence = fit.sentence
        if name in cropped:
            place = cropped.index(name)
            values = ", ".join(f"{1000 * rays_miss(one):.0f}" for one in _neighbors(chosen, place, len(ways[name])))
            sure = all(numbers[place] == chosen[place] for numbers in likely)
            why = "rays miss by" if sure else "rays cannot tell: they miss by"
            sentence = f"{sentence} ({why} {values} mm with the middle and either end)"
            if not sure and _apart(ways[name]) > MAX_MISS:
                sentence = f"WARNING: {sentence}; expected a calibration in the size of the video"
        if sentence:
            sentences.append(sentence)
    if MAX_MISS < rays_miss(chosen) < np.inf:
        sentences.append(
            f"WARNING: at the best places of the cropped images ({', '.join(cropped)}), rays still miss by "
            f"{1000 * rays_miss(chosen):.0f} mm; expected at most {1000 * MAX_MISS:.0f} mm: check where they were "
            "cropped, the calibration and the offsets"
        )
    return fits, sentences


def _apart(fits: Sequence[Fit]) -> float:
    """How far apart the rays of an image cropped in the middle and at an end are at the person, meters."""
    middle, end = (fit.camera.intrinsics for fit in fits[:2])
    return float(USUAL_DISTANCE * np.abs((middle - end)[:2, 2] / middle.diagonal()[:2]).max())


def _combinations(counts: Sequence[int], miss: Callable[[tuple[int, ...]], float]) -> list[tuple[int, ...]]:
    """Numbers of ways for each of several cameras, of which one has `counts`: all of few cameras.

    Of many, those that a search meets that changes one camera at a time, and starts where all are cropped alike.
    """
    if len(counts) <= MAX_ALL:
        return list(product(*map(range, counts)))
    tried: dict[tuple[int, ...], None] = {}
    for start in range(min(counts)):
        best, chosen = None, (start,) * len(counts)
        while best != chosen:
            best = chosen
            near = [one for place, count in enumerate(counts) for one in _neighbors(best, place, count)]
            tried |= dict.fromkeys(near)
            chosen = min([best, *near], key=miss)
    return list(tried)


def _neighbors(numbers: tuple[int, ...], place: int, count: int) -> list[tuple[int, ...]]:
    """The combinations with each of `count` ways at `place`."""
    return [(*numbers[:place], way, *numbers[place + 1 :]) for way in range(count)]
