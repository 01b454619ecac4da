"""Plots of crops and skeletons with matplotlib, on given figures or into files."""

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from mpl_toolkits.mplot3d import Axes3D

from utils.files import write_atomically
from utils.skeleton import BONES, LEFT_JOINTS, NUM_JOINTS, RIGHT_JOINTS

LEFT_COLOR, RIGHT_COLOR, TRUNK_COLOR = "tab:blue", "tab:red", "0.25"
PEOPLE_COLORS = ((1.0, 0.25, 0.2), (0.2, 0.85, 0.3), (0.3, 0.5, 1.0), (1.0, 0.8, 0.1))  # RGB of boxes and masks
SKELETON_RADIUS = 1.0  # meters around the root that a skeleton's axes show
PEOPLE_DISTANCE = 1.2  # meters between people whose skeletons are shown side by side
MAX_ROWS = 8  # examples in a picture of a training, one per row

# Nothing here uses pyplot, which chooses a backend and may need a screen: training writes pictures on machines
# that have none.


def crop_to_image(crop) -> np.ndarray:
    """A crop (3,R,R), or a frame, tensor or array, uint8 or float in 0..1 -> (R,R,3) float32 in 0..1."""
    array = to_array(crop)
    if array.ndim != 3 or array.shape[0] != 3:
        raise ValueError(f"a crop has shape {array.shape}; expected (3,R,R)")
    scale = 255 if array.dtype == np.uint8 else 1
    return np.clip(array.astype(np.float32).transpose(1, 2, 0) / scale, 0, 1)


def draw_image(axes: Axes, image: np.ndarray, title: str = ""):
    """Plot an image (R,R,3) in 0..1 without ticks. Returns the artist, whose data may be replaced."""
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes.imshow(image, vmin=0, vmax=1)


def replace_image(artist: AxesImage, image: np.ndarray) -> None:
    """Show another image, of any size, in place of the one that `draw_image` drew."""
    artist.set_data(image)
    height, width = image.shape[:2]
    # Replacing the data keeps the extent of the former image.
    artist.set_extent((-0.5, width - 0.5, height - 0.5, -0.5))
    artist.axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def draw_skeleton(axes: Axes3D, pose: np.ndarray, title: str = "") -> list:
    """Plot a pose (17,3) or (51,), meters, camera frame (x right, y down, z forward), as the camera sees it.

    Left limbs are blue, right ones red. Returns one line per bone, in the order of `BONES`, for `move_skeleton`.
    """
    style_skeleton_axes(axes, title)
    lines = []
    for bone in BONES:
        (line,) = axes.plot([0, 0], [0, 0], [0, 0], color=bone_color(bone), linewidth=3, solid_capstyle="round")
        lines.append(line)
    move_skeleton(lines, pose)
    return lines


def move_skeleton(lines: list, pose: np.ndarray) -> None:
    """Update the lines that `draw_skeleton` returned to another pose."""
    right, down, forward = np.asarray(pose, dtype=np.float64).reshape(NUM_JOINTS, 3).T
    # matplotlib's third axis points up, its second one into the picture.
    plotted = np.stack([right, forward, -down], axis=1)
    for line, bone in zip(lines, BONES, strict=True):
        line.set_data_3d(*plotted[list(bone)].T)


def draw_people(axes: Axes3D, people: Sequence) -> list[list]:
    """Plot poses (17,3), meters, camera frame, side by side: `people` are pairs of a pose and a color (RGB in 0..1).

    A person's right limbs are darker. Returns the lines of each person, for `move_people`. The axes are as
    `style_skeleton_axes` made them.
    """
    count = max(1, len(people))
    half = SKELETON_RADIUS + (count - 1) * PEOPLE_DISTANCE / 2
    axes.set(xlim=(-half, half), xticks=[])
    axes.set_box_aspect((half / SKELETON_RADIUS, 1, 1), zoom=1.25 + 0.15 * (count - 1))
    drawn = []
    for _, color in people:
        shades = [bone_color(bone, color) for bone in BONES]
        drawn.append([axes.plot([0, 0], [0, 0], [0, 0], color=shade, linewidth=2.5)[0] for shade in shades])
    move_people(drawn, people)
    return drawn


def move_people(drawn: list[list], people: Sequence) -> None:
    """Update the lines that `draw_people` returned to other poses of as many people."""
    for place, (lines, (pose, _)) in enumerate(zip(drawn, people, strict=True)):
        aside = np.array([(place - (len(people) - 1) / 2) * PEOPLE_DISTANCE, 0, 0])
        move_skeleton(lines, np.asarray(pose).reshape(NUM_JOINTS, 3) + aside)


def add_linked_axes(figure: Figure, places: Sequence) -> list[Axes3D]:
    """3D axes at `places` (left, bottom, width, height), of the figure; with the mouse all turn together."""
    first, *others = places
    linked = [figure.add_axes(first, projection="3d")]
    return linked + [figure.add_axes(place, projection="3d", shareview=linked[0]) for place in others]


def style_skeleton_axes(axes: Axes3D, title: str = "") -> None:
    """Set equal axes with the same limits for every pose, seen from the camera and slightly from above."""
    limits = (-SKELETON_RADIUS, SKELETON_RADIUS)
    ticks = (-SKELETON_RADIUS, 0, SKELETON_RADIUS)
    axes.set(xlim=limits, ylim=limits, zlim=limits, xticks=ticks, yticks=ticks, zticks=ticks)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_ticklabels([])
    axes.set_box_aspect((1, 1, 1), zoom=1.25)
    axes.set_title(title)
    axes.view_init(elev=12, azim=-80)


def skeleton_legend(figure: Figure, x: float, y: float) -> None:
    """Write at (x, y), in fractions of the figure, which color is which side of the body."""
    figure.text(x, y, "left", color=LEFT_COLOR, ha="right", va="center")
    figure.text(x, y, "  right", color=RIGHT_COLOR, ha="left", va="center")


def image_grid(columns: list) -> np.ndarray:
    """Columns of crops, each (N,3,R,R) -> one image (N*R + gaps, columns*R + gaps, 3) in 0..1, white gaps of 2 px."""
    rows = []
    for crops in zip(*columns, strict=True):
        padded = [np.pad(crop_to_image(crop), ((1, 1), (1, 1), (0, 0)), constant_values=1) for crop in crops]
        rows.append(np.concatenate(padded, axis=1))
    return np.concatenate(rows, axis=0)


def save_examples(
    path: str | os.PathLike,
    input,
    target,
    output,
    background=None,
    predicted_pose=None,
    true_pose=None,
    max_rows: int | None = None,
) -> None:
    """Write a picture of up to `max_rows` (MAX_ROWS) examples, one per row, to `path` (.png), atomically.

    `input`, `target`, `output` and `background` are crops (N,3,R,R), uint8 or float in 0..1: the input of the
    network, the true view, the reconstructed view, and the background that the network was given.
    `predicted_pose` and `true_pose` (N,17,3) or (N,51), meters, camera frame, are plotted beside them.
    """
    columns = {"input": input, "background": background, "output": output, "target": target}
    save_columns(path, columns, {"predicted pose": predicted_pose, "true pose": true_pose}, max_rows)


def save_columns(
    path: str | os.PathLike, columns: Mapping, poses: Mapping | None = None, max_rows: int | None = None
) -> None:
    """Write a picture of up to `max_rows` (MAX_ROWS) examples, one per row, to `path` (.png), atomically.

    `columns`: images (N,3,H,W), uint8 or float in 0..1, by their title; `poses` as in `save_examples`, plotted beside
    them. What is None is left out.
    """
    max_rows = MAX_ROWS if max_rows is None else max_rows
    columns = {name: images[:max_rows] for name, images in columns.items() if images is not None}
    poses = {name: pose[:max_rows] for name, pose in (poses or {}).items() if pose is not None}
    count, shape = len(next(iter(columns.values()))), np.shape(next(iter(columns.values())))
    height = 1.6  # inches of an image
    width = height * shape[-1] / shape[-2]
    widths = [width * len(columns)] + [height] * len(poses)
    figure = Figure(figsize=(sum(widths), height * count + 0.4), layout="constrained")
    grid = figure.add_gridspec(count, len(widths), width_ratios=widths)
    axes = figure.add_subplot(grid[:, 0])
    picture = image_grid(list(columns.values()))
    axes.imshow(picture)
    axes.set_yticks([])
    centers = (np.arange(len(columns)) + 0.5) * picture.shape[1] / len(columns)
    axes.set_xticks(centers, list(columns))
    axes.tick_params(top=True, bottom=False, labeltop=True, labelbottom=False, length=0)
    axes.spines[:].set_visible(False)
    for column, (name, pose) in enumerate(poses.items(), start=1):
        for row in range(count):
            title = name if row == 0 else ""
            draw_skeleton(figure.add_subplot(grid[row, column], projection="3d"), to_array(pose[row]), title)
    save_figure(figure, path, bbox_inches="tight", pad_inches=0.05)


def outline_boxes(frames: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Frames (B,3,H,W) in 0..1 with the outlines of boxes (B,K,2,3), in frame sides as models/scene/boxes.py has them.

    Box k has the color PEOPLE_COLORS[k], from the start again where there are more.
    """
    height, width = frames.shape[-2:]
    outlined = frames.clone().clamp(0, 1)
    scale = torch.tensor([width - 1, height - 1])
    corners = [(boxes[..., 2] + sign * boxes[..., :2].diagonal(dim1=-2, dim2=-1) + 1) / 2 for sign in (-1, 1)]
    first, last = (torch.minimum((corner.cpu() * scale).round().long().clamp(min=0), scale) for corner in corners)
    for frame, (start, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        for (left, top), (right, bottom), color in zip(start, end, itertools.cycle(PEOPLE_COLORS)):
            color = outlined.new_tensor(color)[:, None]
            outlined[frame, :, [top, bottom], left : right + 1] = color[..., None]
            outlined[frame, :, top : bottom + 1, [left, right]] = color[..., None]
    return outlined


def color_masks(masks: torch.Tensor) -> torch.Tensor:
    """Masks (B,K,H,W) in 0..1 -> images (B,3,H,W): person k in PEOPLE_COLORS[k], nobody black."""
    colors = itertools.islice(itertools.cycle(PEOPLE_COLORS), masks.shape[1])
    return torch.einsum("bkhw,kc->bchw", masks.float(), masks.new_tensor(list(colors), dtype=torch.float32))


def save_figure(figure: Figure, path: str | os.PathLike, **options) -> None:
    """Write `figure` to `path`, in the format of its suffix, atomically."""
    path = Path(path)
    write_atomically(path, lambda part: figure.savefig(part, format=path.suffix[1:] or "png", **options))


def to_array(values) -> np.ndarray:
    """A tensor on any device, or an array -> numpy array."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def bone_color(bone: tuple[int, int], person: Sequence[float] | None = None) -> str | np.ndarray:
    """A color of matplotlib: blue of left limbs, red of right ones; of a `person` with a color, right limbs darker."""
    if person is not None:
        return (0.5 if bone[1] in RIGHT_JOINTS else 1.0) * np.asarray(person)
    return LEFT_COLOR if bone[1] in LEFT_JOINTS else RIGHT_COLOR if bone[1] in RIGHT_JOINTS else TRUNK_COLOR
