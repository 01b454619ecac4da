"""configs/view_in_browser.py end to end, for both methods: pages and bad input."""

import sys

import pytest

from configs import view_in_browser
from tests.synthetic import write_synthetic_layout
from tests.synthetic_frames import write_synthetic_frames
from tests.trained_scenes import SIZE, write_scene_network
from utils.errors import UserError

pytest.importorskip("viser", reason="viser, the extra 'browser', is not installed")


@pytest.fixture
def start(monkeypatch):
    """Run the script in this process, with few pictures of a rotation."""
    from utils.browser import page

    def run(*arguments):
        monkeypatch.setattr(page, "STEPS", 2)
        monkeypatch.setattr(sys, "argv", ["view_in_browser.py", "--device", "cpu", *map(str, arguments)])
        view_in_browser.main()

    return run


def test_a_page_of_the_packaged_network(start, tmp_path, capsys):
    start("--save-page", tmp_path / "page.html", "--images", 1, "--index", 5)
    assert "__VISER_EMBED_DATA__" in (tmp_path / "page.html").read_text()
    assert f"written: {tmp_path / 'page.html'}" in capsys.readouterr().out
    assert (tmp_path / "page.html").stat().st_size < 3e6


def test_a_set_may_be_smaller_than_a_page_is_by_default(start, tmp_path):
    data = write_synthetic_layout(tmp_path / "set", subjects=(9,), sequences_per_subject=1, instants=1, cameras=2)
    start("--save-page", tmp_path / "page.html", f"dataset_folder_test={data}")
    assert (tmp_path / "page.html").is_file()


def test_a_page_of_a_scene(start, tmp_path):
    data = write_synthetic_frames(tmp_path, SIZE, ((1, 5),), instants=1, cameras=2)
    network = write_scene_network(tmp_path / "both.safetensors", "both", data)
    start("--scenes", f"network_path={network}", "--save-page", tmp_path / "page.html", "--images", 1)
    assert "right limbs darker" in (tmp_path / "page.html").read_text()


def test_bad_input_is_one_line_and_writes_nothing(start, tmp_path):
    page = tmp_path / "page.html"
    for arguments, words in (
        (["--save-page", tmp_path / "page.png"], r"page\.png.*expected a name that ends in \.html"),
        (["--save-page", page, "--images", 0], "--images is 0; expected 1 to 96"),
        (["--save-page", page, "--images", 97], "--images is 97; expected 1 to 96"),
        (["--save-page", page, "--index", 96], "no image 96 .* expected 0 to 95"),
        (["--port", -1], "--port is -1"),
    ):
        with pytest.raises(UserError, match=words):
            start(*arguments)
    assert not list(tmp_path.iterdir())
