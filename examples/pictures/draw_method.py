"""Draw the figure of the method, examples/pictures/method.png, from the packaged weights and sample set.

python examples/pictures/draw_method.py [--output FILE]
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Polygon

from datasets.reader import MultiViewDataset
from hubconf import encode_decode
from utils.images import denormalize, normalize
from utils.plotting import crop_to_image, draw_image, draw_skeleton, save_figure

SOURCE, TARGET, DONOR = 8, 10, 13  # rows of the sample set: two cameras of one instant, another instant of the sequence
BLUE, GRAY, GREEN = "#dbe7f5", "#444444", "#dff0dc"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--output", default=str(ROOT / "examples/pictures/method.png"), metavar="FILE")
    save_figure(draw(run_method()), parser.parse_args().output, dpi=110)


@torch.no_grad()
def run_method() -> dict[str, np.ndarray]:
    """What the packaged network computes on the way from one camera's crop to another camera's."""
    network = encode_decode("benchmark64")
    dataset = MultiViewDataset(ROOT / "examples/sample_set", ("img_crop", "bg_crop", "extrinsic_rot"))
    batch = dataset.__getitems__([SOURCE, TARGET, DONOR])
    crops, background = normalize(batch["img_crop"]), normalize(batch["bg_crop"][1:2])
    rotations = batch["extrinsic_rot"]
    cam2cam = (rotations[1] @ rotations[0].T)[None]
    appearance, points = network.encode(crops)
    rotated = network.rotate(points[:1], cam2cam)
    output = network.decode(appearance[2:], rotated, background)
    pose = network.denormalize_pose(network.pose(points[:1]))
    source, target, donor = (crop_to_image(crop) for crop in batch["img_crop"])
    return {
        "source": source,
        "target": target,
        "donor": donor,
        "background": crop_to_image(batch["bg_crop"][1]),
        "appearance": appearance[2].numpy(),
        "points": points[0].numpy(),
        "rotated": rotated[0].numpy(),
        "output": crop_to_image(denormalize(output)[0]),
        "pose": pose[0].reshape(17, 3).numpy(),
    }


class Drawing:
    """A figure whose coordinates are inches, and what the method's figure is made of."""

    def __init__(self, width: float, height: float):
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), facecolor="white")
        self.canvas = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
        self.canvas.axis("off")

    def axes(self, x: float, y: float, width: float, height: float, **kind) -> Axes:
        """Axes whose lower left corner is at (x, y)."""
        place = (x / self.width, y / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place, **kind)
        axes.patch.set_visible(False)
        return axes

    def text(self, x: float, y: float, text: str, size: float = 9.5, **style) -> None:
        self.canvas.text(x, y, text, fontsize=size, **{"ha": "center", "va": "center", **style})

    def image(self, picture: np.ndarray, x: float, y: float, side: float, title: str) -> None:
        axes = self.axes(x, y, side, side)
        draw_image(axes, picture)
        axes.set_title(title, fontsize=9.5, pad=4)

    def cloud(self, points: np.ndarray, colors: np.ndarray, x: float, title: str) -> None:
        """Points (N,3) in a camera frame, as that camera sees them."""
        axes = self.axes(x, 2.75, 1.75, 1.75, projection="3d")
        right, down, forward = points.T
        axes.scatter(right, forward, -down, s=7, c=colors, cmap="coolwarm", depthshade=False)
        limits = (-3.2, 3.2)
        axes.set(xlim=limits, ylim=limits, zlim=limits, xticklabels=[], yticklabels=[], zticklabels=[])
        axes.set_box_aspect((1, 1, 1), zoom=1.3)
        axes.view_init(elev=14, azim=-75)
        axes.set_title(title, fontsize=9.5, pad=0)

    def arrow(self, start: tuple[float, float], end: tuple[float, float], bend: float = 0.0) -> None:
        style = {"arrowstyle": "-|>", "mutation_scale": 13, "linewidth": 1.6, "color": GRAY}
        self.canvas.add_patch(FancyArrowPatch(start, end, connectionstyle=f"arc3,rad={bend}", **style))

    def line(self, *corners: tuple[float, float]) -> None:
        self.canvas.plot(*zip(*corners, strict=True), color=GRAY, linewidth=1.6)

    def trapezoid(self, x: float, y: float, left: float, right: float, text: str, color: str = BLUE) -> None:
        """A network; `left` and `right` are half the heights of its sides."""
        corners = [(x, y - left), (x, y + left), (x + 0.85, y + right), (x + 0.85, y - right)]
        self.canvas.add_patch(Polygon(corners, facecolor=color, edgecolor=GRAY, linewidth=1.2))
        self.text(x + 0.425, y, text, size=10)


def draw(computed: dict[str, np.ndarray]) -> Figure:
    """Stage 1 above, left to right; appearance and background below it; stage 2 below."""
    drawing = Drawing(12.4, 5.1)
    draw_stage1(drawing, computed)
    draw_appearance(drawing, computed)
    draw_stage2(drawing, computed)
    return drawing.figure


def draw_stage1(drawing: Drawing, computed: dict[str, np.ndarray]) -> None:
    # the color of a point says where it lies along x before the rotation, so that one can follow it
    colors = computed["points"][:, 0]
    drawing.text(0.2, 4.9, "Stage 1: novel views, no labels", size=12, weight="bold", ha="left")
    drawing.image(computed["source"], 0.2, 3.0, 1.3, "camera A")
    drawing.arrow((1.55, 3.65), (1.85, 3.65))
    drawing.trapezoid(1.9, 3.65, 0.7, 0.4, "encoder")
    drawing.arrow((2.8, 3.65), (3.15, 3.65))
    drawing.cloud(computed["points"], colors, 3.15, "3D points, camera A")
    drawing.arrow((4.95, 3.65), (5.95, 3.65))
    drawing.text(5.45, 3.9, "known rotation\nA → B", va="bottom")
    drawing.cloud(computed["rotated"], colors, 5.95, "3D points, camera B")
    drawing.arrow((7.75, 3.65), (8.05, 3.65))
    drawing.trapezoid(8.1, 3.65, 0.4, 0.7, "decoder")
    drawing.arrow((9.0, 3.65), (9.25, 3.65))
    drawing.image(computed["output"], 9.3, 3.0, 1.3, "reconstruction")
    drawing.text(10.8, 3.65, "≈", size=20)
    drawing.image(computed["target"], 11.0, 3.0, 1.3, "camera B")


def draw_appearance(drawing: Drawing, computed: dict[str, np.ndarray]) -> None:
    drawing.image(computed["donor"], 5.2, 0.85, 1.0, "another instant")
    drawing.arrow((6.25, 1.35), (6.45, 1.35))
    drawing.trapezoid(6.5, 1.35, 0.5, 0.3, "encoder")
    drawing.arrow((7.37, 1.35), (7.57, 1.35))
    bar = drawing.axes(7.6, 0.95, 0.16, 0.8, xticks=[], yticks=[])
    bar.imshow(computed["appearance"][:, None], aspect="auto", cmap="viridis")
    drawing.text(7.68, 0.82, "appearance", va="top")
    drawing.arrow((7.8, 1.5), (8.4, 3.1), bend=0.25)
    drawing.image(computed["background"], 9.6, 0.85, 1.0, "background of B")
    drawing.arrow((9.55, 1.5), (8.75, 3.02), bend=-0.2)


def draw_stage2(drawing: Drawing, computed: dict[str, np.ndarray]) -> None:
    drawing.text(1.0, 2.3, "Stage 2: 3D pose from few labels, encoder frozen", size=12, weight="bold", ha="left")
    drawing.line((3.85, 2.75), (3.85, 2.62), (0.6, 2.62), (0.6, 1.2))
    drawing.arrow((0.6, 1.2), (0.88, 1.2))
    drawing.trapezoid(0.9, 1.2, 0.45, 0.45, "MLP", GREEN)
    drawing.text(1.32, 0.6, "1 % of the labels")
    drawing.arrow((1.8, 1.2), (2.2, 1.2))
    draw_skeleton(drawing.axes(2.35, 0.15, 1.9, 1.9, projection="3d"), computed["pose"])
    drawing.text(4.15, 1.2, "3D pose", ha="left")


if __name__ == "__main__":
    main()
