"""The viewer in the browser and its page, without a browser and in headless Chromium."""

import re
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests.tiny import ROOT, TIMEOUT
from tests.utils.spinning import IMAGES, JOINTS, Spinning
from utils.browser.server import check_page_path, require_viser, server_at
from utils.errors import UserError
from utils.skeleton import BONES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE = 1000 * TIMEOUT  # milliseconds: without a graphics card, and beside other work, it may take long
# of the output image, the second one that the server sent, 0 to 255; 0 until it is there
BRIGHTNESS = """(() => {
    const image = document.querySelectorAll('img[src^="blob:"]')[1];
    if (!image || !image.complete || !image.naturalWidth) return 0;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const values = context.getImageData(0, 0, canvas.width, canvas.height).data.filter((_, i) => i % 4 < 3);
    return values.reduce((sum, value) => sum + value, 0) / values.length;
})()"""


@pytest.fixture
def viewer():
    pytest.importorskip("viser", reason="viser, the extra 'browser', is not installed")
    from utils.browser.live import BrowserViewer

    with server_at("localhost", 0) as server:
        yield BrowserViewer(server, Spinning())


def output_of(viewer):
    return viewer.pictures["Output image"].image


def shown(image):
    """An image in 0..1 as the panel shows it."""
    from utils.browser.live import enlarged

    return enlarged((255 * image).round().astype(np.uint8))


def test_the_yaw_slider_turns_people_and_their_view(viewer):
    before = output_of(viewer).copy()
    person, true = viewer.drawn.turning
    bones = viewer.drawn.parts["predicted"][0]
    viewer.yaw.value = 90
    for handle in (person, true):
        np.testing.assert_allclose(handle.wxyz, [np.sqrt(0.5), 0, 0, np.sqrt(0.5)], atol=1e-6)
    assert (output_of(viewer) != before).any()
    np.testing.assert_array_equal(output_of(viewer), shown(IMAGES[0] * np.cos(np.pi / 8) ** 2))
    np.testing.assert_array_equal(viewer.pictures["Input image"].image, shown(IMAGES[0]))
    assert output_of(viewer).shape == (250, 250, 3)
    assert viewer.drawn.parts["predicted"][0] is bones  # moved, not drawn again


def test_rods_end_where_joints_are(viewer):
    rods = viewer.drawn.parts["predicted"][0]
    w, x, y, z = rods.batched_wxyzs.T
    axis = np.column_stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
    half = axis * rods.batched_scales[:, 2:] / 2
    starts, ends = (JOINTS[0][[bone[side] for bone in BONES]] for side in (0, 1))
    np.testing.assert_allclose(rods.batched_positions - half, starts, atol=1e-5)
    np.testing.assert_allclose(rods.batched_positions + half, ends, atol=1e-5)


def test_the_image_slider_shows_another_person(viewer):
    viewer.yaw.value = 30
    viewer.image.value = 1
    assert viewer.view.asked[-1] == (1, pytest.approx(np.pi / 6))
    np.testing.assert_array_equal(viewer.pictures["Input image"].image, shown(IMAGES[1]))
    np.testing.assert_allclose(viewer.drawn.turning[0].position, [0.1, 0, 1])
    assert viewer.trust.value == pytest.approx(50)
    assert "&lt;b&gt;number 1" in viewer.caption.content  # names in captions are no markup
    assert "#c92a2a" not in viewer.caption.content
    viewer.image.value = 2
    assert "#c92a2a" in viewer.caption.content and not viewer.drawn.parts["true"]


def test_parts_are_hidden_and_stay_so(viewer):
    viewer.shown["true"].value = False
    viewer.shown["cameras"].value = False
    viewer.image.value = 1
    assert not any(handle.visible for part in ("true", "cameras") for handle in viewer.drawn.parts[part])
    assert all(handle.visible for part in ("predicted", "points") for handle in viewer.drawn.parts[part])
    assert len(viewer.drawn.parts["cameras"]) == 2


def test_play_turns_round_and_round(viewer):
    viewer.play_step(1.0)
    assert viewer.yaw.value == 0
    viewer.play.value = True
    seen = []
    for _ in range(8):
        viewer.play_step(1.0)
        seen.append(viewer.yaw.value)
    assert seen == [45, 90, 135, -180, -135, -90, -45, 0]
    assert len(viewer.view.asked) >= 9


def test_a_page_holds_all_and_needs_nothing_else(tmp_path, monkeypatch, capsys):
    pytest.importorskip("viser", reason="viser, the extra 'browser', is not installed")
    from utils.browser import page

    monkeypatch.setattr(page, "STEPS", 4)
    path, view = tmp_path / "new" / "page.html", Spinning()
    page.save_page(path, view, 2)
    text = path.read_text()
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]
    assert "__VISER_EMBED_DATA__" in text and "Predicted poses" in text and "<title>Novel views" in text
    assert not re.search(r'<(script|link|img)[^>]*(src|href)="(https?:)?//', text)
    assert {(index, round(yaw, 4)) for index, yaw in view.asked} >= {
        (index, round(step * np.pi / 2, 4)) for index in (0, 1) for step in range(4)
    }
    assert "viser" not in capsys.readouterr().out  # its greetings


@pytest.mark.parametrize(("color", "legend"), [((1.0, 0.5, 0.0), "each person a color"), (None, "left</b> and <b")])
def test_the_legend_is_that_of_the_people_wherever_they_are(color, legend, tmp_path, monkeypatch):
    pytest.importorskip("viser", reason="viser, the extra 'browser', is not installed")
    from utils.browser import page

    class FirstEmpty(Spinning):
        def space(self, index):
            space = super().space(index)
            return space._replace(bodies=[body._replace(color=color) for body in space.bodies] if index else [])

    monkeypatch.setattr(page, "STEPS", 1)
    page.save_page(tmp_path / "page.html", FirstEmpty(), 2)
    assert legend in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_step_of_a_turn_shows_its_own_pictures():
    pytest.importorskip("viser", reason="viser, the extra 'browser', is not installed")
    from utils.browser.page import _Turning

    yaws = np.linspace(0, 2 * np.pi, 3, endpoint=False)
    with server_at() as server:
        eye = np.array([0.1, 6.0, 0.85])
        turning = _Turning(server.scene, Spinning(), 1, yaws, eye)
        # Behind the camera of the input they would be seen from behind: what browsers look from decides.
        left, right = (handles[0].position for handles in turning.pictures)
        assert left[0] > 0.1 > right[0] and abs(left[1]) < 1e-6
        for step in (0, 1, 2, 0):
            turning.turn(step)
            source, output = (
                [handle for handle in {id(handle): handle for handle in handles}.values() if handle.visible]
                for handles in turning.pictures
            )
            assert len(source) == len(output) == 1
            np.testing.assert_allclose(source[0].image, 255 * IMAGES[1], atol=0.51)
            np.testing.assert_allclose(output[0].image, 255 * IMAGES[1] * np.cos(yaws[step] / 4) ** 2, atol=0.51)


def test_the_slider_moves_the_picture_in_chromium(viewer):
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS, timeout=PATIENCE)
        page = browser.new_page(viewport={"width": 480, "height": 640})
        page.set_default_timeout(PATIENCE)
        page.goto(f"http://localhost:{viewer.server.get_port()}")
        page.wait_for_function(f"() => {BRIGHTNESS} > 0")
        before = page.evaluate(f"() => {BRIGHTNESS}")
        page.get_by_role("slider").nth(1).focus()
        page.keyboard.press("End")
        page.wait_for_function(f"() => 0 < {BRIGHTNESS} && {BRIGHTNESS} < {0.7 * before}")
        browser.close()
    assert viewer.yaw.value == 180
    assert before == pytest.approx(255 * IMAGES[0].mean(), rel=0.05)


def test_ports_and_names_that_cannot_be(tmp_path):
    pytest.importorskip("viser", reason="viser, the extra 'browser', is not installed")
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen at localhost:{port} .*--port 0"), server_at(port=port):
            pass
    with pytest.raises(UserError, match="--port is 70000; expected 0"), server_at(port=70000):
        pass
    with pytest.raises(UserError, match=r"'page\.pdf'; expected a name that ends in \.html"):
        check_page_path("page.pdf")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(IsADirectoryError, match="folder\\.html"):
        check_page_path(tmp_path / "folder.html")


def test_without_viser_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(UserError, match=r"needs the package 'viser': pip install .*\[browser\]"):
        require_viser()


def test_the_script_imports_viser_only_when_it_runs():
    code = "import sys, configs.view_in_browser; sys.exit(bool({'viser', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
