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
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Polygon

from datasets import MultiViewDataset
from hubconf import encode_decode
from utils.images import denormalize, normalize
from utils.plotting import crop_to_image, draw_image, draw_skeleton

SOURCE, TARGET, DONOR = 8, 10, 13  # rows of the sample set: two cameras of one instant, another instant of the sequence
BLUE, GRAY, GREEN = "#dbe7f5", "#444444", "#dff0dc"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--output", default=str(ROOT / "examples/pictures/method.png"), metavar="FILE")
    draw(run_method()).savefig(parser.parse_args().output, dpi=110)


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


def draw(computed: dict[str, np.ndarray]) -> Figure:
    """Stage 1 above, left to right; stage 2 below."""
    figure = Figure(figsize=(12.4, 5.1), facecolor="white")
    canvas = figure.add_axes((0, 0, 1, 1))
    canvas.set(xlim=(0, 12.4), ylim=(0, 5.1))
    canvas.axis("off")

    def image(name: str, x: float, y: float, side: float, title: str) -> None:
        axes = figure.add_axes((x / 12.4, y / 5.1, side / 12.4, side / 5.1))
        draw_image(axes, computed[name])
        axes.set_title(title, fontsize=9.5, pad=4)

    def cloud(name: str, x: float, title: str) -> None:
        axes = figure.add_axes((x / 12.4, 2.75 / 5.1, 1.75 / 12.4, 1.75 / 5.1), projection="3d")
        right, down, forward = computed[name].T
        # the color of a point says where it lies along x before the rotation, so that one can follow it
        axes.scatter(right, forward, -down, s=7, c=computed["points"][:, 0], cmap="coolwarm", depthshade=False)
        limits = (-3.2, 3.2)
        axes.set(xlim=limits, ylim=limits, zlim=limits, xticklabels=[], yticklabels=[], zticklabels=[])
        axes.set_box_aspect((1, 1, 1), zoom=1.3)
        axes.view_init(elev=14, azim=-75)
        axes.set_title(title, fontsize=9.5, pad=0)
        axes.patch.set_visible(False)

    def arrow(start: tuple[float, float], end: tuple[float, float], bend: float = 0.0) -> None:
        style = {"arrowstyle": "-|>", "mutation_scale": 13, "linewidth": 1.6, "color": GRAY}
        canvas.add_patch(FancyArrowPatch(start, end, connectionstyle=f"arc3,rad={bend}", **style))

    def trapezoid(x: float, y: float, left: float, right: float, text: str, color: str = BLUE) -> None:
        corners = [(x, y - left), (x, y + left), (x + 0.85, y + right), (x + 0.85, y - right)]
        canvas.add_patch(Polygon(corners, facecolor=color, edgecolor=GRAY, linewidth=1.2))
        canvas.text(x + 0.425, y, text, ha="center", va="center", fontsize=10)

    canvas.text(0.2, 4.9, "Stage 1: novel views, no labels", fontsize=12, weight="bold", va="center")
    image("source", 0.2, 3.0, 1.3, "camera A")
    arrow((1.55, 3.65), (1.85, 3.65))
    trapezoid(1.9, 3.65, 0.7, 0.4, "encoder")
    arrow((2.8, 3.65), (3.15, 3.65))
    cloud("points", 3.15, "3D points, camera A")
    arrow((4.95, 3.65), (5.95, 3.65))
    canvas.text(5.45, 3.9, "known rotation\nA → B", ha="center", va="bottom", fontsize=9.5)
    cloud("rotated", 5.95, "3D points, camera B")
    arrow((7.75, 3.65), (8.05, 3.65))
    trapezoid(8.1, 3.65, 0.4, 0.7, "decoder")
    arrow((9.0, 3.65), (9.25, 3.65))
    image("output", 9.3, 3.0, 1.3, "reconstruction")
    canvas.text(10.8, 3.65, "≈", fontsize=20, ha="center", va="center")
    image("target", 11.0, 3.0, 1.3, "camera B")

    image("donor", 5.2, 0.85, 1.0, "another instant")
    arrow((6.25, 1.35), (6.45, 1.35))
    trapezoid(6.5, 1.35, 0.5, 0.3, "encoder")
    bar = figure.add_axes((7.6 / 12.4, 0.95 / 5.1, 0.16 / 12.4, 0.8 / 5.1))
    bar.imshow(computed["appearance"][:, None], aspect="auto", cmap="viridis")
    bar.set(xticks=[], yticks=[])
    arrow((7.37, 1.35), (7.57, 1.35))
    canvas.text(7.68, 0.82, "appearance", ha="center", va="top", fontsize=9.5)
    arrow((7.8, 1.5), (8.4, 3.1), bend=0.25)
    image("background", 9.6, 0.85, 1.0, "background of B")
    arrow((9.55, 1.5), (8.75, 3.02), bend=-0.2)

    canvas.text(1.0, 2.3, "Stage 2: 3D pose from few labels, encoder frozen", fontsize=12, weight="bold", va="center")
    canvas.plot([3.85, 3.85, 0.6, 0.6], [2.75, 2.62, 2.62, 1.9], color=GRAY, linewidth=1.6)
    canvas.plot([0.6, 0.6], [1.9, 1.2], color=GRAY, linewidth=1.6)
    arrow((0.6, 1.2), (0.88, 1.2))
    trapezoid(0.9, 1.2, 0.45, 0.45, "MLP", GREEN)
    canvas.text(1.32, 0.6, "1 % of the labels", fontsize=9.5, ha="center", va="center")
    arrow((1.8, 1.2), (2.2, 1.2))
    skeleton = figure.add_axes((2.35 / 12.4, 0.15 / 5.1, 1.9 / 12.4, 1.9 / 5.1), projection="3d")
    draw_skeleton(skeleton, computed["pose"])
    skeleton.patch.set_visible(False)
    canvas.text(4.15, 1.2, "3D pose", fontsize=9.5, ha="left", va="center")
    return figure


if __name__ == "__main__":
    main()
