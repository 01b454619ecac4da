"""Viewers: panels that rotate with a slider, and a button for the next image; the panels of one person in a crop.

It knows no network and no dataset: a callable gives the contents of the panels.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.widgets import Button, Slider
from tqdm import tqdm

from utils.animation import SUFFIXES, require_writer, save_animation
from utils.errors import UserError
from utils.plotting import draw_image, draw_skeleton, move_skeleton, save_figure, skeleton_legend, style_skeleton_axes

TITLES = ("Input image", "Output image", "Predicted pose", "True pose")
SCREENLESS_BACKENDS = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")
SAVED_SUFFIXES = (".png", *SUFFIXES)
SWEEP_FRAMES = 36
WARNING_COLOR = "tab:red"
FRAME_MILLISECONDS = 100


class Panels(NamedTuple):
    """Contents of the four panels. Poses are (17,3), meters, camera frame. A panel of None is empty."""

    input_image: np.ndarray  # (R,R,3), colors in 0..1
    output_image: np.ndarray | None  # likewise: the view that the network reconstructs after the yaw
    predicted_pose: np.ndarray | None
    true_pose: np.ndarray | None
    caption: str = ""
    warned: bool = False  # the caption is red: do not rely on the predicted pose


class RotatingPanels:
    """Panels on `figure` and, with `controls`, a button and a slider below; the panels are those of a subclass.

    `view(index, yaw)` gives what to show of image `index`, 0 <= index < count, rotated by `yaw` radians about the
    world's vertical axis. Keep a reference to it: without one matplotlib's widgets stop responding.
    """

    size = (12.0, 4.0)  # inches of a window
    saved_size = (12.0, 3.4)  # of a picture, which has no controls
    bottoms = 0.2, 0.05  # of the panels, with and without controls, of the height

    def __init__(
        self, figure: Figure, view: Callable[[int, float], Any], count: int, index: int = 0, controls: bool = True
    ):
        if not 0 <= index < count:
            raise UserError(f"there is no image {index}; expected 0 to {count - 1}")
        self.figure, self.view, self.count, self.index, self.yaw = figure, view, count, index, 0.0
        self.add_panels(self.bottoms[0 if controls else 1])
        self.button = self.slider = None
        if controls:
            self._add_controls()
        self.update()

    def add_panels(self, bottom: float) -> None:
        """Make the panels, above `bottom`."""
        raise NotImplementedError

    def show_panels(self, view: Any) -> None:
        """Show what `view` gave."""
        raise NotImplementedError

    def next_image(self, _event=None) -> None:
        """Show the next image, the first after the last, at the same yaw."""
        self.index = (self.index + 1) % self.count
        self.update()

    def set_yaw(self, yaw: float) -> None:
        """Rotate view and poses to `yaw`, in radians."""
        self.yaw = float(yaw)
        self.update()

    def update(self) -> None:
        """Show the current image at the current yaw."""
        self.show_panels(self.view(self.index, self.yaw))
        self.figure.canvas.draw_idle()

    def _add_controls(self) -> None:
        self.button = Button(self.figure.add_axes((0.02, 0.05, 0.12, 0.09)), "Next image")
        self.button.on_clicked(self.next_image)
        slider_axes = self.figure.add_axes((0.22, 0.05, 0.66, 0.09))
        # A full rotation either way, so that no side of a person is at the end of the slider.
        self.slider = Slider(slider_axes, "Yaw ", -2 * np.pi, 2 * np.pi, valinit=0.0, valfmt="%+.2f rad")
        self.slider.on_changed(self.set_yaw)


class Viewer(RotatingPanels):
    """Four panels in a row, of `Panels`: input image, output image, predicted pose and true pose."""

    def show_panels(self, view: Panels) -> None:
        self._input.set_data(view.input_image)
        self._output.set_data(np.ones_like(view.input_image) if view.output_image is None else view.output_image)
        for image in (self._input, self._output):
            # Replacing the data keeps the extent of the blank image that the panel began with.
            height, width = image.get_array().shape[:2]
            image.set_extent((-0.5, width - 0.5, height - 0.5, -0.5))
            image.axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        for axes, pose in zip(self._pose_axes, (view.predicted_pose, view.true_pose), strict=True):
            self._show_pose(axes, pose)
        self._caption.set(text=view.caption, color=WARNING_COLOR if view.warned else "black")

    def _show_pose(self, axes, pose: np.ndarray | None) -> None:
        # Lines are plotted once per panel and moved later, which is faster while the slider is dragged.
        lines = self._lines.get(axes)
        if pose is None:
            for line in lines or ():
                line.set_visible(False)
            return
        if lines is None:
            self._lines[axes] = draw_skeleton(axes, pose, axes.get_title())
            return
        for line in lines:
            line.set_visible(True)
        move_skeleton(lines, pose)

    def add_panels(self, bottom: float) -> None:
        height, width = 0.86 - bottom, 0.23
        lefts = [0.02 + column * (width + 0.01) for column in range(4)]
        blank = np.ones((1, 1, 3))
        image_axes = [self.figure.add_axes((left, bottom, width, height)) for left in lefts[:2]]
        self._input, self._output = (draw_image(*panel) for panel in zip(image_axes, [blank] * 2, TITLES, strict=False))
        self._pose_axes = [self.figure.add_axes((left, bottom, width, height), projection="3d") for left in lefts[2:]]
        self._lines = {}
        for axes, title in zip(self._pose_axes, TITLES[2:], strict=True):
            style_skeleton_axes(axes, title)
        skeleton_legend(self.figure, (lefts[2] + lefts[3] + width) / 2, bottom + height)
        self._caption = self.figure.text(0.5, 0.99, "", ha="center", va="top")


def show(
    view: Callable[[int, float], Any], count: int, index: int = 0, panels: type[RotatingPanels] = Viewer
) -> RotatingPanels:
    """Open a window with `panels` and wait until it is closed. UserError where no window can be opened."""
    # Imported here, because pyplot chooses a backend, which may need a screen that `save` does without.
    import matplotlib.pyplot as plt

    try:
        backend = plt.get_backend().lower()
        if backend in SCREENLESS_BACKENDS:
            raise ImportError(f"matplotlib's backend is {backend!r}")
        figure = plt.figure(figsize=panels.size, num="Novel view and 3D pose")
    except ImportError as error:
        raise UserError(
            f"no window can be opened ({error}; it needs a screen and tkinter); use --save FILE.png, FILE.gif or "
            "FILE.mp4"
        ) from error
    viewer = panels(figure, view, count, index)
    plt.show()
    return viewer


def check_save_path(path: str | os.PathLike) -> Path:
    """`path`, if `save` can write it; else UserError."""
    path = Path(path)
    if path.suffix not in SAVED_SUFFIXES:
        raise UserError(f"cannot save to {str(path)!r}; expected a name that ends in {', '.join(SAVED_SUFFIXES)}")
    require_writer(path)
    return path


def save(
    path: str | os.PathLike,
    view: Callable[[int, float], Any],
    count: int,
    index: int = 0,
    panels: type[RotatingPanels] = Viewer,
) -> None:
    """Write `panels` to `path` without a screen: a .png of one view, or a full rotation as .gif, .webp or .mp4."""
    path = check_save_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=panels.saved_size)
    canvas = FigureCanvasAgg(figure)
    viewer = panels(figure, view, count, index, controls=False)
    if path.suffix == ".png":
        save_figure(figure, path)
    else:
        save_animation(path, _rotation(viewer, canvas), FRAME_MILLISECONDS)


def _rotation(viewer: RotatingPanels, canvas: FigureCanvasAgg) -> Iterator[np.ndarray]:
    """Pictures (H,W,3) uint8 of a full rotation."""
    for yaw in tqdm(np.linspace(0, 2 * np.pi, SWEEP_FRAMES, endpoint=False), "rotating", unit="frame"):
        viewer.set_yaw(yaw)
        canvas.draw()
        yield np.array(canvas.buffer_rgba())[..., :3]
