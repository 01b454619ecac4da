"""Drawing skeletons into images."""

import numpy as np

from datasets.cameras.camera import opencv
from utils.skeleton import BONES, LEFT_JOINTS, RIGHT_JOINTS

LEFT, RIGHT, MIDDLE, PLAIN = (60, 170, 255), (255, 90, 60), (250, 220, 60), (255, 255, 255)


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
