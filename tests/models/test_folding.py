"""Folded batch norm: the same outputs, and the network itself untouched."""

import pytest
import torch
from torch import nn

from models import build_network
from models.parts.folding import fold_batch_norm
from tests.tiny import tiny_config

NETWORKS = {
    "ResNet18": {},
    "ResNet": {"encoderType": "ResNet", "inputDimension": 128, "num_encoding_layers": 4},
    "UNet": {"encoderType": "UNet", "latent_fg": 8},
    "EfficientNetLite0": {"encoderType": "EfficientNetLite0"},
    "transposed": {"upsampling_bilinear": False},
    "no background": {"skip_background": False},
}


def trained_like(network, inputs):
    """Give batch norm other weights than those of a new network, and the statistics that follow from them."""
    generator = torch.Generator().manual_seed(0)
    for part in network.train().modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.weight.data.uniform_(0.5, 1.5, generator=generator)
            part.bias.data.normal_(0, 0.2, generator=generator)
    with torch.no_grad():
        for _ in range(3):
            network(inputs)
    return network


def random_input(size):
    generator = torch.Generator().manual_seed(1)
    crops = {name: torch.randn(4, 3, size, size, generator=generator) for name in ("img_crop", "bg_crop")}
    rotations = torch.linalg.qr(torch.randn(4, 3, 3, generator=generator))[0]
    return {**crops, "extrinsic_rot": rotations, "extrinsic_rot_inv": rotations.transpose(1, 2)}


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_outputs_are_the_same(changes, tmp_path):
    torch.manual_seed(0)
    config = tiny_config(tmp_path, tmp_path, output_types=["3D", "img_crop", "latent_3d"], **changes)
    inputs = random_input(config["inputDimension"])
    network = trained_like(build_network(config), inputs)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batch_norm(network)
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    with torch.no_grad():
        expected, outputs = network.eval()(inputs), folded(inputs)
    for name, value in expected.items():
        assert (outputs[name] - value).abs().max() <= 1e-5 * value.abs().max().clamp_min(1), name


def test_batch_norm_without_a_convolution_before_it_stays():
    norm_first = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    folded = fold_batch_norm(norm_first)
    assert [type(part) for part in folded] == [type(part) for part in norm_first]
