"""The demo from rendering to pictures, on a set and a network small enough for a test."""

import pytest
from PIL import Image

from tests.tiny import CHANGES

pytest.importorskip("anny")
pytest.importorskip("warp")


def test_the_demo_renders_trains_tests_and_saves_pictures(tmp_path, monkeypatch, capsys):
    from configs import demo

    tiny = {**CHANGES, "test_every": 4, "num_training_iterations": 8}
    for name in ("stage1_config", "stage2_config", "supervised_config"):
        config = {**getattr(demo, name), **tiny}
        if "label_fraction" in config:
            config["label_fraction"] = 0.3
        monkeypatch.setattr(demo, name, config)
    # Tests may have one thread.
    monkeypatch.setattr(demo, "leaves_cores", lambda config: True)
    monkeypatch.setattr(demo, "TRAIN_CROPS", 320)
    monkeypatch.setattr(demo, "TEST_CROPS", 32)
    monkeypatch.setattr("utils.viewer.SWEEP_FRAMES", 16)
    output = tmp_path / "demo"
    demo.main(["--output", str(output)])
    results = (output / "results.md").read_text()
    words = (
        "| mean pose of the training set ",
        "| background only ",
        "Ratio to the supervised baseline: ",
        "; to the mean pose: ",
        " dB compared with background only",
    )
    assert all(word in results for word in words) and "nan" not in results
    assert Image.open(output / "turn.gif").n_frames > 10
    for name in ("novel_views.png", "viewer.png"):
        assert Image.open(output / name).size[0] > 300
    evaluations = list(output.rglob("evaluation.csv"))
    assert len(evaluations) == 2
    # The set to test on was rendered beside stage 1, the baseline trained beside stage 2; both were taken as they were.
    assert "32/32" in (output / "test.log").read_text() and "8/8" in (output / "supervised.log").read_text()
    assert capsys.readouterr().out.count("trained already") == 1
    # a second time everything is there already
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.pth")}
    demo.main(["--output", str(output)])
    assert before == {path: path.stat().st_mtime_ns for path in output.rglob("*.pth")}
    assert "trained already" in capsys.readouterr().out
