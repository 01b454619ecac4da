"""Draw good and bad boxes of a person, examples/pictures/boxes.jpg, from the recording in the box.

python examples/pictures/draw_boxes.py [--output FILE]
"""

import argparse
import csv
import math
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import imageio.v3 as iio
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from utils.plotting import draw_image, save_figure

RECORDING = ROOT / "examples" / "recording"
CAMERA, FRAME, ROLL = "cam04", 10, -26.0  # degrees by which this camera is rolled
METERS = 1.1  # side of a good box in heights of the detector's
BOXES = {  # shift right and down, side, as fractions of a good box; rolled back or not
    "good: 2 m, hip in the center, upright": (0, 0, 1, True),
    "camera rolled: use --upright": (0, 0, 1, False),
    "too tight: limbs are cut": (0, 0, 0.6, True),
    "too wide: few pixels of the person": (0, 0, 1.8, True),
    "off center by a quarter": (0.25, 0, 1, True),
    "legs missing": (0, -0.4, 0.8, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--output", default=str(ROOT / "examples/pictures/boxes.jpg"), metavar="FILE")
    save_figure(draw(), parser.parse_args().output, dpi=90)


def draw() -> Figure:
    """All boxes side by side, each with its crop and what is right or wrong about it."""
    frame = Image.fromarray(iio.imread(RECORDING / "videos" / f"{CAMERA}.mp4", index=FRAME, plugin="pyav"))
    with (RECORDING / "boxes.csv").open(encoding="utf-8") as file:
        (box,) = (row for row in csv.DictReader(file) if (row["camera"], int(row["frame"])) == (CAMERA, FRAME))
    left, top, width, height = (float(box[key]) for key in ("x0", "y0", "w", "h"))
    center, side = np.array([left + width / 2, top + height / 2]), METERS * max(width, height)
    figure = Figure(figsize=(2.2 * len(BOXES), 2.4), layout="constrained")
    for axes, (title, (right, down, scale, upright)) in zip(figure.subplots(1, len(BOXES)), BOXES.items(), strict=True):
        angle = math.radians(ROLL) if upright else 0.0
        along = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        draw_image(axes, cut(frame, center + along @ np.array([right, down]) * side, side * scale, along))
        axes.set_title(title, fontsize=8, color="darkgreen" if title.startswith("good") else "darkred")
    return figure


def cut(image: Image.Image, center: np.ndarray, side: float, along: np.ndarray, size: int = 192) -> np.ndarray:
    """A square (size,size,3) uint8 of `side` pixels about `center` (2,). `along` (2,2): its axes, as columns."""
    matrix = along * side / size
    offset = center - matrix @ np.full(2, size / 2)
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    return np.asarray(image.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC))


if __name__ == "__main__":
    main()
