"""The panels of several people in a full frame: boxes, another camera's view, masks, depths and skeletons."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.patches import Rectangle

from utils.plotting import draw_image, draw_people
from utils.viewer import RotatingPanels

Color = tuple[float, float, float]


class Outline(NamedTuple):
    """A box (left, top, width, height), pixels, around a person of a color; `true` ones are dashed."""

    box: Sequence[float]
    color: Color
    true: bool = False


class ScenePanels(NamedTuple):
    """Contents of the panels; one of None is left out. Images are (H,W,3) in 0..1, poses (17,3), meters, camera frame.

    Poses come with the color of their person, from left to right.
    """

    input_image: np.ndarray
    outlines: Sequence[Outline]
    output_image: np.ndarray | None  # another camera's frame, composed from the input, its people rotated by the yaw
    target_image: np.ndarray | None  # what that camera saw
    masks_image: np.ndarray | None
    depth_map: np.ndarray | None  # (H,W), of any unit
    predicted_poses: Sequence[tuple[np.ndarray, Color]] | None
    true_poses: Sequence[tuple[np.ndarray, Color]] | None
    caption: str = ""


_IMAGES = {
    "input_image": "Input and boxes (true: dashed)",
    "output_image": "Another camera, composed",
    "target_image": "Another camera, recorded",
    "masks_image": "Masks",
    "depth_map": "Depths (near: bright)",
}
_POSES = {"predicted_poses": "Predicted poses", "true_poses": "True poses"}


class SceneViewer(RotatingPanels):
    """Two rows of `ScenePanels`: three frames, and below them masks, depths, predicted and true poses."""

    size = (12.0, 6.4)
    saved_size = (12.0, 5.4)
    bottoms = 0.15, 0.02

    def add_panels(self, bottom: float) -> None:
        above, height = bottom + (0.92 - bottom) * 0.53, (0.92 - bottom) * 0.42
        names = [*_IMAGES, *_POSES]
        self._axes, self._images, self._drawn = {}, {}, []
        for row, (start, low) in enumerate(((0, above), (3, bottom))):
            shown = names[start : start + 3 + row]
            width = 0.98 / len(shown)
            for column, name in enumerate(shown):
                projection = "3d" if name in _POSES else None
                place = (0.01 + column * width, low, width - 0.01, height)
                self._axes[name] = self.figure.add_axes(place, projection=projection)
        for name, title in _IMAGES.items():
            self._images[name] = draw_image(self._axes[name], np.ones((1, 1, 3)), title)
        self._images["depth_map"].set_cmap("gray_r")
        self._caption = self.figure.text(0.5, 0.99, "", ha="center", va="top")

    def show_panels(self, view: ScenePanels) -> None:
        for name, artist in self._images.items():
            self._show_image(artist, getattr(view, name))
        # The range of depths differs from frame to frame, because they have no unit.
        if view.depth_map is not None:
            self._images["depth_map"].set_clim(np.min(view.depth_map), np.max(view.depth_map))
        for artist in self._drawn:
            artist.remove()
        self._drawn = [self._axes["input_image"].add_patch(_rectangle(outline)) for outline in view.outlines]
        for name, title in _POSES.items():
            people = getattr(view, name)
            self._axes[name].set_visible(people is not None)
            if people is not None:
                self._drawn += draw_people(self._axes[name], people, title)
        self._caption.set_text(view.caption)

    def _show_image(self, artist, image: np.ndarray | None) -> None:
        artist.axes.set_visible(image is not None)
        if image is None:
            return
        artist.set_data(image)
        height, width = image.shape[:2]
        # Replacing the data keeps the extent of the blank image that the panel began with.
        artist.set_extent((-0.5, width - 0.5, height - 0.5, -0.5))
        artist.axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _rectangle(outline: Outline) -> Rectangle:
    left, top, width, height = outline.box
    style = {"linestyle": (0, (4, 3)), "linewidth": 1.2} if outline.true else {"linewidth": 2}
    # The box of one pixel reaches half a pixel to each side of its center.
    return Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=outline.color, **style)
