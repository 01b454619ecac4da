"""Videos to judge poses by: the skeleton drawn over the pictures of each camera, with its trust."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets.cameras.camera import opencv
from datasets.video.drawing import PLAIN, draw_bones
from datasets.video.frames import read_frames
from training.estimation.shot import Shot
from training.exports.motion import Motion
from utils.video import write_video

LONGER_SIDE = 960  # pixels, at most
WARNING = (255, 80, 60)


def write_overlay(
    path: Path, shot: Shot, name: str, motion: Motion, flagged: np.ndarray, triangulated: np.ndarray
) -> None:
    """Write an mp4 of the frames of one camera with `motion` drawn into them, unless the file exists.

    flagged, triangulated: (T,) bool, of which the caption warns, and which it names.
    """
    if not path.exists():
        frames = drawn_frames(shot, name, motion, flagged, triangulated)
        write_video(path, frames, motion.instants_per_second)


def drawn_frames(
    shot: Shot, name: str, motion: Motion, flagged: np.ndarray, triangulated: np.ndarray
) -> Iterator[np.ndarray]:
    """The frames (H,W,3) uint8 of one camera with the skeletons, scaled to at most 960 pixels, H and W even."""
    camera, frames = shot.cameras[name], shot.frames[list(shot.cameras).index(name)]
    rows = np.flatnonzero(frames >= 0)
    pixels = camera.project(camera.world_to_cam(motion.joints))
    scale = min(1.0, LONGER_SIDE / max(camera.width, camera.height))
    size = tuple(max(2, int(side * scale) // 2 * 2) for side in (camera.width, camera.height))
    cv2 = opencv()
    for row, (_, frame) in zip(rows, read_frames(shot.videos[name], frames[rows].tolist()), strict=True):
        image = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        # Whole numbers are pixel centers.
        factors = np.array(size) / (frame.shape[1], frame.shape[0])
        draw_bones(image, (pixels[row] + 0.5) * factors - 0.5, thickness=max(2, max(size) // 240))
        trust = None if motion.trust is None else motion.trust[row]
        words = _words(motion.known[row], trust, flagged[row], triangulated[row])
        _caption(image, words, WARNING if flagged[row] else PLAIN)
        yield image


def _words(known: bool, trust: float | None, flagged: bool, triangulated: bool) -> str:
    if triangulated:
        return "triangulated"
    if not known:
        return "nobody"
    words = "" if trust is None or not np.isfinite(trust) else f"trust {trust:.2f}"
    return f"{words} unlike the training".strip() if flagged else words


def _caption(image: np.ndarray, words: str, color: tuple[int, int, int]) -> None:
    cv2 = opencv()
    scale = max(image.shape[:2]) / LONGER_SIDE
    margin = round(12 * scale)
    (width, height), below = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    if words:
        # On a dark ground, so that the words are read on any picture.
        image[: height + below + 2 * margin, : width + 2 * margin] //= 3
        cv2.putText(image, words, (margin, height + margin), cv2.FONT_HERSHEY_SIMPLEX, scale, color, 1, cv2.LINE_AA)
