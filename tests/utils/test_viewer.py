"""The viewer and the plots, without a screen."""

import sys

import av
import imageio.v3 as imageio
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backend_bases import CloseEvent, KeyEvent, MouseButton, MouseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from utils.animation import SUFFIXES, save_animation
from utils.errors import UserError
from utils.plotting import LEFT_COLOR, RIGHT_COLOR, crop_to_image, draw_skeleton, save_examples
from utils.scene_viewer import ScenePanels, SceneViewer
from utils.skeleton import BONES
from utils.viewer import Panels, Viewer, save, show

POSES = np.random.default_rng(0).normal(size=(3, 17, 3)) * 0.4
IMAGES = np.random.default_rng(1).random((3, 16, 16, 3))


def view(index, yaw):
    """The image darkens and the poses rotate with the yaw."""
    rotation = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    return Panels(
        IMAGES[index], IMAGES[index] * np.cos(yaw / 4) ** 2, POSES[index] @ rotation, POSES[index], f"number {index}"
    )


@pytest.fixture
def viewer():
    figure = Figure(figsize=(12, 4))
    FigureCanvasAgg(figure)
    return Viewer(figure, view, 3)


def pixels(viewer):
    viewer.figure.canvas.draw()
    return np.asarray(viewer.figure.canvas.buffer_rgba()).astype(int)


def click(canvas, x, y):
    for name in ("button_press_event", "button_release_event"):
        canvas.callbacks.process(name, MouseEvent(name, canvas, x, y, MouseButton.LEFT))


def press(viewer, key):
    canvas = viewer.figure.canvas
    canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", canvas, key))


def press_button(viewer, button):
    x0, y0, x1, y1 = button.ax.bbox.extents
    click(viewer.figure.canvas, (x0 + x1) / 2, (y0 + y1) / 2)


def drag(axes, dx, dy):
    """Move the mouse over `axes` with its left button held, by fractions of their size."""
    canvas, (x0, y0, x1, y1) = axes.figure.canvas, axes.bbox.extents
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    for name, share in (("button_press_event", 0), ("motion_notify_event", 1), ("button_release_event", 1)):
        place = (x + share * dx * (x1 - x0), y + share * dy * (y1 - y0))
        canvas.callbacks.process(name, MouseEvent(name, canvas, *place, MouseButton.LEFT))


def angles(viewer):
    """(elevation, azimuth, roll) of both skeletons."""
    return [(axes.elev, axes.azim, axes.roll) for axes in viewer.figure.axes if axes.name == "3d"]


def test_four_panels_in_a_row_and_the_controls_below(viewer):
    titles = {axes.get_title(): axes.get_position() for axes in viewer.figure.axes if axes.get_title()}
    assert list(titles) == ["Input image", "Output image", "Predicted pose", "True pose"]
    lefts = [position.x0 for position in titles.values()]
    assert lefts == sorted(lefts) and len({position.y0 for position in titles.values()}) == 1
    controls = viewer.controls
    for widget in (controls.previous, controls.next, controls.slider):
        assert widget.ax.get_position().y1 < 0.2
    assert (controls.slider.valmin, controls.slider.valmax) == (-360, 360)


def test_buttons_show_the_next_and_the_previous_image(viewer):
    before = pixels(viewer)
    press_button(viewer, viewer.controls.next)
    assert viewer.index == 1
    np.testing.assert_array_equal(viewer._input.get_array(), IMAGES[1])
    assert np.abs(pixels(viewer) - before).sum() > 0
    press_button(viewer, viewer.controls.previous)
    np.testing.assert_array_equal(pixels(viewer), before)


@pytest.mark.parametrize(("forward", "back"), [("down", "up"), ("pagedown", "pageup")])
def test_keys_change_the_image_past_the_last_and_before_the_first(viewer, forward, back):
    seen = [viewer.index]
    for key in (forward, forward, forward, back, back):
        press(viewer, key)
        seen.append(viewer.index)
        np.testing.assert_array_equal(viewer._input.get_array(), IMAGES[viewer.index])
    assert seen == [0, 1, 2, 0, 2, 1]


def test_a_click_on_the_slider_rotates_view_and_poses(viewer):
    before = pixels(viewer)
    x0, y0, x1, y1 = viewer.controls.slider.ax.bbox.extents
    click(viewer.figure.canvas, x0 + 0.75 * (x1 - x0), (y0 + y1) / 2)
    assert viewer.yaw == pytest.approx(np.pi, abs=0.05)
    after = pixels(viewer)
    left = {axes.get_title(): axes.bbox.extents.astype(int) for axes in viewer.figure.axes}
    for title, moved in (("Input image", False), ("Output image", True), ("Predicted pose", True)):
        x0, _, x1, _ = left[title]
        height = after.shape[0] * 3 // 4
        assert (after[:height, x0:x1] != before[:height, x0:x1]).any() == moved, title
    viewer.controls.slider.set_val(0.0)
    np.testing.assert_array_equal(pixels(viewer), before)


def test_arrow_keys_turn_by_some_degrees_and_on_past_the_end(viewer):
    press(viewer, "right")
    assert viewer.controls.slider.valtext.get_text() == "+5°" and viewer.yaw == pytest.approx(np.deg2rad(5))
    np.testing.assert_allclose(viewer._output.get_array(), view(0, np.deg2rad(5)).output_image)
    press(viewer, "left")
    press(viewer, "left")
    assert viewer.controls.slider.val == pytest.approx(-5)
    viewer.controls.slider.set_val(358)
    press(viewer, "right")
    assert viewer.controls.slider.val == pytest.approx(3)


def test_what_moves_is_drawn_as_a_whole_drawing_draws_it(viewer):
    pixels(viewer)
    drawings = []
    viewer.figure.canvas.mpl_connect("draw_event", drawings.append)
    press(viewer, "right")
    moved = np.array(viewer.figure.canvas.buffer_rgba()).astype(int)
    assert not drawings  # only what moves was drawn
    np.testing.assert_array_equal(moved, pixels(viewer))
    press(viewer, "down")
    assert len(drawings) == 2  # another image is drawn as a whole


def test_a_file_that_the_toolbar_saves_has_everything(viewer, tmp_path):
    press(viewer, "right")
    viewer.figure.savefig(tmp_path / "a.png", dpi=viewer.figure.dpi)
    difference = np.abs(imageio.imread(tmp_path / "a.png").astype(int) - pixels(viewer))
    assert difference.max() == 0


def test_space_plays_and_pauses(viewer):
    calls, timer = [], viewer.controls._timer
    timer.start, timer.stop = lambda: calls.append("start"), lambda: calls.append("stop")
    press(viewer, " ")
    yaws = []
    for _ in range(3):
        timer._on_timer()  # as the window's clock does
        yaws.append(viewer.yaw)
    np.testing.assert_allclose(np.rad2deg(yaws), [2, 4, 6])
    np.testing.assert_allclose(viewer._output.get_array(), view(0, yaws[-1]).output_image)
    press(viewer, " ")
    press(viewer, " ")
    viewer.figure.canvas.callbacks.process("close_event", CloseEvent("close_event", viewer.figure.canvas))
    assert calls == ["start", "stop", "start", "stop"]


def test_a_window_turns_both_skeletons_together_without_roll(monkeypatch):
    shown = []

    def turn_with_the_mouse(block):
        assert block
        window = figure[-1]
        pixels_before, before = pixels(window), angles(window)
        for axes in [axes for axes in window.figure.axes if axes.name == "3d"]:
            drag(axes, 0.2, 0.1)
            shown.append(angles(window))
        assert before[0] == before[1] and np.abs(pixels(window) - pixels_before).sum() > 0
        press(window, "left")  # not the toolbar's key for the view before
        press(window, "down")
        shown.append(angles(window))

    figure = []
    monkeypatch.setattr("matplotlib.pyplot.get_backend", lambda: "webagg")  # which needs no screen
    monkeypatch.setattr("matplotlib.pyplot.show", turn_with_the_mouse)

    class Watched(Viewer):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            figure.append(self)

    window = show(view, 3, panels=Watched)
    plt.close(window.figure)
    assert all(one == other for one, other in shown)
    (first, _), (second, _), (last, _) = shown
    assert first[0] != second[0] and first[1] != second[1] and last == second
    assert first[2] == second[2] == 0


def test_the_yaw_stays_with_the_next_image(viewer):
    viewer.controls.slider.set_val(60)
    viewer.next_image()
    np.testing.assert_allclose(viewer._output.get_array(), view(1, np.pi / 3).output_image)


def test_panels_may_be_empty_and_fill_later():
    figure = Figure()
    FigureCanvasAgg(figure)
    viewer = Viewer(figure, lambda index, yaw: Panels(IMAGES[0], None, None, POSES[0] if index else None), 2)
    pixels(viewer)
    viewer.next_image()
    viewer.next_image()
    pixels(viewer)


@pytest.mark.parametrize(
    ("panels", "contents"),
    [
        (Viewer, Panels(IMAGES[0], None, None, None, "subject 1, a$_$")),
        (SceneViewer, ScenePanels(IMAGES[0], [], *[None] * 6, "image 0: a$_$")),
    ],
    ids=["one person", "several"],
)
def test_a_name_in_a_caption_is_no_mathematics(panels, contents, tmp_path):
    save(tmp_path / "a.png", lambda index, yaw: contents, 1, panels=panels)
    assert imageio.imread(tmp_path / "a.png").size


def test_save_png(tmp_path):
    save(tmp_path / "new" / "view.png", view, 3, index=2)
    assert imageio.imread(tmp_path / "new" / "view.png").shape[:2] == (340, 1200)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["view.png"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_save_rotates(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.viewer.SWEEP_FRAMES", 4)
    path = tmp_path / f"view{suffix}"
    save(path, view, 3)
    frames = read_frames(path)
    assert frames.shape == (4, 340, 1200, 3) and np.abs(frames[0].astype(int) - frames[2]).max() > 50
    assert np.abs(frames[:, 1, 1].astype(int) - 255).max() <= 2
    assert [path.name for path in tmp_path.iterdir()] == [f"view{suffix}"]


def read_frames(path):
    """Frames (N,H,W,3) uint8 of an animation."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with Image.open(path) as picture:
        return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.all_frames(picture)])


def test_a_gif_has_one_palette_that_keeps_rare_colors(tmp_path):
    shades = np.random.default_rng(0).integers(100, 160, (8, 60, 80, 3)).astype(np.uint8)
    shades[:, :30] = 255
    rare = np.array([[204, 48, 49], [31, 119, 180]], np.uint8)
    for step, frame in enumerate(shades):
        frame[5 + step, 10:14], frame[5 + step, 40:44] = rare
    save_animation(tmp_path / "a.gif", list(shades), 100)
    frames = read_frames(tmp_path / "a.gif").astype(int)
    assert (frames[:, 0, 0] == 255).all()
    for step in range(8):
        found = frames[step, 5 + step, [10, 40]]
        assert np.abs(found - rare).max() <= 16 and (found == frames[0, 5, [10, 40]]).all()


def test_mp4_without_its_package_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[video\]"'):
        save(tmp_path / "new" / "view.mp4", view, 3)
    assert list(tmp_path.iterdir()) == []


def test_bad_names_and_numbers_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"view\.jpg"):
        save(tmp_path / "view.jpg", view, 3)
    with pytest.raises(UserError, match="no image 3"):
        save(tmp_path / "view.png", view, 3, index=3)


@pytest.mark.parametrize("backend", ["agg", "module://matplotlib_inline.backend_inline"])
def test_without_a_window_show_says_to_save(backend):
    pytest.importorskip("matplotlib_inline.backend_inline")
    before = plt.get_fignums()
    plt.switch_backend(backend)
    try:
        with pytest.raises(UserError, match=rf"backend is '{backend}'.*--save"):
            show(view, 3)
        assert plt.get_fignums() == before
    finally:
        plt.switch_backend("agg")


def test_skeleton_stands_upright_with_colored_sides():
    axes = Figure().add_subplot(projection="3d")
    pose = np.zeros((17, 3))
    pose[10] = (0.1, -0.7, 0.2)  # the head's top: right, above, in front
    lines = dict(zip(BONES, draw_skeleton(axes, pose), strict=True))
    x, y, z = (values[1] for values in lines[9, 10].get_data_3d())
    assert (x, y, z) == (0.1, 0.2, 0.7)
    assert lines[0, 4].get_color() == LEFT_COLOR and lines[8, 14].get_color() == RIGHT_COLOR
    assert axes.get_xlim() == axes.get_ylim() == axes.get_zlim()


def test_crops_of_any_type():
    image = crop_to_image(torch.full((3, 4, 4), 255, dtype=torch.uint8))
    assert image.shape == (4, 4, 3) and image.dtype == np.float32 and image.max() == 1
    assert crop_to_image(np.full((3, 4, 4), 1.5)).max() == 1
    with pytest.raises(ValueError, match=r"\(4, 4, 3\)"):
        crop_to_image(np.zeros((4, 4, 3)))


def test_save_examples(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.plotting.MAX_ROWS", 8)
    crops = torch.rand(10, 3, 16, 16)
    save_examples(tmp_path / "a.png", crops, crops, crops)
    save_examples(tmp_path / "b.png", crops, crops, crops, crops, POSES.reshape(3, 51), torch.from_numpy(POSES), 2)
    narrow, wide = (imageio.imread(tmp_path / name) for name in ("a.png", "b.png"))
    assert wide.shape[1] > narrow.shape[1] and wide.shape[0] < narrow.shape[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
