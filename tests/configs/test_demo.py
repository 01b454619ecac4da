"""The demo from rendering to pictures, on a set and a network small enough for a test."""

import sys

import pytest
from PIL import Image

from tests.tiny import CHANGES

pytest.importorskip("anny")
pytest.importorskip("warp")


def test_the_demo_renders_trains_tests_and_paints(tmp_path, monkeypatch, capsys):
    from configs import demo

    tiny = {**CHANGES, "test_every": 4, "num_training_iterations": 8}
    for name in ("stage1_config", "stage2_config", "supervised_config"):
        config = {**getattr(demo, name), **tiny}
        if "label_fraction" in config:
            config["label_fraction"] = 0.3
        monkeypatch.setattr(demo, name, config)
    monkeypatch.setattr(demo, "TRAIN_CROPS", 320)
    monkeypatch.setattr(demo, "TEST_CROPS", 32)
    monkeypatch.setattr(sys, "argv", ["demo.py", "--output", str(tmp_path / "demo")])
    demo.main()
    output = tmp_path / "demo"
    results = (output / "results.md").read_text()
    assert "mean pose" in results and "dB over the background" in results and "nan" not in results
    assert Image.open(output / "turn.gif").n_frames > 10
    for name in ("novel_views.png", "viewer.png"):
        assert Image.open(output / name).size[0] > 300
    evaluations = list(output.rglob("evaluation.csv"))
    assert len(evaluations) == 2
    capsys.readouterr()
    # a second time everything is there already
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.pth")}
    demo.main()
    assert before == {path: path.stat().st_mtime_ns for path in output.rglob("*.pth")}
    assert "trained already" in capsys.readouterr().out
