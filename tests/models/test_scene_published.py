"""Agreement with the published implementation of several people in full frames: outputs, losses, gradients, keys."""

import json

import numpy as np
import pytest
import torch

from configs.config_train_detect_encode_decode import config_dict as stage1
from configs.config_train_detect_encode_decode_pose import config_dict as stage2
from models import build_network, load_published_weights
from models.scene.published import is_published, published_names
from tests import deterministic
from tests.deterministic_scene import REFERENCE, inputs, pose_labels, published_shapes, state_dict
from training.metrics import mpjpe, n_mpjpe
from training.stages.scene_losses import FrameLoss, scene_pose_loss
from utils.errors import UserError
from utils.geometry import rotation_about

RANDOM = {"encoder_weights": None, "perceptual_weights": None}
# every n-th row and column is stored; in the file of published size, these of the whole frame every fourth of them
STEP = {"img": 2, "radiance_normalized": 2, "depth_map": 2, "blend_mask": 4, "blend_mask_crop": 2, "img_crop": 4}
STEP |= {"bg_crop": 4, "spatial_transformer_img_crop": 4, "img_downscaled": 8}
WHOLE_FRAME = ("img", "radiance_normalized", "depth_map", "blend_mask")
EXACT = ("spatial_transformer", "spatial_transformer_raw", "ST_depth")


@pytest.fixture(scope="module")
def weights():
    return state_dict("nvs")


@pytest.fixture(scope="module")
def views(weights):
    network = build_network({**stage1, **RANDOM, "latent_dropout": 0.0}, load=False).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == 45_736_582
    report = load_published_weights(network, weights)
    assert set(report.unused) == {"to_3d.0.weight", "to_3d.0.bias", "to_fg.0.weight", "to_fg.0.bias"}
    return network


def relative_error(ours, reference):
    reference = np.asarray(reference, dtype=np.float64)
    return np.linalg.norm(np.asarray(ours, dtype=np.float64) - reference) / np.linalg.norm(reference)


def assert_agrees(network, file, batch, limit=5e-4, exact=1e-4):
    """Outputs agree to `limit`, and boxes and depths to `exact`. Returns the outputs, with their gradients."""
    with np.load(REFERENCE / f"{file}.npz", allow_pickle=False) as reference:
        network.output_types = [*reference.files, "shuffled_pose_inv"]
        outputs = network(batch)
        assert torch.equal(outputs["shuffled_pose"][outputs["shuffled_pose_inv"]], torch.arange(len(batch["img"])))
        for name in reference.files:
            step = STEP.get(name, 1) * (4 if file == "published_size" and name in WHOLE_FRAME else 1)
            ours = outputs[name].detach()
            ours = ours[..., ::step, ::step] if name in STEP else ours
            assert ours.shape == reference[name].shape, name
            error = relative_error(ours, reference[name]) if reference[name].any() else ours.abs().max()
            assert error < (exact if name in EXACT else limit), name
    return outputs


@torch.no_grad()
def test_evaluation_agrees(views):
    assert_agrees(views, "eval", inputs(31, 4))


@torch.no_grad()
def test_rotations_of_the_viewer_agree(views):
    world = rotation_about("y", torch.tensor(-0.7, dtype=torch.float64)).float()
    rotations = {"external_rotation_global": world, "external_rotation_cam": torch.eye(3)}
    assert_agrees(views, "user_rotation", {**inputs(32, 4), **rotations})


@torch.no_grad()
def test_frames_of_published_size_agree(views):
    assert_agrees(views, "published_size", inputs(34, 2, 512, 910))


@torch.no_grad()
def test_training_mode_agrees(views, weights):
    batch = {**inputs(33, 4), "shuffled_pose": torch.tensor([1, 0, 2, 3])}
    views.train()
    try:
        assert_agrees(views, "train", batch, limit=1.5e-3, exact=3e-4)
    finally:
        # Its batch norm moved the statistics.
        load_published_weights(views.eval(), weights)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_outputs_losses_and_gradients_agree_in_float64(views, weights, mode, tmp_path):
    reference = json.loads((REFERENCE / "loss_and_gradients.json").read_text())[mode]
    torch.save(deterministic.state_dict("perceptual", prefix="perceptual."), tmp_path / "perceptual.pth")
    criterion = FrameLoss({**stage1, "perceptual_weights": str(tmp_path / "perceptual.pth")}).double()
    batch = {name: value.double() for name, value in inputs(reference["seed"], 4).items()}
    batch["shuffled_pose"] = torch.tensor(reference["shuffled_pose"])
    views.double().train(mode == "train").zero_grad()
    try:
        # The numbers are stored in float32.
        outputs = assert_agrees(views, mode, batch, limit=1e-7, exact=1e-7)
        losses = criterion(outputs["img"], batch["img"], outputs["spatial_transformer"])
        losses["loss"].backward()
        names = {"rgb": "rgb", "imageNet": "perceptual_weighted", "boxes": "box_prior_weighted", "loss": "total"}
        for ours, theirs in names.items():
            assert losses[ours].item() == pytest.approx(reference[theirs], rel=1e-8)
        parameters = dict(views.named_parameters())
        norms = {key: parameters[name].grad.norm() for name, key in published_names(parameters, weights).items()}
        assert norms.keys() == reference["gradient_norms"].keys()
        for key, norm in reference["gradient_norms"].items():
            # Biases before a batch norm have no gradient in training.
            assert norms[key].item() == pytest.approx(norm, rel=1e-6, abs=1e-9), key
    finally:
        views.zero_grad()
        load_published_weights(views.float().eval(), weights)


def test_poses_agree():
    outputs = ["3D", "spatial_transformer", "ST_depth", "latent_3d", "latent_fg"]
    network = build_network({**stage2, **RANDOM, "output_types": outputs}, load=False).eval()
    report = load_published_weights(network, state_dict("pose"))
    assert {key.partition(".")[0] for key in report.unused} == {"to_3d", "to_fg", "from_latent"}
    # No file holds the statistics of the poses that they learned: three entries of the release's table.
    mean, std = network.pose_mean.unflatten(0, (17, 3)), network.pose_std.unflatten(0, (17, 3))
    torch.testing.assert_close(
        mean[[0, 6, 16]], torch.tensor([[0, 0, 0], [0.0103, 0.8180, 0.1644], [-0.0022, -0.3627, -0.0711]])
    )
    torch.testing.assert_close(
        std[[0, 6, 16]], torch.tensor([[1, 1, 1], [0.2584, 0.0767, 0.2561], [0.2460, 0.1514, 0.2442]])
    )
    labels = pose_labels(35, 6)
    with torch.no_grad():
        outputs = network(inputs(35, 6))
    network.set_pose_statistics(labels["pose_mean"][0, 0].flatten(), labels["pose_std"][0, 0].flatten())
    with np.load(REFERENCE / "pose.npz", allow_pickle=False) as reference:
        for name in outputs:
            ours = outputs[name].reshape(reference[name].shape)
            assert relative_error(ours, reference[name]) < (1e-4 if name in EXACT else 5e-4), name
        loss = scene_pose_loss(outputs["3D"], labels["3D"], network.pose_mean, network.pose_std)
        poses = network.denormalize_pose(outputs["3D"])
        assert loss.item() == pytest.approx(float(reference["train_loss_mse"]), rel=1e-3)
        assert mpjpe(poses, labels["3D"]).mean().item() == pytest.approx(float(reference["test_mpjpe"]), rel=5e-4)
        assert n_mpjpe(poses, labels["3D"]).mean().item() == pytest.approx(float(reference["n_mpjpe"]), rel=5e-4)


def hollow(name):
    """Published weights that take no memory."""
    return {key: torch.zeros(()).expand(shape) for key, shape in published_shapes(name).items()}


def test_weights_of_the_wrong_stage_or_method_are_refused(views):
    assert is_published(hollow("nvs")) and is_published(hollow("pose"))
    with pytest.raises(UserError, match=r"^published weights are of stage 2 \(poses\), expected those of stage 1"):
        load_published_weights(views, hollow("pose"))
    first_method = json.loads((deterministic.REFERENCE / "published_state_dict.json").read_text())
    assert not is_published(first_method)
    with pytest.raises(UserError, match=r"'detector.conv1.weight' is missing, expected shape \(64, 3, 7, 7\)"):
        load_published_weights(views, {key: torch.zeros(()).expand(shape) for key, shape in first_method.items()})
    boxes = {**hollow("nvs"), "detector.fc.weight": torch.zeros(15, 512)}
    with pytest.raises(UserError, match=r"'detector.fc.weight' has shape \(15, 512\), expected \(10, 512\)"):
        load_published_weights(views, boxes)
