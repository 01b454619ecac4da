"""One HTML file of what the viewer in the browser shows, without Python: images that turn one after the other."""

import os
from pathlib import Path

import numpy as np
from matplotlib.colors import to_hex
from tqdm import tqdm
from viser import ImageHandle, SceneApi
from viser.transforms import SO3

from utils.browser.drawing import draw_floor, draw_space, to_bytes
from utils.browser.live import TURN_SECONDS, View, first_view, look_at_people, middle_of
from utils.browser.server import TITLE, server_at
from utils.files import write_text
from utils.plotting import LEFT_COLOR, RIGHT_COLOR
from utils.space import Space

STEPS = 36  # pictures of a full rotation
PICTURE_SIDE = 1.2  # meters, of a square one; wider ones have the same area
PICTURES = 3  # in the page: what comes after them is to look at once
GAP, ASIDE = 0.25, 0.75  # meters between pictures, and from the outermost people to them
BOTTOM = -0.6  # meters of pictures, against the middle of the people
CAPTION_AHEAD = 1.5  # meters before the people, on the floor


def save_page(path: str | os.PathLike, view: View, count: int = 1) -> None:
    """Write images 0 to `count` - 1 of `view`, each with a full rotation, to one self-contained .html at `path`."""
    path = Path(path)
    yaws = np.linspace(0, 2 * np.pi, STEPS, endpoint=False)
    with server_at() as server:
        draw_floor(server.scene)
        space = view.space(0)
        look_at_people(server, space)
        eye, _ = first_view(space)
        # All is there from the start, and hidden: browsers load a picture too late to show it for one step of a turn.
        images = [
            _Turning(server.scene, view, index, yaws, eye) for index in tqdm(range(count), "rotating", unit="image")
        ]
        recorder = server.get_scene_serializer()
        for image in images:
            image.root.visible = True
            for step in range(STEPS):
                image.turn(step)
                recorder.insert_sleep(TURN_SECONDS / STEPS)
            image.root.visible = False
        text = _with_legend(recorder.as_html(), in_sides=not any(image.colored for image in images))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


class _Turning:
    """Image `index` of `view` in a scene, hidden: people, cameras, a caption, and pictures of each of `yaws`.

    Pictures face the point `eye` (3,), where browsers begin, whichever camera the image is of. `colored`: its people
    have a color each, instead of the colors of left and right.
    """

    def __init__(self, scene: SceneApi, view: View, index: int, yaws: np.ndarray, eye: np.ndarray):
        space, name, self.yaws = view.space(index), f"/image {index}", yaws
        self.root = scene.add_frame(name, show_axes=False, visible=False)
        self.drawn = draw_space(scene, space, f"{name}/space")
        self.colored = any(body.color is not None for body in space.bodies)
        turns = [view(index, yaw) for yaw in yaws]
        by_yaw = [list(panels.pictures().items())[:PICTURES] for panels in turns]
        columns = {
            title: [to_bytes(pictures[column][1]) for pictures in by_yaw] for column, (title, _) in enumerate(by_yaw[0])
        }
        self.pictures = _draw_pictures(scene, columns, space, eye, f"{name}/pictures")
        center, spread = middle_of(space)
        ahead = (spread + CAPTION_AHEAD) * (eye - center)[:2] / np.linalg.norm((eye - center)[:2])
        place = (*(center[:2] + ahead), 0)
        scene.add_label(f"{name}/caption", turns[0].caption, position=place, anchor="center-center")

    def turn(self, step: int) -> None:
        """Show people and pictures after yaw `step`, where those of the one before are shown."""
        self.drawn.turn(self.yaws[step])
        for handles in self.pictures:
            if handles[step - 1] is not handles[step]:
                handles[step - 1].visible = False
            if not handles[step].visible:
                handles[step].visible = True


def _draw_pictures(
    scene: SceneApi, columns: dict[str, list[np.ndarray]], space: Space, eye: np.ndarray, name: str
) -> list[list[ImageHandle]]:
    """Hang pictures facing `eye`: the first at the left of the people, the others at the right.

    `columns`: by title, a picture of each yaw. Returns hidden ones for each yaw, by title; equal ones are the same.
    """
    center, spread = middle_of(space)
    forward = (center - eye) / np.linalg.norm(center - eye)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    facing, aside = SO3.from_matrix(np.column_stack([right, down, forward])).wxyz, spread + ASIDE
    hung, above = [], {-1: BOTTOM, 1: BOTTOM}
    for number, (title, images) in enumerate(columns.items()):
        side, aspect = 1 if number else -1, images[0].shape[1] / images[0].shape[0]
        height = PICTURE_SIDE / np.sqrt(aspect)
        place = center + side * (aside + height * aspect / 2) * right - (above[side] + height / 2) * down
        options = {"wxyz": facing, "position": place, "format": "jpeg", "jpeg_quality": 85, "cast_shadow": False}
        handles: list[ImageHandle] = []
        for step, image in enumerate(images):
            if step and np.array_equal(image, images[step - 1]):
                handles.append(handles[-1])
                continue
            node = f"{name}/{number} {step}"
            handles.append(scene.add_image(node, image, height * aspect, height, visible=False, **options))
        hung.append(handles)
        edge = place - (height / 2 + 0.03) * down
        scene.add_label(f"{name}/title {number}", title, position=edge, anchor="bottom-center")
        above[side] += height + GAP
    return hung


def _with_legend(page: str, in_sides: bool) -> str:
    """A page of viser's with a title, and a legend in its corner that lets clicks through."""
    style = "position:fixed;left:16px;bottom:52px;z-index:10;pointer-events:none;font:14px/1.5 system-ui,sans-serif;"
    people = "each person a color, right limbs darker"
    if in_sides:
        people = " and ".join(
            f'<b style="color:{to_hex(color)}">{side}</b>'
            for side, color in (("left", LEFT_COLOR), ("right", RIGHT_COLOR))
        )
    legend = (
        f'<div style="{style}color:#444"><b>{TITLE}</b><br>Predicted poses: {people}. '
        "Gray: true poses. Dots: latent points. Orange: the camera of the input.</div>"
    )
    page = page.replace("<title>Viser</title>", f"<title>{TITLE}</title>")
    return page.replace("</body>", f"{legend}</body>")
