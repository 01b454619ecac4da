"""Stage 1 of several people, end to end on a tiny set."""

import pytest
import torch

from configs.config_train_encodeDecode import config_dict as of_one_person
from models import build_network
from models.checkpoints import save_weights
from tests.scene_networks import SMALL
from tests.synthetic_frames import write_synthetic_frames
from training.loop.run_folder import next_command
from training.stages.scenes import train_scenes
from training.trained.load import start_from_crops
from utils.errors import UserError


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return write_synthetic_frames(tmp_path_factory.mktemp("scenes") / "train", scenes=((1, 5), (5, 1), (6,), (1, 6)))


def _config(frames, folder, **changes) -> dict:
    return {
        **SMALL,
        "dataset_folder_train": str(frames),
        "output_folder": str(folder),
        "fullFrameResolution": [64, 48],
        "batch_size_train": 4,
        "batch_size_test": 4,
        "num_training_iterations": 2,
        "test_every": 2,
        "print_every": 1,
        "loss_weight_imageNet": 0.0,
        "num_workers": 0,
        "device": "cpu",
        "visdom": False,
        **changes,
    }


OURS = {
    "distinct_starts": True,
    "square_boxes": True,
    "detector_background": True,
    "empty_masks": True,
    "opaque_masks": True,
    "match_statistics": False,
    "target_other_view": True,
    "color_by_appearance": True,
    "decoder_batch_norm": True,
    "loss_weight_boxes": 0.0,
    "loss_weight_cover": 0.02,
    "loss_weight_people": 0.01,
    "loss_weight_masks": 1.0,
    "loss_weight_depth": 0.001,
    "loss_weight_size": 0.02,
    "masks_of_layers": True,
    "augment_mirror": True,
}


@pytest.mark.parametrize("changes", [{}, OURS], ids=["published", "ours"])
def test_training_leaves_a_network_and_a_log(frames, tmp_path, changes):
    folder = train_scenes(_config(frames, tmp_path, **changes))
    assert (folder.path / "models" / "network_best_val_t1.pth").is_file()
    log = (folder.path / "debug_log_training.txt").read_text()
    assert ("depth" in log) == ("cover" in log) == ("people" in log) == ("masks" in log) == bool(changes)


def test_depths_need_the_places_of_cameras(tmp_path):
    import h5py

    root = write_synthetic_frames(tmp_path / "set")
    with h5py.File(root / "labels.h5", "a") as file:
        del file["camera_position"]
    with pytest.raises(UserError, match="camera_position"):
        train_scenes(_config(root, tmp_path, loss_weight_depth=0.1))


@pytest.mark.parametrize("cameras", [0, 1])
def test_rays_of_one_camera_meet_nowhere(frames, tmp_path, cameras):
    with pytest.raises(UserError, match=f"useCamBatches is {cameras}; expected 2 or more: loss_weight_depth"):
        train_scenes(_config(frames, tmp_path, loss_weight_size=0.1, useCamBatches=cameras, shuffle_3d=True))


def test_the_same_seed_gives_the_same_network(frames, tmp_path):
    runs = [train_scenes(_config(frames, tmp_path / name, **OURS)) for name in ("a", "b")]
    files = [run.path / "models" / "network_best_val_t1.pth" for run in runs]
    first, second = (torch.load(file, weights_only=True)["weights"] for file in files)
    assert all(torch.equal(first[name], second[name]) for name in first)


CROPS = {
    "inputDimension": SMALL["inputDimension"],
    "add_background": True,
    "color_by_appearance": True,
    "upsampling_bilinear": False,
    "skip_background": False,
    "encoder_weights": None,
    "perceptual_weights": None,
}


@pytest.fixture
def crops_file(tmp_path):
    """A network of one person with encoder and decoder of `OURS`, and its file."""
    sizes = ("encoderType", "encoder_width", "feature_scale", "latent_fg", "latent_3d", "latent_dropout")
    config = {**of_one_person, **CROPS, **{name: SMALL[name] for name in sizes}}
    network = build_network(config)
    for parameter in network.decoder.to_image.parameters():
        torch.nn.init.uniform_(parameter, 0, 1)
    save_weights(tmp_path / "crops.pth", network, config)
    return network, tmp_path / "crops.pth"


def test_stage_1_starts_from_encoder_and_decoder_of_one_person(frames, tmp_path, crops_file):
    crops, file = crops_file
    same = {"upsampling_bilinear": False, "spatial_transformer": True, "pretrained_crops_path": str(file)}
    config = _config(frames, tmp_path, **OURS, **same)
    network = build_network(config)
    start_from_crops(network, config)
    for part in ("encoder", "decoder"):
        theirs = getattr(crops, part).state_dict()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in getattr(network, part).state_dict().items())
    # A person who is alone in a frame is rendered as in a crop.
    appearance, points = torch.rand(1, 2, SMALL["latent_fg"]), torch.rand(1, 2, SMALL["latent_3d"] // 3, 3)
    side = SMALL["inputDimension"]
    backgrounds = torch.rand(2, 3, side, side)
    added, masks = network.eval().decode(appearance, points)
    expected = crops.eval().decode(appearance[0], points[0], backgrounds)
    inside = (masks[0] > 0) & (masks[0] < 1)
    assert inside.float().mean() > 0.2
    composed = added[0] + (1 - masks[0]) * backgrounds
    torch.testing.assert_close(composed[inside.expand(-1, 3, -1, -1)], expected[inside.expand(-1, 3, -1, -1)])


def test_crops_of_another_network_are_one_line(frames, tmp_path, crops_file):
    _, file = crops_file
    wider = _config(frames, tmp_path, **OURS, upsampling_bilinear=False, pretrained_crops_path=str(file), latent_fg=20)
    with pytest.raises(UserError, match=r"crops\.pth'.*expected"):
        start_from_crops(build_network(wider), wider)
    config = _config(frames, tmp_path, **OURS)
    save_weights(tmp_path / "scene.pth", build_network(config), {**config, "method": "scene"})
    with pytest.raises(UserError, match="is a network of the method 'scene', expected 'geometry_aware'"):
        start_from_crops(build_network(config), {**config, "pretrained_crops_path": str(tmp_path / "scene.pth")})


def test_tensors_of_crops_without_a_place_are_one_line(frames, tmp_path, crops_file):
    crops, _ = crops_file
    crops.decoder.normalized = torch.nn.BatchNorm2d(4)
    config = {**of_one_person, **CROPS}
    save_weights(tmp_path / "more.pth", crops, config)
    config = _config(
        frames, tmp_path, **OURS, upsampling_bilinear=False, pretrained_crops_path=str(tmp_path / "more.pth")
    )
    with pytest.raises(UserError, match=r"'decoder.normalized.weight' has no place in this network"):
        start_from_crops(build_network(config), config)


def test_an_encoder_that_would_stay_random_is_one_line(frames, tmp_path):
    # Pretrained weights are of the first layers only.
    for weights in (None, "imagenet"):
        with pytest.raises(UserError, match=r"train_encoder is False, but pretrained_crops_path and .* are None"):
            train_scenes(_config(frames, tmp_path, train_encoder=False, encoder_weights=weights))


def test_an_encoder_that_does_not_train_stays_as_it_was(frames, tmp_path, crops_file):
    crops, file = crops_file
    same = {"upsampling_bilinear": False, "spatial_transformer": True, "pretrained_crops_path": str(file)}
    config = _config(frames, tmp_path, **OURS, **same, train_encoder=False)
    folder = train_scenes(config)
    # Stage 2 starts from the run, and takes no crops.
    assert "pretrained_crops_path" not in next_command(folder, config)
    weights = torch.load(folder.path / "models" / "network_best_val_t1.pth", weights_only=True)["weights"]
    encoder, decoder = crops.encoder.state_dict(), crops.decoder.state_dict()
    assert all(torch.equal(weights[f"encoder.{name}"], tensor) for name, tensor in encoder.items())
    assert not all(torch.equal(weights[f"decoder.{name}"], tensor) for name, tensor in decoder.items())
