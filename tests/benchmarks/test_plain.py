"""The benchmark's plain way does what the project does, so that their speeds and losses can be compared."""

import numpy as np
import pytest
import torch

from benchmarks import curves, plain, setups
from models.geometry_aware.network import EncodeDecode
from training.loop.hardware import Hardware
from utils.errors import UserError


@pytest.fixture(scope="module")
def tiny_setups(tmp_path_factory):
    return setups.make_setups("published", tmp_path_factory.mktemp("data"), setups.TINY, quick=True, device="cpu")


def test_both_ways_train_the_same_steps(tiny_setups):
    """In float32 they differ by rounding alone: the same crops, permutations, dropout, losses, and optimizer."""
    exact = tiny_setups["fast"]._replace(hardware=Hardware("cpu", "float32"))
    ours, reference = curves.losses("fast", exact, 6), curves.losses("plain", tiny_setups["plain"], 6)
    assert ours[0] == pytest.approx(reference[0], rel=1e-5)
    # Adam's first steps amplify rounding errors where gradients are nearly zero.
    assert ours == pytest.approx(reference, rel=1e-2) and len(set(reference)) == 6
    other = exact._replace(config={**exact.config, "seed": 1})
    assert curves.losses("fast", other, 1) != pytest.approx(reference[:1], rel=1e-3)


def test_both_ways_learn_the_masks_of_the_demo(tmp_path):
    ways = setups.make_setups("demo", tmp_path, setups.TINY, quick=True, device="cpu")
    exact = ways["fast"]._replace(hardware=Hardware("cpu", "float32"))
    ours, reference = curves.losses("fast", exact, 1)[0], curves.losses("plain", ways["plain"], 1)[0]
    assert ours == pytest.approx(reference, rel=1e-5)
    colors = exact._replace(config={**exact.config, "loss_weight_masks": 0.0})
    assert curves.losses("fast", colors, 1)[0] < 0.9 * ours


def test_curves_are_compared_by_windows():
    reference = np.linspace(2, 1, 100)
    noise = 0.2 * np.where(np.arange(100) % 2, 1, -1)  # averages out
    assert curves.differences(1.01 * reference + noise, reference) == pytest.approx(np.full(81, 0.01), rel=0.01)
    assert "largest difference 1.00 %: within 2 %" in curves.report({"fast": 1.01 * reference, "plain": reference})
    far = np.where(np.arange(100) < 60, reference, 1.05 * reference)
    text = curves.report({"fast": far, "plain": reference})
    assert "largest difference 5.00 %: NOT within 2 %" in text and "| 20 | 1.9040 | 1.9040 | 0.00 % |" in text


def test_curves_from_the_command_line(capsys):
    curves.main(["--iterations", "20", "--device", "cpu"])
    assert "| 20 | " in capsys.readouterr().out
    with pytest.raises(UserError, match="iterations is 3; expected at least 20"):
        curves.main(["--iterations", "3"])


def test_plain_stage_2_decodes_images_in_every_step(tiny_setups, monkeypatch):
    decoded, decode = [], EncodeDecode.decode
    monkeypatch.setattr(EncodeDecode, "decode", lambda *given, **more: decoded.append(given) or decode(*given, **more))
    step = plain.PlainPoseTraining(tiny_setups["plain"])
    before = [parameter.clone() for parameter in step.network.parameters()]
    first = [step(np.arange(8)) for _ in range(3)]
    assert len(decoded) == 3 and all(loss > 0 for loss in first)
    changed = [not torch.equal(old, new) for old, new in zip(before, step.network.parameters(), strict=True)]
    assert sum(changed) == len(list(step.network.to_pose.parameters()))
