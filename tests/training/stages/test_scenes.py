"""Stage 1 of several people, end to end on a tiny set."""

import pytest
import torch

from tests.scene_networks import SMALL
from tests.synthetic_frames import write_synthetic_frames
from training.stages.scenes import train_scenes
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
    "loss_weight_depth": 0.001,
}


@pytest.mark.parametrize("changes", [{}, OURS], ids=["published", "ours"])
def test_training_leaves_a_network_and_a_log(frames, tmp_path, changes):
    folder = train_scenes(_config(frames, tmp_path, **changes))
    assert (folder.path / "models" / "network_best_val_t1.pth").is_file()
    log = (folder.path / "debug_log_training.txt").read_text()
    assert ("depth" in log) == ("cover" in log) == ("people" in log) == bool(changes)


def test_depths_need_the_places_of_cameras(tmp_path):
    import h5py

    root = write_synthetic_frames(tmp_path / "set")
    with h5py.File(root / "labels.h5", "a") as file:
        del file["camera_position"]
    with pytest.raises(UserError, match="camera_position"):
        train_scenes(_config(root, tmp_path, loss_weight_depth=0.1))


def test_the_same_seed_gives_the_same_network(frames, tmp_path):
    runs = [train_scenes(_config(frames, tmp_path / name, **OURS)) for name in ("a", "b")]
    files = [run.path / "models" / "network_best_val_t1.pth" for run in runs]
    first, second = (torch.load(file, weights_only=True)["weights"] for file in files)
    assert all(torch.equal(first[name], second[name]) for name in first)
