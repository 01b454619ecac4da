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
        # lower right corner: white; upper right corner: the crop of camera B, with its many colors
        width, height = drawn.size
        corner, target = (
            drawn.convert("RGB").crop(box).getcolors(10**6)
            for box in ((width - 100, height - 60, width, height), (width - 150, 90, width - 20, 220))
        )
    assert corner == [(6000, (255, 255, 255))]
    assert len(target) > 100
