"""Agreement with the published implementation: outputs, losses, gradients, checkpoint keys."""

import json

import numpy as np
import pytest
import torch

from models import build_network, load_published_weights, load_weights, read_checkpoint
from models.geometry_aware.published import is_published, published_name
from tests.deterministic import REFERENCE, inputs, state_dict
from tests.networks import PUBLISHED, SMALL
from training.stages.losses import ImageLoss
from utils.errors import UserError
from utils.geometry import yaw_rotation

NAMES = {
    "3D": "pose",
    "img_crop": "img",
    "latent_3d": "latent_3d",
    "cam2cam": "cam2cam",
    "shuffled_pose": "pose_perm",
    "shuffled_appearance": "appearance_perm",
}


@pytest.fixture(scope="module")
def network():
    network = build_network(PUBLISHED).eval()
    report = load_published_weights(network, state_dict())
    assert {key.split(".")[0] for key in report.unused} == {
        *("conv_1_stage0", "conv_2_stage0", "conv_3_stage0", "conv_4_stage0"),
        *("fc_1_stage0", "fc_2_stage0", "to_3d", "to_fg"),
    }
    return network


def relative_error(ours, reference):
    reference = np.asarray(reference, dtype=np.float64)
    return np.linalg.norm(np.asarray(ours, dtype=np.float64) - reference) / np.linalg.norm(reference)


@pytest.mark.parametrize(("file", "seed"), [("published_eval", 11), ("published_user_rotation", 12)])
def test_outputs_agree(network, file, seed):
    batch = inputs(seed, 4)
    if file == "published_user_rotation":
        batch |= {"external_rotation_global": yaw_rotation(0.7), "external_rotation_cam": torch.eye(3)}
    with torch.no_grad():
        outputs = network(batch)
    with np.load(REFERENCE / f"{file}.npz", allow_pickle=False) as reference:
        for ours, published in NAMES.items():
            assert relative_error(outputs[ours], reference[published]) < 1e-4, ours


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_losses_and_gradients_agree(network, mode, tmp_path):
    reference = json.loads((REFERENCE / "published_loss_and_gradients.json").read_text())[mode]
    torch.save(state_dict("perceptual", prefix="perceptual."), tmp_path / "perceptual.pth")
    criterion = ImageLoss({**PUBLISHED, "perceptual_weights": str(tmp_path / "perceptual.pth")})
    batch = inputs(11, 4)
    network.zero_grad()
    output = network(batch)["img_crop"]
    if mode == "eval":
        # the published numbers of eval mode come after one comparison in train mode, which moved the
        # statistics of the published perceptual network by PyTorch's usual momentum
        _move_statistics(criterion.features, [output.detach(), batch["img_crop"]])
        criterion.eval()
    losses = criterion(output, batch["img_crop"])
    losses["loss"].backward()
    assert relative_error(losses["rgb"].item(), reference["rgb"]) < 1e-4
    assert relative_error(losses["imageNet"].item(), reference["perceptual_weighted"]) < 1e-4
    parameters = {published_name(name, {}): value for name, value in network.named_parameters()}
    for key, norm in reference["grad_norm"].items():
        assert relative_error(parameters[key].grad.norm().item(), norm) < 1e-3, key


def _move_statistics(features, images):
    norms = [part for part in features.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for momentum, batches in [(0.1, images), (0.0, [])]:
        for norm in norms:
            norm.momentum = momentum
        for batch in batches:
            features(batch)


def test_size(network):
    assert sum(parameter.numel() for parameter in network.parameters()) < 46e6


def test_unet_reads_the_same_checkpoint(capsys):
    report = load_published_weights(build_network({**PUBLISHED, "encoderType": "UNet"}), _hollow(_published_shapes()))
    assert {key.split(".")[0] for key in report.unused} == {"encoder", "fc_1_stage0", "fc_2_stage0"}
    assert capsys.readouterr().out.count("\n") == 1


def _published_shapes():
    return json.loads((REFERENCE / "published_state_dict.json").read_text())


def _hollow(shapes):
    """Tensors that take no memory, told apart by their value."""
    return {key: torch.tensor(float(i)).expand(shape) for i, (key, shape) in enumerate(shapes.items())}


UNET = {**SMALL, "encoderType": "UNet"}


def published_form(network):
    """The network's weights under published names, layers counted as ours are."""
    prefixes = {
        "to_pose.layers": "to_pose.fully_connected",
        "implicit_rotation.encode_angle": "encode_angle",
        "implicit_rotation.turn": "rotate_implicitely",
    }
    weights = {}
    for name, tensor in network.state_dict().items():
        key = published_name(name, {})
        for ours, published in prefixes.items():
            key = key.replace(ours, published)
        weights[key] = tensor + 1 if tensor.is_floating_point() else tensor
    return weights


def assert_loads(config, weights):
    network = build_network(config)
    report = load_published_weights(network, weights)
    assert not report.unused
    loaded = list(network.state_dict().values())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(loaded, weights.values(), strict=True))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, "conv_4_stage0.conv2.1.running_var"),
        ({"upsampling_bilinear": False}, "upconv_3_stage0.up.weight"),
        ({"latent_fg": 0}, "to_3d.0.weight"),
        ({"skip_background": False}, "upconv_3_stage0.conv.conv1.0.weight"),
        ({"implicit_rotation": True}, "encode_angle.3.weight"),
        ({"implicit_rotation": True}, "rotate_implicitely.0.bias"),
    ],
)
def test_variants_load_by_published_names(changes, key):
    config = {**UNET, **changes}
    weights = published_form(build_network(config))
    assert key in weights and is_published(weights)
    assert_loads(config, weights)


@pytest.mark.parametrize(
    ("num_hidden", "ours", "theirs"),
    [(0, ["0"], ["0"]), (0, ["0"], [""]), (1, ["0", "2", "3"], ["0", "2", "3"]), (1, ["0", "2", "3"], ["0", "2", "4"])],
)
def test_pose_layers_load_by_their_order(num_hidden, ours, theirs):
    config = {**UNET, "n_hidden_to3Dpose": num_hidden}
    weights = published_form(build_network(config))
    renamed = {}
    for key, tensor in weights.items():
        for old, new in zip(ours, theirs, strict=True):
            if key.startswith(f"to_pose.fully_connected.{old}."):
                name = key.rpartition(".")[2]
                key = ".".join(part for part in ("to_pose.fully_connected", new, name) if part)
                break
        renamed[key] = tensor
    assert_loads(config, renamed)


def test_other_spelling_of_the_implicit_rotation():
    config = {**UNET, "implicit_rotation": True}
    weights = published_form(build_network(config))
    assert_loads(config, {key.replace("implicitely", "implicitly"): value for key, value in weights.items()})


def test_old_and_new_files(tmp_path):
    weights = published_form(build_network(UNET))
    for zipped in (True, False):
        path = tmp_path / f"{zipped}.pth"
        torch.save(weights, path, _use_new_zipfile_serialization=zipped)
        assert not load_published_weights(build_network(UNET), path).unused
        checkpoint, network = read_checkpoint(path), build_network(UNET)
        assert checkpoint.config is None
        load_weights(network, checkpoint)
        loaded = list(network.state_dict().values())
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(loaded, weights.values(), strict=True))


def test_a_new_pose_decoder_stays_when_published_weights_are_loaded(tmp_path, capsys):
    weights = {key: value for key, value in published_form(build_network(UNET)).items() if "to_pose" not in key}
    torch.save(weights, tmp_path / "views.pth")
    network = build_network(UNET)
    before = {name: tensor.clone() for name, tensor in network.to_pose.state_dict().items()}
    load_weights(network, read_checkpoint(tmp_path / "views.pth"), keep="to_pose")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.to_pose.state_dict().items())
    assert f"{len(weights)} tensors loaded, 0 unused" in capsys.readouterr().out


@pytest.mark.parametrize("num_hidden", [1, 2])
def test_refusals_name_the_key_and_change_nothing(num_hidden):
    network = build_network({**UNET, "n_hidden_to3Dpose": num_hidden})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weights = published_form(network)
    wrong = {**weights, "from_latent.0.weight": torch.zeros(3, 5)}
    with pytest.raises(UserError, match=r"'from_latent.0.weight' has shape \(3, 5\), expected \(3072, 60\)"):
        load_published_weights(network, wrong)
    missing = {key: value for key, value in weights.items() if key != "to_pose.fully_connected.0.weight"}
    with pytest.raises(UserError, match=r"'to_pose.fully_connected.0.weight' is missing"):
        load_published_weights(network, missing)
    with pytest.raises(UserError, match="expected a tensor"):
        load_published_weights(network, {**weights, "fc_1_stage0.weight": "text"})
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
