"""torch.hub entry points, and poses from crops of every type."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from configs.config_test_encodeDecode import config_dict
from datasets.reader import MultiViewDataset
from models import build_network, save_weights
from models.geometry_aware.published import published_name
from tests.networks import SMALL
from tests.synthetic import write_synthetic_layout
from tests.tiny import ROOT, TIMEOUT
from training.estimation.photo import read_photo
from training.metrics import n_mpjpe
from training.trained.evaluation import evaluate
from training.trained.inference import crop_square, read_crops
from utils.errors import UserError
from utils.geometry import mirror_pose

SAMPLE_SET = ROOT / "examples" / "sample_set"


def load(entry, **options):
    return torch.hub.load(str(ROOT), entry, source="local", **options)


@pytest.fixture(scope="module")
def pose_from_crop():
    return load("pose_from_crop", weights="benchmark64", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def people():
    dataset = MultiViewDataset(SAMPLE_SET, keys=("img_crop", "3D"))
    return dataset.__getitems__(range(len(dataset)))


@pytest.mark.parametrize("weights", ["benchmark64", "wild128"])
def test_packaged_networks_encode_and_decode(weights):
    network = load("encode_decode", weights=weights)
    size = network.config["inputDimension"]
    assert not network.training and network.size == size and set(network.output_types) == {"img_crop", "3D"}
    with torch.no_grad():
        crops = torch.zeros(2, 3, size, size)
        appearance, points = network.encode(crops)
        assert network.decode(appearance, points, crops).shape == crops.shape


def test_packaged_networks_flag_noise_and_no_people_like_those_of_their_training(people):
    noise = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
    for weights in ("benchmark64", "wild128"):
        poses = load("pose_from_crop", weights=weights, device="cpu")
        with pytest.warns(UserWarning):
            assert poses(noise).flagged.mean() >= 0.9
    assert load("pose_from_crop", weights="benchmark64", device="cpu")(people["img_crop"]).flagged.mean() <= 0.05


def test_poses_are_meters_in_the_frame_of_the_crop(pose_from_crop, people):
    poses = pose_from_crop(people["img_crop"], batch_size=40)
    true = people["3D"].reshape(-1, 17, 3)
    assert poses.shape == true.shape and poses.dtype == np.float32
    np.testing.assert_allclose(poses[:, 0], 0, atol=1e-3)
    mean_pose = pose_from_crop.network.pose_mean.reshape(1, 17, 3).expand_as(true)
    error = n_mpjpe(torch.from_numpy(poses), true).mean()
    assert error < 0.8 * n_mpjpe(mean_pose, true).mean()
    # poses that are mirrored or rotated by 180 degrees have larger errors
    mirrored = torch.from_numpy(poses * np.float32([-1, 1, 1]))
    rotated = torch.from_numpy(poses * np.float32([-1, 1, -1]))
    assert error < 0.8 * n_mpjpe(mirrored, true).mean() and error < 0.8 * n_mpjpe(rotated, true).mean()


def test_flip_test_is_symmetric(pose_from_crop, people):
    crops, true = people["img_crop"], people["3D"].reshape(-1, 17, 3)
    flipping = load("pose_from_crop", weights="benchmark64", device="cpu", precision="float32", flip_test=True)
    poses = flipping(crops)
    error, plain = (n_mpjpe(torch.from_numpy(p), true).mean() for p in (poses, pose_from_crop(crops)))
    assert error < plain
    # a mirrored crop gives the mirrored pose; without flip_test only approximately
    few, mirrored = crops[:8], mirror_pose(torch.from_numpy(poses[:8]).flatten(1)).reshape(-1, 17, 3).numpy()
    np.testing.assert_allclose(flipping(few.flip(3)), mirrored, atol=1e-4)
    assert np.abs(pose_from_crop(few.flip(3)) - mirrored).max() > 1e-2
    # the evaluation does the same
    config = {**config_dict, "num_workers": 0, "flip_test": True}
    dataset = MultiViewDataset(SAMPLE_SET, keys=("img_crop", "3D"))
    network = load("encode_decode")
    network.output_types = ("3D",)
    table = evaluate(network, dataset, config, flipping.hardware)
    assert table[-1]["n_mpjpe_mm"] == pytest.approx(1000 * float(error), rel=1e-4)


def test_every_type_of_crop_gives_the_same_pose(pose_from_crop, people, tmp_path):
    tensor = people["img_crop"][:2]
    arrays = tensor.movedim(1, 3).numpy()
    images = [Image.fromarray(array) for array in arrays]
    images[0].save(tmp_path / "a.png")
    expected = pose_from_crop(tensor)
    assert expected.shape == (2, 17, 3) and np.abs(expected[0] - expected[1]).max() > 0.01
    forms = [arrays, list(arrays), images, (tmp_path / "a.png", tensor[1]), [str(tmp_path / "a.png"), arrays[1]]]
    for form in forms:
        np.testing.assert_allclose(pose_from_crop(form), expected, atol=1e-5)
    for one in (tensor[0], arrays[0], images[0], tmp_path / "a.png"):
        np.testing.assert_allclose(pose_from_crop(one), expected[:1], atol=1e-5)
    larger = arrays.repeat(3, axis=1).repeat(3, axis=2)
    assert np.abs(pose_from_crop(larger) - expected).mean() < 0.02


def test_arrays_that_cannot_be_written_are_read_without_a_warning():
    """As `np.asarray` of a PIL image is; torch says so once in a process, hence another one."""
    code = (
        "import warnings, numpy as np; from PIL import Image; from training.trained.inference import read_crops\n"
        "warnings.simplefilter('error'); crop = np.asarray(Image.new('RGB', (8, 8), (1, 2, 3)))\n"
        "assert not crop.flags.writeable and read_crops(crop, 8)[0, :, 4, 4].tolist() == [1, 2, 3]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=TIMEOUT)


def test_batch_sizes_are_whole_numbers_of_any_type(pose_from_crop, people):
    few = people["img_crop"][:3]
    expected = pose_from_crop(few)
    for size in (np.int64(2), 2.0, "2"):
        np.testing.assert_allclose(pose_from_crop(few, batch_size=size), expected, atol=1e-5)
    for size in (0, 2.5, "two", True, None):
        with pytest.raises(UserError, match=r"batch_size is .*; expected a whole number, at least 1"):
            pose_from_crop(few, batch_size=size)


def test_crops_are_resized_without_aliasing():
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    (crop,) = read_crops(board[..., None].repeat(3, 2), 64)
    assert crop.shape == (3, 64, 64) and crop.dtype == torch.uint8
    assert (crop[:, 4:-4, 4:-4].int() - 127).abs().max() <= 2


def test_the_orientation_tag_of_a_photograph_is_followed(tmp_path):
    upright = np.zeros((32, 32, 3), np.uint8)
    upright[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "phone.png", exif=exif)
    with Image.open(tmp_path / "phone.png") as image:
        for picture in (tmp_path / "phone.png", image):
            np.testing.assert_array_equal(read_crops(picture, 32)[0].movedim(0, 2).numpy(), upright)
            np.testing.assert_array_equal(crop_square(picture, (16, 16), 32), upright)
            np.testing.assert_array_equal(read_photo(picture), upright)


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (np.zeros((4, 5, 3)), r"an array \(4, 5, 3\) float64; expected .* uint8 RGB"),
        (np.zeros((4, 5), np.uint8), r"an array \(4, 5\) uint8"),
        (np.zeros((0, 5, 3), np.uint8), r"an array \(0, 5, 3\) uint8"),
        (Image.new("RGB", (0, 0)), r"an array \(0, 0, 3\) uint8"),
        ([1], "a photograph is list; expected a file"),
    ],
)
def test_bad_photographs_are_one_line(photo, message):
    with pytest.raises(UserError, match=message):
        read_photo(photo)


def test_bad_crops_are_one_line(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    square = np.zeros((8, 8, 3), np.uint8)
    for crop, message in (
        (np.zeros((8, 9, 3), np.uint8), "9x8 px"),
        (square.astype(np.float32), r"crops are an array \(8, 8, 3\) float32"),
        (square[..., 0], r"\(8, 8\)"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"\(3,H,W\)"),
        (torch.zeros(3, 8, 8), r"crops are a tensor \(3, 8, 8\) torch\.float32"),
        (square[None][:0], r"\(0, 8, 8, 3\)"),
        ([], "no crops"),
        ([square, None], "NoneType"),
        (tmp_path / "text.png", "not an image"),
        (tmp_path / "nothing.png", "no such file"),
    ):
        with pytest.raises(UserError, match=message) as error:
            read_crops(crop, 8)
        assert len(str(error.value).splitlines()) == 1


def test_crop_square_is_centered_and_black_beyond_the_border():
    picture = np.full((40, 60, 3), 100, np.uint8)
    picture[20, 50] = 255
    crop = np.asarray(crop_square(picture, center=(50.5, 20.5), side=31))
    assert crop.shape == (31, 31, 3) and (crop[15, 15] == 255).all()
    assert (crop[:, -6:] == 0).all() and (crop[:, :25].max(axis=2) >= 100).all()
    with pytest.raises(UserError, match="side"):
        crop_square(picture, (50, 20), 0)
    assert np.asarray(crop_square(picture, np.array([-9, 20]), np.float32(20))).any()


@pytest.mark.parametrize(
    ("center", "side", "message"),
    [
        *(
            (center, 20, r"center of a crop is .*, its side 20; expected \(x, y\) and a number")
            for center in [(10,), 10, None, (10, 10, 3), "ab", ("a", "b"), (10, np.nan), ([1, 2], 3)]
        ),
        ((10, 10), "20", "its side '20'"),
        ((10, 10), None, "its side None"),
        ((10, 10), float("nan"), "its side nan"),
        ((10, 10), 1e9, "side of a crop is 1e.09 px; expected 1 to"),
        ((1e12, 1), 20, r"a crop of 20 px around \(1e.12, 1\) is outside of the picture of 60x40 px"),
        ((10, -11), 20, "is outside of the picture"),
    ],
)
def test_a_square_that_is_none_is_one_line(center, side, message):
    with pytest.raises(UserError, match=message):
        crop_square(np.full((40, 60, 3), 100, np.uint8), center, side)


def test_random_weights_of_any_config():
    network = load("encode_decode", weights=None, **SMALL)
    assert network.size == 64 and not network.training and network.config["latent_fg"] == SMALL["latent_fg"]
    with pytest.raises(UserError, match="nearest known key is 'latent_fg'"):
        load("encode_decode", weights=None, latent_fgg=3)
    with pytest.raises(UserError, match="'method' is 'scene'; expected 'geometry_aware'"):
        load("encode_decode", weights="benchmark64", method="scene")
    with pytest.raises(UserError, match="trained weights"):
        load("pose_from_crop", weights=None)
    with pytest.raises(UserError, match="latent_3d is 30"):
        load("encode_decode", weights="wild128", latent_3d=30)
    with pytest.raises(UserError, match="'demo46' do not exist"):
        load("encode_decode", weights="demo46")
    for weights in ("benchmark64", None):
        for key in ("network_path", "pretrained_network_path"):
            with pytest.raises(UserError, match=f"^{key} is 'wild128'; expected None, .* weights='wild128'$"):
                load("encode_decode", weights=weights, **{key: "wild128"})
    same, other = (
        load("encode_decode", weights=None, **{**SMALL, "seed": seed}) for seed in (network.config["seed"], 3)
    )
    assert torch.equal(network.encoder.fc.weight, same.encoder.fc.weight)
    assert not torch.equal(network.encoder.fc.weight, other.encoder.fc.weight)


def test_statistics_of_other_data_do_not_replace_those_of_the_weights(tmp_path):
    with pytest.raises(UserError, match="statistics is 'data', but benchmark64 has its own; expected None"):
        load("pose_from_crop", weights="benchmark64", statistics="data")


def test_weights_without_a_pose_decoder(tmp_path):
    path = tmp_path / "stage1.safetensors"
    config = {**SMALL, "output_types": ["img_crop"], "network_path": None}
    save_weights(path, build_network(config), config)
    assert load("encode_decode", weights=path).output_types == ("img_crop",)
    with pytest.raises(UserError, match="not trained for poses"):
        load("pose_from_crop", weights=path)


def test_published_weights_are_found_or_requested(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "network_best_val_t1.pth"
    with pytest.raises(UserError, match="hrhodin") as error:
        load("encode_decode", weights="published")
    assert str(file) in str(error.value)
    network = build_network(SMALL)
    weights = {_published_key(name): value for name, value in network.state_dict().items()}
    file.parent.mkdir(parents=True)
    torch.save({name: value for name, value in weights.items() if name not in ("pose_mean", "pose_std")}, file)
    loaded = load("encode_decode", weights="published", **SMALL)
    torch.testing.assert_close(loaded.state_dict(), network.state_dict())
    layout = write_synthetic_layout(tmp_path / "data", size=64, subjects=(1,), instants=2)
    monkeypatch.setattr("configs.config_test_encodeDecode.config_dict", {**_test_config(), **SMALL})
    with pytest.raises(UserError, match="statistics"):
        load("pose_from_crop", weights="published")
    estimate = load("pose_from_crop", weights="published", statistics=layout, device="cpu")
    np.testing.assert_allclose(estimate.network.pose_mean, MultiViewDataset(layout, keys=()).pose_mean)


def _published_key(name: str) -> str:
    return published_name(name, {}).replace("to_pose.layers", "to_pose.fully_connected")


def _test_config() -> dict:
    from configs.config_test_encodeDecode import config_dict

    return config_dict


def test_poses_come_from_the_network_for_real_pictures_by_default():
    assert load("pose_from_crop", device="cpu").network.size == load("encode_decode", weights="wild128").size == 128


FOREIGN = """
import sys, torch, datasets
assert datasets.FOREIGN
root = sys.argv[1]
try:
    torch.hub.load(root, "pose_from_crop", source="local", device="cpu")
except ImportError as error:
    print("refused:", error)
del sys.modules["datasets"]
pose_from_crop = torch.hub.load(root, "pose_from_crop", source="local", device="cpu")
print(pose_from_crop(sys.argv[2]).shape)
"""


def test_foreign_packages_do_not_win(tmp_path):
    for folder in (tmp_path / "path", tmp_path):
        for name in ("datasets", "utils", "models"):
            (folder / name).mkdir(parents=True)
            (folder / name / "__init__.py").write_text("FOREIGN = True\n")
    crop = next(SAMPLE_SET.rglob("img_crop_*.png"))
    result = subprocess.run(
        [sys.executable, "-c", FOREIGN, str(ROOT), str(crop)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "path")},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert result.returncode == 0, result.stderr
    refused, shape = result.stdout.splitlines()
    assert refused.startswith("refused: another package 'datasets'") and str(tmp_path) in refused
    assert shape == "(1, 17, 3)"
