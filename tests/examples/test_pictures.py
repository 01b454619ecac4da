"""Pictures of the README that scripts draw."""

import subprocess
import sys

from PIL import Image

from tests.tiny import ROOT


def test_figure_of_the_method(tmp_path):
    script, output = ROOT / "examples/pictures/draw_method.py", tmp_path / "method.png"
    subprocess.run([sys.executable, script, "--output", output], check=True)
    with Image.open(output) as drawn, Image.open(ROOT / "examples/pictures/method.png") as packaged:
        assert drawn.size == packaged.size
        # reconstruction and target are there, beside the white between them
        colors = drawn.convert("RGB").resize((62, 26)).getcolors()
    assert len(colors) > 100
