"""Packaged weights on the packaged sample set, without any arguments; and how weights are exported."""

import imageio.v3 as imageio
import pytest
import torch

from configs.config_test_encodeDecode import config_dict
from datasets.reader import MultiViewDataset
from datasets.validation import validate
from models.checkpoints import read_checkpoint
from tests.processes import fork_script
from tests.runs import read_log
from tests.synthetic import write_synthetic_layout
from tests.tiny import ROOT, SIZE, run_script, tiny_config, tiny_pose_config
from training.stages.novel_views import train_novel_views
from training.stages.pose import train_pose
from training.trained.export import export_weights
from training.trained.load import open_network
from utils.errors import UserError


def test_the_viewer_works_without_arguments(tmp_path):
    result = run_script("test_encodeDecode.py", "--save", tmp_path / "viewer.png", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    picture = imageio.imread(tmp_path / "viewer.png")
    assert picture.shape[1] > 3 * picture.shape[0] * 0.8 and picture[..., :3].std() > 20


def test_packaged_weights_beat_the_mean_pose_and_the_background(tmp_path):
    result = fork_script("test_encodeDecode.py", "--evaluate", f"output_folder={tmp_path}")
    assert result.returncode == 0, result.stderr
    (table,) = tmp_path.rglob("evaluation.csv")
    overall = read_log(table)[-1]
    assert float(overall["n_mpjpe_mm"]) < 0.8 * float(overall["mean_pose_n_mpjpe_mm"])
    assert float(overall["psnr"]) > float(overall["background_psnr"]) + 1


def test_the_sample_set_is_a_valid_layout_of_test_subjects():
    folder = config_dict["dataset_folder_test"]
    validate(folder)
    assert set(MultiViewDataset(folder).labels["subj"]) == {9, 11}


def test_packaged_files_stay_small():
    size = sum(file.stat().st_size for file in (ROOT / "examples").rglob("*") if file.is_file())
    # Weights 32 MB (8 of them of several people), the detector 9, the recording 4, pictures 2, frames 1.
    assert size < 53e6


@pytest.fixture(scope="module")
def pose_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    data = write_synthetic_layout(folder / "data", size=SIZE, sequences_per_subject=3)
    stage1 = train_novel_views(tiny_config(data, folder))
    return train_pose(tiny_pose_config(data, folder, str(stage1.path)))


def test_exported_weights_are_the_network_without_folders_of_this_machine(pose_run, tmp_path):
    config = {**config_dict, "network_path": str(pose_run.path)}
    path = tmp_path / "new" / "small.safetensors"
    export_weights(config, frozenset(), path)
    exported = read_checkpoint(path)
    assert str(pose_run.path.parent) not in str(exported.config)
    network = open_network(config).network
    again = open_network({**config, "network_path": str(path)}).network
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=1e-3, rtol=1e-3)
    network, opened, *_ = open_network({**config, "network_path": str(path)}, frozenset({"network_path"}))
    assert opened["dataset_folder_test"].endswith("sample_set")
    assert set(network.output_types) == {"img_crop", "3D"}


def test_export_refuses_what_it_cannot_write(pose_run, tmp_path):
    config = {**config_dict, "network_path": str(pose_run.path)}
    with pytest.raises(UserError, match="safetensors"):
        export_weights(config, frozenset(), tmp_path / "weights.pth")
    small = tmp_path / "small.safetensors"
    export_weights(config, frozenset(), small)
    before = small.read_bytes()
    with pytest.raises(UserError, match=r"small\.safetensors' is the network itself.*expected another file"):
        export_weights({**config, "network_path": str(small)}, frozenset(), small)
    assert small.read_bytes() == before
    result = fork_script("export_weights.py", "--output", tmp_path / "a.safetensors", "network_path=/nowhere")
    assert result.returncode == 2 and "/nowhere" in result.stderr
