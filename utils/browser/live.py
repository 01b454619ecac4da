"""The viewer in a browser: sliders for image and yaw, play, pictures, and people and cameras in 3D."""

import html
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from PIL import Image
from viser import ViserServer

from utils.browser.drawing import Drawn, draw_floor, draw_space, to_bytes
from utils.space import Space

TURN_SECONDS, RATE = 8.0, 24  # of a full rotation while it plays; pictures per second
PARTS = {"true": "True poses", "points": "Latent points", "cameras": "Cameras"}
PICTURE_SIDE = 250  # pixels in the panel, of a square picture; wider ones have the same area
VIEW_DISTANCE, VIEW_FIELD = 6.2, 40.0  # meters; degrees, up and down
VIEW_ASIDE, VIEW_ABOVE = 28.0, 20.0  # degrees, of the camera of the input and of the floor

_CAPTION = '<div style="padding:0.4em 1em;font-size:0.85em;line-height:1.4;color:{color}">{text}</div>'


class View(Protocol):
    """What is shown: `view(index, yaw)` has pictures(), caption and perhaps `warned`; `space` is before the yaw."""

    def __call__(self, index: int, yaw: float) -> Any: ...

    def __len__(self) -> int: ...

    def space(self, index: int) -> Space: ...


class BrowserViewer:
    """Shows `view` on `server`, with the controls in its panel.

    `yaw` and `image` are viser's sliders, in degrees and from 0: what sets them shows it.
    """

    def __init__(self, server: ViserServer, view: View):
        self.server, self.view = server, view
        self._lock = threading.Lock()
        self._shown: tuple[int, float] | None = None
        self.drawn: Drawn | None = None
        self.pictures: dict = {}
        draw_floor(server.scene)
        self._add_controls()
        self.update()
        look_at_people(server, view.space(0))

    def _add_controls(self) -> None:
        gui = self.server.gui
        gui.configure_theme(show_logo=False, show_share_button=False, control_width="large", brand_color=(45, 90, 160))
        gui.main_panel.dock_right()  # where it hides nobody
        self.caption = gui.add_html("")
        self.trust = gui.add_progress_bar(0, visible=False)
        last = max(1, len(self.view) - 1)
        self.image = gui.add_slider("Image", 0, last, 1, 0, disabled=len(self.view) == 1)
        self.yaw = gui.add_slider("Yaw (degrees)", -180, 180, 1, 0)
        self.play = gui.add_checkbox("Play", False, hint="Turn the people round and round.")
        self.folder = gui.add_folder("Pictures")
        with gui.add_folder("Show"):
            self.shown = {part: gui.add_checkbox(label, True) for part, label in PARTS.items()}
        for control in (self.image, self.yaw, *self.shown.values()):
            control.on_update(lambda _: self.update())

    def update(self) -> None:
        """Show what the controls say."""
        # Callbacks come from many threads. Those that waited find their state shown, so that a slider never lags.
        with self._lock:
            wanted = (int(self.image.value), float(self.yaw.value))
            if wanted != self._shown:
                self._show(*wanted)
            for part, box in self.shown.items():
                for handle in self.drawn.parts[part]:
                    handle.visible = box.value

    def _show(self, index: int, degrees: float) -> None:
        panels = self.view(index, np.radians(degrees))
        with self.server.atomic():
            if self._shown is None or self._shown[0] != index:
                self._show_space(index)
            self.drawn.turn(np.radians(degrees))
            warned = getattr(panels, "warned", False)
            color = "#c92a2a" if warned else "inherit"
            # Captions hold names out of files.
            self.caption.content = _CAPTION.format(color=color, text=html.escape(panels.caption))
            self.trust.color = "red" if warned else "teal"
            self._show_pictures(panels.pictures())
        self._shown = (index, degrees)

    def _show_space(self, index: int) -> None:
        if self.drawn is not None:
            self.drawn.remove()
        space = self.view.space(index)
        self.drawn = draw_space(self.server.scene, space)
        self.trust.visible = space.trust is not None
        self.trust.value = 100 * (space.trust or 0)

    def _show_pictures(self, images: dict[str, np.ndarray]) -> None:
        for title in self.pictures.keys() - images.keys():
            self.pictures.pop(title).remove()
        for title, image in images.items():
            picture = enlarged(to_bytes(image))
            if title in self.pictures:
                self.pictures[title].image = picture
            else:
                with self.folder:
                    self.pictures[title] = self.server.gui.add_image(picture, label=title, jpeg_quality=92)

    def play_step(self, seconds: float) -> None:
        """Turn as far as people turn in so much time, if Play is chosen."""
        if self.play.value:
            degrees = self.yaw.value + round(360 * seconds / TURN_SECONDS)
            self.yaw.value = (degrees + 180) % 360 - 180


def enlarged(image: np.ndarray) -> np.ndarray:
    """A small image (H,W,3) uint8 as large as a panel has room for, which shows pictures pixel by pixel."""
    height, width = image.shape[:2]
    scale = max(1.0, PICTURE_SIDE / np.sqrt(height * width))
    size = round(scale * width), round(scale * height)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def look_at_people(server: ViserServer, space: Space) -> None:
    """Let browsers begin with all people in view."""
    camera = server.initial_camera
    camera.position, camera.look_at = first_view(space)
    camera.up, camera.fov = (0.0, 0.0, 1.0), np.radians(VIEW_FIELD)


def first_view(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Points (3,): where browsers begin, beside the camera of the input and above people, and where they look."""
    center, spread = middle_of(space)
    toward = space.cameras[0].position - center if space.cameras else np.array([0.0, -1.0, 0.0])
    azimuth, elevation = np.arctan2(toward[1], toward[0]) + np.radians(VIEW_ASIDE), np.radians(VIEW_ABOVE)
    away = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    return center + (VIEW_DISTANCE + 1.5 * spread) * away, center


def middle_of(space: Space) -> tuple[np.ndarray, float]:
    """The point (3,) between the people of a space, and how far they are from it on the floor, meters."""
    places = np.array([body.position for body in space.bodies] or [[0, 0, 1.0]])[:, :2]
    return np.array([*places.mean(0), 0.85]), float(np.linalg.norm(places - places.mean(0), axis=1).max())


def run(viewer: BrowserViewer, sleep: Callable[[float], None] = time.sleep) -> None:
    """Play while the page asks for it, until the process is interrupted."""
    last = time.perf_counter()
    while True:
        sleep(1 / RATE)
        # A slow network makes fewer pictures of a rotation, and not a slower one.
        now = time.perf_counter()
        viewer.play_step(now - last)
        last = now
