"""The network: what its parts must do in every variant."""

import pytest
import torch

from models import build_network, evaluation_permutations, training_permutations
from models.parts.blocks import Doubling, convolve_both
from models.parts.decoders import ColoredLayers, ImageDecoder
from models.parts.latent import invert
from tests.networks import PUBLISHED, SMALL, some_inputs
from utils.errors import UserError
from utils.geometry import yaw_rotation

VARIANTS = {
    "small": {},
    "small, 128 px": {"inputDimension": 128},
    "small, three levels": {"num_encoding_layers": 3, "latent_fg": 8},
    "without max-pooling": {"encoder_max_pool": False},
    "ResNet": {"encoderType": "ResNet", "inputDimension": 128},
    "EfficientNetLite0": {"encoderType": "EfficientNetLite0"},
    "EfficientNetLite0, enlarged": {"encoderType": "EfficientNetLite0", "encoder_side": 96},
    "UNet": {"encoderType": "UNet", "inputDimension": 128},
    "UNet without appearance": {"encoderType": "UNet", "latent_fg": 0},
    "implicit": {"implicit_rotation": True},
    "transposed": {"upsampling_bilinear": False},
    "no background": {"skip_background": False},
    "colors by appearance": {"color_by_appearance": True},
    "no appearance": {"latent_fg": 0},
    "pose, no hidden layer": {"n_hidden_to3Dpose": 0},
    "pose, one hidden layer": {"n_hidden_to3Dpose": 1},
}


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return build_network(SMALL).eval()


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_variant_runs_and_uses_every_parameter(changes):
    config = {**SMALL, **changes}
    size = config["inputDimension"]
    network = build_network(config).train()
    outputs = network(some_inputs(size))
    assert outputs["img_crop"].shape == (4, 3, size, size)
    assert outputs["3D"].shape == (4, 51)
    assert outputs["latent_3d"].shape == (4, 20, 3)
    assert outputs["cam2cam"].shape == (4, 3, 3)
    outputs["img_crop"].square().mean().backward()
    unused = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert unused == {name for name, _ in network.named_parameters() if name.startswith("to_pose.")}
    assert {id(p) for p in network.stage1_parameters()} == {id(p) for p in network.parameters() if p.grad is not None}
    network.pose(outputs["latent_3d"].detach()).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.stage2_parameters())
    silent = [name for name, p in network.named_parameters() if p.dim() > 1 and not p.grad.abs().sum() > 0]
    assert not silent


def test_only_what_is_asked_is_computed(small, monkeypatch):
    network = build_network({**SMALL, "output_types": ["3D", "latent_3d"]}).eval()
    monkeypatch.setattr(network, "decode", None)
    outputs = network({"img_crop": some_inputs()["img_crop"]})
    assert list(outputs) == ["3D", "latent_3d"]


def test_external_rotations_rotate_the_points(small):
    batch = some_inputs()
    world, camera = yaw_rotation(0.7), yaw_rotation(-0.4).T.contiguous()
    with torch.no_grad():
        outputs = small({**batch, "external_rotation_global": world, "external_rotation_cam": camera})
        rotation = camera @ batch["extrinsic_rot"] @ world @ batch["extrinsic_rot_inv"]
        appearance, points = small.encode(batch["img_crop"])
        image = small.decode(appearance, points @ rotation.transpose(1, 2), batch["bg_crop"])
    torch.testing.assert_close(outputs["cam2cam"], rotation)
    torch.testing.assert_close(outputs["img_crop"], image, rtol=1e-4, atol=1e-4)
    assert outputs["shuffled_pose"].tolist() == outputs["shuffled_appearance"].tolist() == [0, 1, 2, 3]


def test_outputs_are_put_back_in_the_order_of_the_crops(small):
    """Output j shows view j: the points of the crop that was sent there, the appearance that came with it."""
    batch = some_inputs()
    pose, appearance = torch.tensor([1, 0, 2, 3]), torch.tensor([2, 3, 1, 0])
    with torch.no_grad():
        outputs = small({**batch, "shuffled_pose": pose, "shuffled_appearance": appearance})
        appearances, points = small.encode(batch["img_crop"])
        for slot, view in enumerate(pose.tolist()):
            rotation = batch["extrinsic_rot"][view] @ batch["extrinsic_rot_inv"][slot]
            donor = appearance[slot]
            image = small.decode(
                appearances[donor : donor + 1], points[slot : slot + 1] @ rotation.T, batch["bg_crop"][view : view + 1]
            )
            torch.testing.assert_close(outputs["img_crop"][view], image[0], rtol=1e-4, atol=1e-4)


def test_identity_permutation_is_auto_encoding(small):
    order = torch.arange(4)
    with torch.no_grad():
        outputs = small({**some_inputs(), "shuffled_pose": order, "shuffled_appearance": order})
    torch.testing.assert_close(outputs["cam2cam"], torch.eye(3).expand(4, 3, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layered", [False, True])
def test_images_start_as_the_background_of_the_target_and_learn_the_difference(layered):
    torch.manual_seed(0)
    config = {**SMALL, "add_background": True, "color_by_appearance": layered}
    network, batch = build_network(config).train(), some_inputs()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    torch.testing.assert_close(network(batch)["img_crop"], batch["bg_crop"], rtol=0, atol=0)
    for _ in range(2):
        optimizer.zero_grad()
        (network(batch)["img_crop"] - batch["img_crop"]).square().mean().backward()
        optimizer.step()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.stage1_parameters() if parameter.dim() > 1)
    assert not torch.allclose(network(batch)["img_crop"], batch["bg_crop"], atol=1e-3)


def test_a_background_is_added_also_where_the_decoder_sees_no_features_of_it():
    torch.manual_seed(0)
    network, batch = build_network({**SMALL, "add_background": True, "skip_background": False}), some_inputs()
    assert network.decoder.background is None
    torch.testing.assert_close(network(batch)["img_crop"], batch["bg_crop"], rtol=0, atol=0)


@pytest.mark.parametrize("last", [False, True])
def test_doubling_is_the_transposed_convolution_whose_weights_it_has(last):
    torch.manual_seed(0)
    doubling, expected = Doubling(6, 4), torch.nn.ConvTranspose2d(6, 4, 2, stride=2)
    expected.load_state_dict(doubling.state_dict())
    x = torch.randn(2, 6, 3, 5)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    results = []
    for layer in (doubling, expected):
        given = x.clone().requires_grad_()
        output = layer(given)
        output.backward(torch.arange(output.numel()).view_as(output) / output.numel())
        results.append((output, given.grad, layer.weight.grad, layer.bias.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("over_background", [False, True])
def test_layers_take_their_colors_from_the_appearance_and_hide_the_background(over_background):
    torch.manual_seed(0)
    to_image = ColoredLayers(5, 16, over_background)
    for parameter in to_image.parameters():
        torch.nn.init.normal_(parameter)
    layers, appearance, background = torch.randn(2, 5, 8, 8), torch.randn(2, 16), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        image = to_image(layers, appearance, background)
        colors = to_image.colors(appearance).view(2, 5, 3)
    for crop, row, column in ((0, 0, 0), (1, 3, 6)):
        expected = sum(layers[crop, layer, row, column] * colors[crop, layer] for layer in range(5))
        if over_background:
            hidden = (layers[crop, :, row, column] * to_image.shares.detach()).sum()
            expected = expected + (1 - hidden) * background[crop, :, row, column]
        torch.testing.assert_close(image[crop, :, row, column], expected, rtol=1e-4, atol=1e-5)


def test_a_mask_is_what_the_layers_hide_of_the_background(small):
    torch.manual_seed(0)
    network = build_network(
        {**SMALL, "skip_background": False, "add_background": True, "color_by_appearance": True}
    ).eval()
    for parameter in network.decoder.to_image.parameters():
        torch.nn.init.normal_(parameter)
    network.output_types = ("img_crop", "mask_crop")
    dark = some_inputs()
    bright = {**dark, "bg_crop": dark["bg_crop"] + 1}
    with torch.no_grad():
        first, second = network(dark), network(bright)
        network.output_types = ("img_crop",)
        torch.testing.assert_close(network(dark)["img_crop"], first["img_crop"], rtol=0, atol=0)
    torch.testing.assert_close(first["mask_crop"], second["mask_crop"], rtol=0, atol=0)
    passing = second["img_crop"] - first["img_crop"]
    torch.testing.assert_close(passing, (1 - first["mask_crop"]).expand_as(passing), rtol=1e-3, atol=1e-4)
    small.output_types, before = ("mask_crop",), small.output_types
    with pytest.raises(UserError, match="mask_crop needs layers over a background; expected color_by_appearance and"):
        small(some_inputs())
    small.output_types = before


@pytest.mark.parametrize("layered", [False, True])
def test_a_decoder_has_as_many_output_channels_as_asked(layered):
    torch.manual_seed(0)
    options = {"upsampling_bilinear": True, "skip_background": False, "add_background": False}
    decoder = ImageDecoder([8, 16, 32], 4, 16, 60, 0.0, **options, color_by_appearance=layered, channels=5)
    image = decoder(torch.randn(2, 16), torch.randn(2, 20, 3))
    assert image.shape == (2, 5, 16, 16)
    assert all(channel.std() > 0 for channel in image.detach().unbind(1))


def test_colors_need_an_appearance():
    with pytest.raises(UserError, match="color_by_appearance = True, expected latent_fg above 0"):
        build_network({**SMALL, "color_by_appearance": True, "latent_fg": 0})


def test_forward_is_a_pure_function(small):
    small.train()
    try:
        assert small(some_inputs())["shuffled_pose"].tolist() == [1, 0, 3, 2]
    finally:
        small.eval()


def test_bfloat16_keeps_rotations_and_outputs_in_float32(small):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = small(some_inputs())
    with torch.no_grad():
        exact = small(some_inputs())
    torch.testing.assert_close(outputs["cam2cam"], exact["cam2cam"])
    assert {outputs[name].dtype for name in ("3D", "img_crop", "latent_3d", "cam2cam")} == {torch.float32}
    assert (outputs["img_crop"] - exact["img_crop"]).norm() < 0.05 * exact["img_crop"].norm()


def test_compiles_without_graph_breaks(small):
    batch = some_inputs()
    compiled = torch.compile(small, fullgraph=True, backend="eager")
    with torch.no_grad():
        exact = small(batch)
    outputs = compiled(batch)
    outputs["img_crop"].mean().backward()
    torch.testing.assert_close(outputs["img_crop"], exact["img_crop"], rtol=1e-4, atol=1e-4)
    small.zero_grad()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_convolving_both_is_convolving_their_concatenation(layout):
    conv = torch.nn.Conv2d(8, 4, 3, padding=1).to(memory_format=layout)
    both = [torch.randn(2, c, 6, 6).to(memory_format=layout).requires_grad_() for c in (3, 5)]
    given = [*both, *conv.parameters()]
    expected = conv(torch.cat(both, dim=1))
    weight = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * weight).sum(), given)
    outputs = convolve_both(conv, *both)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(torch.autograd.grad((outputs * weight).sum(), given), gradients)


def test_upsampled_maps_are_recomputed_not_kept(small):
    """The backward pass needs the maps of 4 times the size that the decoder convolves; they are not kept for it."""
    kept = []

    def keep(tensor):
        kept.append(tuple(tensor.shape[1:]))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        small(some_inputs())
    for level, side in zip(small.decoder.levels, (16, 32, 64), strict=True):
        assert (level.up[1].out_channels, side, side) in kept
        assert (level.up[1].in_channels, side, side) not in kept


def test_evaluation_permutations():
    pose, appearance = evaluation_permutations(6, 3)
    assert pose.tolist() == [2, 0, 1, 5, 3, 4]
    assert appearance.tolist() == [0, 1, 2, 3, 4, 5]
    assert evaluation_permutations(4, 2, shuffle_3d=False)[0].tolist() == [0, 1, 2, 3]


def test_training_permutations_stay_in_their_groups():
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(24) // 3
    stayed = []
    for _ in range(50):
        pose, appearance = training_permutations(24, 3, True, generator)
        assert torch.equal(pose.sort().values, torch.arange(24))
        assert torch.equal(appearance.sort().values, torch.arange(24))
        assert torch.equal(group[pose], group)
        assert torch.equal(group[appearance], group ^ 1)  # the other instant of the pair
        assert torch.equal(pose[invert(pose)], torch.arange(24))
        stayed.append((pose == torch.arange(24)).float().mean())
    assert 0.25 < torch.stack(stayed).mean() < 0.42  # one in three, as published
    alone = training_permutations(24, 3, False, generator)[1]
    assert torch.equal(group[alone], group)


def test_other_view_never_targets_its_own_crop():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        pose, _ = training_permutations(16, 4, True, generator, other_view=True)
        assert not (pose == torch.arange(16)).any()
        assert torch.equal(pose // 4, torch.arange(16) // 4)


def test_shuffling_can_be_disabled_and_is_seeded():
    off = training_permutations(8, 2, True, torch.Generator(), shuffle_3d=False, shuffle_fg=False)
    assert off[0].tolist() == off[1].tolist() == list(range(8))
    first, second = (training_permutations(8, 2, True, torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_frozen_stem_needs_weights_worth_keeping(tmp_path):
    config = {**PUBLISHED, "encoderType": "ResNet18", "encoder_width": 64, "feature_scale": 2}
    network = build_network(config)
    assert all(parameter.requires_grad for parameter in network.parameters())
    path = tmp_path / "resnet18.pth"
    torch.save(network.encoder.state_dict(), path)
    frozen = build_network({**config, "encoder_weights": str(path)})
    names = {name.split(".")[1] for name, p in frozen.named_parameters() if not p.requires_grad}
    assert names == {"conv1", "bn1", "layer1", "layer2"}
    assert torch.equal(frozen.encoder.layer3[0].conv1.weight, network.encoder.layer3[0].conv1.weight)
    assert not any(p.requires_grad is False for p in frozen.stage1_parameters())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"encoderType": "VGG"},
            "'encoderType' is 'VGG'; expected 'ResNet', 'ResNet18', 'EfficientNetLite0' or 'UNet'",
        ),
        ({"encoderType": "ResNet"}, "inputDimension = 64, expected 128"),
        ({"inputDimension": 72}, "multiple of 16"),
        ({"inputDimension": 72, "encoderType": "EfficientNetLite0"}, "'EfficientNetLite0' with crops of 72 px"),
        (
            {"encoder_side": 100, "encoderType": "EfficientNetLite0"},
            "'encoder_side' is 100; expected int .multiple of 16",
        ),
        ({"latent_3d": 100}, "'latent_3d' is 100; expected int \\(multiple of 3"),
        ({"latent_fg": 64}, "latent_fg = 64, expected less than 64"),
        ({"feature_scale": 3}, "'feature_scale' is 3; expected 1, 2, 4, 8, 16, 32 or 64"),
        ({"latent_dropout": 1}, "'latent_dropout' is 1; expected float \\(at least 0, below 1\\)"),
        ({"output_types": ["pose"]}, r"'output_types' is \['pose'\]; expected list of some of '3D', 'img_crop'"),
        ({"encoder_weights": "no/such.pth"}, "no such file: 'no/such.pth'"),
        ({"useCamBatches": 0}, "'useCamBatches' is 0; expected int \\(at least 1\\)"),
    ],
)
def test_bad_configurations_are_named(changes, words):
    with pytest.raises(UserError, match=words):
        build_network({**SMALL, **changes})


def test_missing_key_and_uneven_batch_are_named(small):
    config = {key: value for key, value in SMALL.items() if key != "latent_fg"}
    with pytest.raises(UserError, match="'latent_fg' is missing"):
        build_network(config)
    with pytest.raises(UserError, match=r"3 crops .* sub-batches of 2"):
        small({name: value[:3] for name, value in some_inputs().items()})
    with pytest.raises(UserError, match=r"crops have shape \(3, 32, 32\), expected \(3, 64, 64\)"):
        small(some_inputs(32))
    with pytest.raises(UserError, match=r"crops are torch.uint8; expected floats, as utils.images.normalize"):
        small.encode(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize("name", ["img_crop", "extrinsic_rot", "extrinsic_rot_inv", "bg_crop"])
def test_a_missing_input_is_named(small, name):
    inputs = {key: value for key, value in some_inputs().items() if key != name}
    with pytest.raises(UserError, match=rf"^input '{name}' is missing, expected it for output_types = \('3D', "):
        small(inputs)
    if name == "img_crop":
        small({**inputs, "input_crop": some_inputs()[name]})


def test_without_the_sigmoid_bottleneck_the_linear_layer_sees_as_many_features_as_latents():
    features = {}
    for sigmoid in (True, False):
        network = build_network({**PUBLISHED, "sigmoid_bottleneck": sigmoid})
        features[sigmoid] = network.encoder.fc.in_features
        with torch.no_grad():
            assert network.encode(some_inputs(128, batch=2)["img_crop"])[1].shape == (2, 200, 3)
    assert features[True] == 128 and features[False] >= 728
