"""Networks as ONNX files: the same numbers in onnxruntime, for any number of crops."""

import runpy
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import ExifTags, Image

from configs.config_test_encodeDecode import config_dict
from models import build_network, save_weights
from tests.networks import SMALL
from tests.tiny import ROOT, TIMEOUT, run_script
from training.loop.identity import weights_digest
from training.trained.inference import read_crops
from training.trained.load import open_network
from training.trained.onnx_export import export_onnx
from utils.errors import UserError
from utils.images import denormalize, normalize
from utils.skeleton import JOINT_NAMES

EXAMPLE = ROOT / "examples" / "onnx_without_pytorch.py"
SMALLER = {**SMALL, "inputDimension": 32, "network_path": None}
# between them: every kind of layer, both ways to rotate, and a network without poses
COLORED = {
    **SMALLER,
    "output_types": ["img_crop", "3D"],
    "skip_background": False,
    "add_background": True,
    "color_by_appearance": True,
    "upsampling_bilinear": False,
}
ABLATION = {
    **SMALLER,
    "output_types": ["img_crop"],
    "encoderType": "UNet",
    "num_encoding_layers": 2,
    "latent_fg": 8,
    "implicit_rotation": True,
    "skip_background": True,
    "upsampling_bilinear": True,
}


def save_network(path, config):
    """A file of random weights whose batch norms and pose statistics are not those of a new network."""
    torch.manual_seed(0)
    network = build_network(config)
    for name, values in network.state_dict().items():
        if name.endswith(("running_mean", "running_var", "shares")):
            values.uniform_(0.5, 2)
    network.set_pose_statistics(torch.rand(51), torch.rand(51))
    save_weights(path, network, config)
    return {**config_dict, "network_path": str(path)}


def check_parity(config, folder, outputs):
    """`outputs` of the ONNX files in `folder` are those of the network of `config`, for any number of crops."""
    sessions = {file.stem: onnxruntime.InferenceSession(file) for file in folder.iterdir()}
    network = open_network({**config, "device": "cpu", "precision": "float32"}).network
    generator = np.random.default_rng(0)
    for count in (1, 3):
        crops = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        rotations = np.linalg.qr(generator.normal(size=(count, 3, 3)))[0].astype(np.float32)
        images = normalize(torch.from_numpy(crops).movedim(3, 1))
        with torch.no_grad():
            appearance, points = network.encode(images)
            poses = network.denormalize_pose(network.pose(points)).reshape(-1, 17, 3)
            rotated = network.rotate(points, torch.from_numpy(rotations))
            views = denormalize(network.decode(appearance, rotated, images)).movedim(1, 3)
        expected = {"appearance": appearance, "points": points, "poses": poses, "views": views}
        latents = {"appearance": appearance.numpy(), "points": points.numpy()}
        inputs = {"crops": crops, "rotations": rotations, "backgrounds": crops, **latents}
        found = set()
        for session in sessions.values():
            taken = {given.name: inputs[given.name] for given in session.get_inputs()}
            names = [output.name for output in session.get_outputs()]
            for name, values in zip(names, session.run(names, taken), strict=True):
                np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-4, err_msg=name)
                assert expected[name].std() > 1e-3
                found.add(name)
        assert found == outputs


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The config of a network, the folder of its ONNX files, and what the script said that wrote them."""
    home = tmp_path_factory.mktemp("exported")
    config = save_network(home / "network.safetensors", COLORED)
    arguments = ("--onnx", "--output", home / "onnx", f"network_path={config['network_path']}")
    return config, home / "onnx", run_script("export_weights.py", *arguments)


def run_example(*arguments):
    return subprocess.run([sys.executable, EXAMPLE, *arguments], capture_output=True, text=True, timeout=TIMEOUT)


def test_script_writes_what_pytorch_gives_and_the_example_uses_it_without(exported, tmp_path):
    config, folder, result = exported
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert result.stdout.count("written: ") == 3
    check_parity(config, folder, {"poses", "appearance", "points", "views"})
    shown = run_example(folder, tmp_path / "views.png")
    assert shown.returncode == 0, shown.stderr
    assert [line.split()[0] for line in shown.stdout.splitlines()] == list(JOINT_NAMES)
    assert Image.open(tmp_path / "views.png").size == (8 * 32, 32)
    assert "torch" not in EXAMPLE.read_text(encoding="utf-8").split('"""')[2]


def test_the_example_reads_crops_as_pose_from_crop_does(exported, tmp_path, monkeypatch):
    _, folder, _ = exported
    rotated = Image.Exif()
    rotated[ExifTags.Base.Orientation] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "crop.png", exif=rotated)
    Image.fromarray(pixels[:60]).save(tmp_path / "wide.png")
    arguments = (EXAMPLE, folder, tmp_path / "views.png", tmp_path / "crop.png", tmp_path / "crop.png")
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    seen = runpy.run_path(str(EXAMPLE))["crop"][0].astype(int)
    expected = read_crops(tmp_path / "crop.png", 32)[0].permute(1, 2, 0).numpy()
    assert np.abs(seen - expected).max() <= 1
    refused = run_example(folder, tmp_path / "views.png", tmp_path / "wide.png", tmp_path / "crop.png")
    assert refused.returncode == 1 and "wide.png is 80x60 px; expected a square" in refused.stderr


def test_graphs_of_two_networks_are_told_apart(exported, tmp_path):
    """As an export into a used folder leaves them that is interrupted after its first file."""
    config, folder, _ = exported
    shutil.copytree(folder, tmp_path / "onnx")
    pose = onnx.load(tmp_path / "onnx" / "pose.onnx")
    (network,) = (entry for entry in pose.metadata_props if entry.key == "network")
    assert network.value == weights_digest(config["network_path"])
    network.value = "another's"
    onnx.save(pose, tmp_path / "onnx" / "pose.onnx")
    refused = run_example(tmp_path / "onnx", tmp_path / "views.png")
    assert refused.returncode == 1 and "onnx holds graphs of different networks" in refused.stderr
    assert not (tmp_path / "views.png").exists()


def test_a_network_without_poses_and_views_is_refused(tmp_path):
    config = {**SMALLER, "output_types": ["3D"]}
    save_weights(tmp_path / "a.safetensors", build_network(config), config)
    with pytest.raises(UserError, match=r"a\.safetensors' has nothing to export for 3D; expected"):
        export_onnx({**config_dict, "network_path": str(tmp_path / "a.safetensors")}, frozenset(), tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_a_network_without_poses_has_no_file_for_them(tmp_path):
    config = save_network(tmp_path / "network.safetensors", ABLATION)
    files = export_onnx(config, frozenset(), tmp_path / "onnx")
    assert files == [tmp_path / "onnx" / "encode.onnx", tmp_path / "onnx" / "decode.onnx"]
    check_parity(config, tmp_path / "onnx", {"appearance", "points", "views"})


def test_graphs_of_another_network_are_not_left_beside_those_of_this_one(tmp_path):
    config = save_network(tmp_path / "network.safetensors", ABLATION)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "pose.onnx").write_text("another's")
    with pytest.raises(UserError, match=r"onnx' holds pose\.onnx of another network"):
        export_onnx(config, frozenset(), tmp_path / "onnx")
    assert [file.name for file in (tmp_path / "onnx").iterdir()] == ["pose.onnx"]


def test_without_the_extra_one_line_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[export\]"'):
        export_onnx({**config_dict, "network_path": "nowhere"}, frozenset(), tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()
