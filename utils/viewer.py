"""Viewers: panels that rotate with a slider, and buttons for other images; the panels of one person in a crop.

It knows no network and no dataset: a callable gives the contents of the panels.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from utils.animation import SUFFIXES, require_writer, save_animation
from utils.blitting import Blitting
from utils.errors import UserError
from utils.files import check_writable
from utils.plotting import (
    add_linked_axes,
    draw_image,
    draw_skeleton,
    move_skeleton,
    replace_image,
    save_figure,
    skeleton_legend,
)
from utils.skeleton import NUM_JOINTS
from utils.viewer_controls import WINDOW_SETTINGS, Controls

TITLES = ("Input image", "Output image", "Predicted pose", "True pose")
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

    def pictures(self) -> dict[str, np.ndarray]:
        """The images by their titles."""
        images = {TITLES[0]: self.input_image, TITLES[1]: self.output_image}
        return {title: image for title, image in images.items() if image is not None}


class RotatingPanels:
    """Panels on `figure` and, with `controls`, buttons, a slider and keys; the panels are those of a subclass.

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
        # It holds names of recordings, in which "$" is no mathematics.
        self.caption = figure.text(0.5, 0.99, "", ha="center", va="top", parse_math=False)
        self.add_panels(self.bottoms[0 if controls else 1])
        self.controls = Controls(self) if controls else None
        self._blitting = Blitting(figure) if controls else None
        self.update()

    def add_panels(self, bottom: float) -> None:
        """Make the panels, above `bottom`."""
        raise NotImplementedError

    def show_image(self, view: Any) -> None:
        """Show what is the same of `view` at every yaw, and make room for the rest."""
        raise NotImplementedError

    def show_rotated(self, view: Any) -> None:
        """Show what changes in `view` with the yaw, after `show_image`."""
        raise NotImplementedError

    def moving_artists(self) -> list[Artist]:
        """What `show_rotated` changes; in axes."""
        raise NotImplementedError

    def next_image(self, _event=None) -> None:
        """Show the next image, the first after the last, at the same yaw."""
        self._show(self.index + 1)

    def previous_image(self, _event=None) -> None:
        """Show the image before, the last before the first, at the same yaw."""
        self._show(self.index - 1)

    def _show(self, index: int) -> None:
        self.index = index % self.count
        self.update()

    def set_yaw(self, yaw: float) -> None:
        """Rotate view and poses to `yaw`, in radians."""
        self.yaw = float(yaw)
        self.show_rotated(self.view(self.index, self.yaw))
        if self._blitting:
            self._blitting.redraw_moving()

    def update(self) -> None:
        """Show the current image at the current yaw."""
        view = self.view(self.index, self.yaw)
        self.show_image(view)
        self.show_rotated(view)
        if self._blitting:
            self._blitting.redraw_all([*self.moving_artists(), *self.controls.moving_artists()])


class Viewer(RotatingPanels):
    """Four panels in a row, of `Panels`: input image, output image, predicted pose and true pose."""

    def add_panels(self, bottom: float) -> None:
        height, width = 0.86 - bottom, 0.23
        lefts = [0.02 + column * (width + 0.01) for column in range(4)]
        places = [(left, bottom, width, height) for left in lefts]
        blank = np.ones((1, 1, 3))
        image_axes = [self.figure.add_axes(place) for place in places[:2]]
        self._input, self._output = (draw_image(*panel) for panel in zip(image_axes, [blank] * 2, TITLES, strict=False))
        pose_axes = add_linked_axes(self.figure, places[2:])
        blank_pose = np.zeros((NUM_JOINTS, 3))
        self._lines = [
            draw_skeleton(axes, blank_pose, title) for axes, title in zip(pose_axes, TITLES[2:], strict=True)
        ]
        skeleton_legend(self.figure, (lefts[2] + lefts[3] + width) / 2, bottom + height)

    def show_image(self, view: Panels) -> None:
        replace_image(self._input, view.input_image)
        replace_image(self._output, np.ones_like(view.input_image) if view.output_image is None else view.output_image)
        for lines, pose in zip(self._lines, (view.predicted_pose, view.true_pose), strict=True):
            for line in lines:
                line.set_visible(pose is not None)
        self.caption.set(text=view.caption, color=WARNING_COLOR if view.warned else "black")

    def show_rotated(self, view: Panels) -> None:
        if view.output_image is not None:
            self._output.set_data(view.output_image)
        for lines, pose in zip(self._lines, (view.predicted_pose, view.true_pose), strict=True):
            if pose is not None:
                move_skeleton(lines, pose)

    def moving_artists(self) -> list[Artist]:
        # The frame lies over the image.
        return [self._output, *self._output.axes.spines.values(), *itertools.chain(*self._lines)]


def show(
    view: Callable[[int, float], Any], count: int, index: int = 0, panels: type[RotatingPanels] = Viewer
) -> RotatingPanels:
    """Open a window with `panels` and wait until it is closed. UserError where no window can be opened."""
    # Imported here, because pyplot chooses a backend, which may need a screen that `save` does without.
    import matplotlib.pyplot as plt

    try:
        figure = plt.figure(figsize=panels.size, num="Novel view and 3D pose")
        # Backends of files and of notebooks need no screen. WebAgg neither, which has its windows in a browser.
        if figure.canvas.required_interactive_framework is None and plt.get_backend().lower() != "webagg":
            plt.close(figure)
            raise ImportError(f"matplotlib's backend is {plt.get_backend()!r}")
    except ImportError as error:
        raise UserError(
            f"no window can be opened ({error}; it needs a screen and tkinter); use --save FILE.png, FILE.gif or "
            "FILE.mp4"
        ) from error
    with plt.rc_context(WINDOW_SETTINGS):
        viewer = panels(figure, view, count, index)
        # Also in interactive mode, where it would return at once.
        plt.show(block=True)
    return viewer


def check_save_path(path: str | os.PathLike) -> Path:
    """`path`, if `save` can write it; else UserError for its name, or OSError."""
    path = Path(path)
    if path.suffix not in SAVED_SUFFIXES:
        raise UserError(f"cannot save to {str(path)!r}; expected a name that ends in {', '.join(SAVED_SUFFIXES)}")
    require_writer(path)
    check_writable(path)
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
