"""The panels of several people in a full frame: boxes, another camera's view, masks, depths and skeletons."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.patches import Rectangle

from utils.plotting import add_linked_axes, draw_image, draw_people, move_people, replace_image, style_skeleton_axes
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

    def pictures(self) -> dict[str, np.ndarray]:
        """The images by their titles, larger, with the outlines drawn and depths in gray."""
        images = {_IMAGES[name]: getattr(self, name) for name in _IMAGES if getattr(self, name) is not None}
        images[_IMAGES["input_image"]] = _outlined(self.input_image, self.outlines)
        if self.depth_map is not None:
            low, high = np.min(self.depth_map), np.max(self.depth_map)
            gray = (high - self.depth_map) / max(high - low, 1e-9)
            images[_IMAGES["depth_map"]] = np.repeat(gray[..., None], 3, axis=2)
        return images


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
        names, places = [*_IMAGES, *_POSES], {}
        for start, low, count in ((0, above, 3), (3, bottom, 4)):
            width = 0.98 / count
            for column, name in enumerate(names[start : start + count]):
                places[name] = (0.01 + column * width, low, width - 0.01, height)
        self._images = {
            name: draw_image(self.figure.add_axes(places[name]), np.ones((1, 1, 3)), title)
            for name, title in _IMAGES.items()
        }
        self._images["depth_map"].set_cmap("gray_r")
        pose_axes = add_linked_axes(self.figure, [places[name] for name in _POSES])
        self._pose_axes = dict(zip(_POSES, pose_axes, strict=True))
        for name, title in _POSES.items():
            style_skeleton_axes(self._pose_axes[name], title)
        self._outlines, self._people = [], {}

    def show_image(self, view: ScenePanels) -> None:
        for name, artist in self._images.items():
            image = getattr(view, name)
            artist.axes.set_visible(image is not None)
            if image is not None:
                replace_image(artist, image)
        # The range of depths differs from frame to frame, because they have no unit.
        if view.depth_map is not None:
            self._images["depth_map"].set_clim(np.min(view.depth_map), np.max(view.depth_map))
        for artist in [*self._outlines, *self._lines()]:
            artist.remove()
        input_axes = self._images["input_image"].axes
        self._outlines = [input_axes.add_patch(_rectangle(outline)) for outline in view.outlines]
        self._people = {}
        for name, axes in self._pose_axes.items():
            people = getattr(view, name)
            axes.set_visible(people is not None)
            if people is not None:
                self._people[name] = draw_people(axes, people)
        self.caption.set_text(view.caption)

    def show_rotated(self, view: ScenePanels) -> None:
        if view.output_image is not None:
            self._images["output_image"].set_data(view.output_image)
        for name, drawn in self._people.items():
            move_people(drawn, getattr(view, name))

    def moving_artists(self) -> list[Artist]:
        output = self._images["output_image"]
        # The frame lies over the image. An image without one has no axes to be seen.
        images = [output, *output.axes.spines.values()] if output.axes.get_visible() else []
        return images + self._lines()

    def _lines(self) -> list[Artist]:
        return [line for people in self._people.values() for lines in people for line in lines]


def _rectangle(outline: Outline) -> Rectangle:
    left, top, width, height = outline.box
    style = {"linestyle": (0, (4, 3)), "linewidth": 1.2} if outline.true else {"linewidth": 2}
    # The box of one pixel reaches half a pixel to each side of its center.
    return Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=outline.color, **style)


def _outlined(image: np.ndarray, outlines: Sequence[Outline], scale: int = 3) -> np.ndarray:
    """A copy of `image`, `scale` times as large, with boxes: lines of 4 pixels for those found, dashes of 2 if true."""
    picture = image.repeat(scale, axis=0).repeat(scale, axis=1)
    rows, columns = np.indices(picture.shape[:2])
    for outline in outlines:
        left, top, width, height = (scale * np.asarray(outline.box)).round()
        # Distance to the nearest side: 0 for the outermost pixels of the box, negative outside of it.
        sides = (columns - left, left + width - 1 - columns, rows - top, top + height - 1 - rows)
        inside = np.minimum.reduce(sides)
        drawn = (inside >= 0) & (inside < (2 if outline.true else 4))
        if outline.true:
            drawn &= (rows + columns) // 5 % 2 == 0
        picture[drawn] = outline.color
    return picture
