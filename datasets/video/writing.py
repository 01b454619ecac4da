"""Writes H.264 videos with PyAV, and draws skeletons into their frames."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from datasets.cameras.camera import opencv
from datasets.video.rgb import pyav
from utils.skeleton import BONES, LEFT_JOINTS, RIGHT_JOINTS

LEFT, RIGHT, MIDDLE, PLAIN = (60, 170, 255), (255, 90, 60), (250, 220, 60), (255, 255, 255)
QUALITY = 23  # H.264's constant rate factor; lower is better and larger


def write_mp4(path: Path, frames: Iterable[np.ndarray], rate: float) -> None:
    """Write frames (H,W,3) uint8 RGB of one size, with H and W even, as H.264 in an mp4 that every player shows."""
    frames = iter(frames)
    first = next(frames)
    # The name may be a temporary one: the format does not follow from it.
    with pyav().open(str(path), "w", format="mp4") as container:
        height, width = first.shape[:2]
        options = {"crf": str(QUALITY), "preset": "veryfast"}
        stream = container.add_stream(
            "libx264", rate=Fraction(rate).limit_denominator(1001), width=width, height=height, options=options
        )
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for image in (first, *frames):
            container.mux(stream.encode(pyav().VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def draw_bones(image: np.ndarray, pixels: np.ndarray, thickness: int = 2, plain: bool = False) -> None:
    """Draw the skeleton whose joints are at `pixels` (17,2) into an image (H,W,3) uint8 RGB.

    Left limbs are blue, right ones red; all are white if `plain`. Joints of NaN are left out.
    """
    cv2 = opencv()
    for first, second in BONES:
        color = LEFT if second in LEFT_JOINTS else RIGHT if second in RIGHT_JOINTS else MIDDLE
        if np.isfinite(pixels[[first, second]]).all():
            # OpenCV takes no numbers that are far outside.
            ends = [tuple(np.clip(pixels[joint], -1e4, 1e4).round().astype(int).tolist()) for joint in (first, second)]
            cv2.line(image, *ends, PLAIN if plain else color, thickness, cv2.LINE_AA)
