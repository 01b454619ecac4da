"""Opening a trained network, and the test script end to end on a tiny set: what is evaluated and shown."""

import errno
import shutil
import subprocess
import sys

import h5py
import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from configs import test_encodeDecode
from configs.config_test_encodeDecode import config_dict
from datasets.layout.labels import POSE_KEYS
from datasets.reader import MultiViewDataset
from models import build_network
from models.checkpoints import save_weights
from models.geometry_aware.published import published_name
from tests.synthetic import write_synthetic_layout
from tests.tiny import ROOT
from training.loop.hardware import Hardware
from training.loop.latest import point_latest_to
from training.loop.loaders import VIEW_KEYS, normalize_batch
from training.stages.centering import targets_of
from training.trained import calibrating
from training.trained.export import result_folder
from training.trained.load import SAMPLE_SETS, open_network, open_test_data
from training.trained.viewing import RotatedView
from utils.config import write_config
from utils.errors import UserError, run_script
from utils.geometry import yaw_rotation
from utils.images import denormalize

SCRIPT = ROOT / "configs" / "test_encodeDecode.py"
TINY = {
    **config_dict,
    "encoderType": "UNet",
    "encoder_weights": None,
    "feature_scale": 16,
    "inputDimension": 32,
    "latent_fg": 8,
    "latent_3d": 24,
    "n_hidden_to3Dpose": 0,
    "device": "cpu",
    "precision": "float32",
    "output_types": ["3D"],
    "network_path": "a stage-1 run",
}


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    root = tmp_path_factory.mktemp("layout") / "set"
    return write_synthetic_layout(root, size=32, subjects=(9, 11), sequences_per_subject=1, instants=3)


@pytest.fixture
def trained(layout, tmp_path):
    """A run folder, as stage 2 leaves it."""
    return make_run(tmp_path / "run", layout)


def make_run(folder, layout, **changed):
    config = {**TINY, "dataset_folder_test": str(layout), **changed}
    torch.manual_seed(0)
    network = build_network(config)
    network.set_pose_statistics(torch.full((51,), 0.1), torch.full((51,), 0.3))
    (folder / "models").mkdir(parents=True)
    save_weights(folder / "models" / "network_best_val_t1.pth", network, config)
    write_config(folder / "config.json", config)
    return folder


def test_weights_in_a_folder_called_models_are_no_run(layout, tmp_path):
    folder = make_run(tmp_path / "run", layout)
    config = {"output_folder": str(tmp_path / "output")}
    file = folder / "models" / "network_best_val_t1.pth"
    assert result_folder({**config, "network_path": str(file)}) == folder
    (folder / "config.json").unlink()
    found = result_folder({**config, "network_path": str(file)})
    assert found.parent == tmp_path / "output" and found.name.startswith("test_network_best_val_t1_")
    other = make_run(tmp_path / "other", layout)
    (other / "config.json").unlink()
    same = {"network_path": str(other / "models" / file.name)}
    assert result_folder({**config, **same}) != found, "it would overwrite the evaluation of the other"


def test_results_go_to_the_run_that_latest_led_to_at_first(trained, layout, monkeypatch):
    make_run(trained.parent / "next", layout)
    point_latest_to(trained)
    config = {**config_dict, "network_path": str(trained.parent / "latest"), "device": "cpu"}
    opened, written = open_network(config), []
    monkeypatch.setattr(calibrating, "fit_trust", lambda _: point_latest_to(trained.parent / "next"))
    monkeypatch.setattr(calibrating, "add_trust", lambda file, _: written.append(file))
    calibrating.calibrate_trust(config, frozenset({"dataset_folder_train"}))
    assert written == [trained / "models" / "network_best_val_t1.pth"]
    assert result_folder(opened.config) == trained


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["test_encodeDecode.py", "device=cpu", "num_workers=0", *map(str, arguments)])
    run_script(test_encodeDecode.main)


def error_of(monkeypatch, capsys, *arguments):
    with pytest.raises(SystemExit) as exit_info:
        run(monkeypatch, *arguments)
    assert exit_info.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_save_and_evaluate_a_run(trained, layout, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("utils.viewer.SWEEP_FRAMES", 3)
    run(monkeypatch, f"network_path={trained}", "--save", tmp_path / "view.png", "--evaluate", "--index", 5)
    printed = capsys.readouterr().out
    assert "N-MPJPE" in printed and "PSNR" in printed and str(trained) in printed
    assert f", of\n{layout}\n" in printed
    assert (trained / "evaluation.md").is_file() and (tmp_path / "view.png").is_file()
    run(monkeypatch, f"network_path={trained}", "--save", tmp_path / "view.gif")
    assert len(imageio.imread(tmp_path / "view.gif", index=None)) == 3


def test_poses_are_shown_without_backgrounds(trained, monkeypatch, tmp_path, capsys):
    layout = write_synthetic_layout(tmp_path / "plain", size=32, subjects=(9,), instants=1, background=False)
    arguments = [f"network_path={trained}", f"dataset_folder_test={layout}", "--save", tmp_path / "view.png"]
    run(monkeypatch, *arguments, 'output_types=["3D"]')
    assert (tmp_path / "view.png").is_file()
    assert "bg_crop" in error_of(monkeypatch, capsys, *arguments)


def test_published_weights(trained, layout, monkeypatch, tmp_path, capsys):
    weights = torch.load(trained / "models" / "network_best_val_t1.pth", weights_only=True)["weights"]
    published = {
        published_name(name, {}).replace("to_pose.layers", "to_pose.fully_connected"): tensor
        for name, tensor in weights.items()
        if not name.startswith("pose_")
    }
    torch.save(published, tmp_path / "published.pth")
    given = [f"{key}={TINY[key]}" for key in TINY if TINY[key] != config_dict[key] and key != "output_types"]
    given += [
        f"network_path={tmp_path / 'published.pth'}",
        f"dataset_folder_test={layout}",
        f"output_folder={tmp_path}",
    ]
    run(monkeypatch, *given, "--save", tmp_path / "view.png", "--evaluate")
    assert "mean pose of the training set" in capsys.readouterr().out
    assert len(list(tmp_path.glob("test_published_*/evaluation.csv"))) == 1
    config = {**TINY, "network_path": str(tmp_path / "published.pth"), "dataset_folder_test": str(layout)}
    trained = open_network(config)
    assert trained.trained_with is None and not trained.network.pose_mean.any()
    dataset = open_test_data(trained, ("img_crop",))
    np.testing.assert_array_equal(trained.network.pose_mean, dataset.pose_mean)
    np.testing.assert_array_equal(trained.network.pose_std, dataset.pose_std)
    # Views need no statistics of poses, which a set without poses does not have.
    without = shutil.copytree(layout, tmp_path / "without")
    with h5py.File(without / "labels.h5", "a") as file:
        for key in POSE_KEYS:
            del file[key]
    config = {**config, "dataset_folder_test": str(without)}
    assert len(open_test_data(open_network({**config, "output_types": ["img_crop"]}), VIEW_KEYS)) == len(dataset)
    with pytest.raises(UserError, match="has no 'pose_mean'"):
        open_test_data(open_network(config), VIEW_KEYS)


def test_centered_targets_of_a_network_without_background_are_refused(layout, tmp_path):
    folder = make_run(tmp_path / "run", layout, skip_background=False)
    config = {**config_dict, "network_path": str(folder), "device": "cpu", "center_targets": True}
    with pytest.raises(UserError, match="center_targets needs backgrounds"):
        open_network(config, frozenset({"center_targets"}))


@pytest.mark.parametrize(
    ("changed", "outputs"),
    [
        ({}, {"img_crop", "3D"}),
        ({"output_types": ["img_crop"], "network_path": None}, {"img_crop"}),
        ({"network_path": None}, {"3D"}),
        ({"freeze_encoder": False}, {"3D"}),
    ],
    ids=["stage 2", "stage 1", "supervised", "an encoder that the image decoder does not follow"],
)
def test_only_what_was_trained_is_shown(layout, tmp_path, changed, outputs):
    folder = make_run(tmp_path / "run", layout, **changed)
    config = {**config_dict, "network_path": str(folder), "device": "cpu"}
    network, config, hardware, _ = open_network(config, frozenset({"network_path"}))
    assert set(network.output_types) == outputs
    assert config["dataset_folder_test"] == str(layout)
    assert result_folder(config) == folder
    for output in {"img_crop", "3D"} - outputs:
        with pytest.raises(UserError, match=f"output_types has {output}, but .* was trained for"):
            open_network({**config, "output_types": [output]}, frozenset({"output_types"}))
    panels = RotatedView(network, MultiViewDataset(layout, VIEW_KEYS), hardware)(0, 0.5)
    assert (panels.output_image is not None) == ("img_crop" in outputs)
    assert (panels.predicted_pose is not None) == ("3D" in outputs)
    assert ("no trained pose decoder" in panels.caption) == ("3D" not in outputs)


def test_bad_input_is_one_line(trained, monkeypatch, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    path = f"network_path={trained}"
    assert "empty" in error_of(monkeypatch, capsys, f"network_path={tmp_path / 'empty'}")
    assert "network_path is None" in error_of(monkeypatch, capsys, "network_path=None")
    assert "0 to 23" in error_of(monkeypatch, capsys, path, "--save", tmp_path / "a.png", "--index", 24)
    assert ".gif" in error_of(monkeypatch, capsys, path, "--save", tmp_path / "a.jpg")
    assert "latent_3d" in error_of(monkeypatch, capsys, path, "latent_3d=12")
    begun = error_of(monkeypatch, capsys, f"pretrained_{path}")
    assert f"pretrained_network_path is {str(trained)!r}" in begun and begun.endswith("which names a trained network")
    assert "actor_subset is [9], which chooses whom to train on" in error_of(
        monkeypatch, capsys, path, "actor_subset=[9]"
    )
    assert "--skip-shifted need --evaluate" in error_of(monkeypatch, capsys, path, "--skip-shifted")
    missing = error_of(monkeypatch, capsys, path, f"dataset_folder_test={tmp_path / 'nowhere'}")
    assert "nowhere" in missing and "32 px" in missing and "render" not in missing
    assert "64 px wide" in error_of(monkeypatch, capsys, path, f"dataset_folder_test={SAMPLE_SETS['geometry_aware']}")
    monkeypatch.setattr("matplotlib.pyplot.get_backend", lambda: "agg")
    assert "--save" in error_of(monkeypatch, capsys, path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--poses", "folder.npz"], "Is a directory: 'folder.npz'"),
        (["--poses", "file/poses.csv"], "Not a directory: 'file/poses.csv'"),
        (["--poses", "poses.txt"], "'poses.txt'; expected a name that ends in .npz or .csv"),
        (["--save", "folder.png"], "Is a directory: 'folder.png'"),
        (["--save", "view.jpg"], "cannot save to 'view.jpg'"),
        (["--save", "view.png", "--index", "24"], "no image 24"),
        (["--nuisances", "--photographs", "nowhere"], "photographs 'nowhere' does not exist"),
        (["--nuisances", "--photographs", "pictures"], "bad.png"),
        (["output_folder=file"], "Not a directory: 'file/test_network_"),
    ],
)
def test_what_comes_after_the_evaluation_is_checked_before_it(trained, options, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.npz").mkdir(), (tmp_path / "folder.png").mkdir(), (tmp_path / "file").touch()
    (tmp_path / "pictures").mkdir(), (tmp_path / "pictures" / "bad.png").write_bytes(b"no picture")
    (trained / "models" / "network_best_val_t1.pth").rename(tmp_path / "network.pth")
    monkeypatch.setattr("training.trained.evaluation.score_pairs", lambda *_: pytest.fail("was evaluated"))
    assert message in error_of(monkeypatch, capsys, "network_path=network.pth", "--evaluate", *options)


def test_tables_are_written_where_poses_cannot_be(trained, monkeypatch, capsys, tmp_path):
    def full(path, *_):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("training.trained.evaluation.write_poses", full)
    with pytest.raises(SystemExit):
        run(monkeypatch, f"network_path={trained}", "--evaluate", "--poses", tmp_path / "poses.npz")
    assert "No space left" in capsys.readouterr().err
    assert (trained / "evaluation.csv").is_file() and (trained / "evaluation.md").is_file()


def test_help_from_any_directory(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "--evaluate" in done.stdout


@pytest.fixture
def view(trained):
    network, config, hardware, _ = open_network(
        {**config_dict, "network_path": str(trained), "device": "cpu", "precision": "float32"},
        frozenset({"network_path"}),
    )
    return RotatedView(network, MultiViewDataset(config["dataset_folder_test"], VIEW_KEYS), hardware, first=7)


def test_yaw_rotates_poses_about_the_vertical(view):
    row = view.rows[1]
    up = view.dataset.labels["extrinsic_rot"][row] @ np.array([0, 0, 1.0])  # the world's vertical, camera frame
    still, rotated, around = (view(1, yaw) for yaw in (0.0, 1.0, 2 * np.pi))
    np.testing.assert_allclose(still.true_pose.reshape(51), view.dataset.labels["3D"][row], atol=1e-6)
    for before, after in zip(still[2:4], rotated[2:4], strict=True):
        np.testing.assert_allclose(after @ up, before @ up, atol=1e-5)
        assert np.abs(after - before).max() > 0.1
        np.testing.assert_allclose(np.linalg.norm(after, axis=1), np.linalg.norm(before, axis=1), atol=1e-5)
    for before, after in zip(still[:4], around[:4], strict=True):
        np.testing.assert_allclose(after, before, atol=1e-4)


def test_the_view_is_the_networks_own(view):
    batch = view.dataset.__getitems__([7])
    output = view.network({**normalize_batch(batch), "external_rotation_global": yaw_rotation(0.7)})
    expected = denormalize(output["img_crop"])[0].permute(1, 2, 0).detach()
    panels = view(0, 0.7)
    np.testing.assert_allclose(panels.output_image, expected, atol=1e-5)
    assert (panels.input_image * 255).round().astype(int).tolist() == batch["img_crop"][0].permute(1, 2, 0).tolist()
    assert np.abs(view(0, 2.0).output_image - panels.output_image).max() > 0


def test_a_view_of_a_network_that_centers_has_the_centered_background(view):
    view.network.center_targets = True
    inputs = normalize_batch(view.dataset.__getitems__([7]))
    targets = targets_of(view.network, inputs)
    assert not torch.equal(targets["bg_crop"], inputs["bg_crop"])
    output = view.network({**targets, "external_rotation_global": yaw_rotation(0.7)})
    panels = view(0, 0.7)
    expected = denormalize(output["img_crop"])[0].permute(1, 2, 0).detach()
    np.testing.assert_allclose(panels.output_image, expected, atol=1e-5)
    crop = denormalize(inputs["img_crop"])[0].permute(1, 2, 0)
    np.testing.assert_allclose(panels.input_image, crop, atol=1e-5)


def test_each_crop_is_encoded_once_and_all_are_shown(view, monkeypatch):
    assert sorted(view.rows) == list(range(24)) and view.rows[0] == 7
    encoded = []
    encode = view.network.encode
    monkeypatch.setattr(view.network, "encode", lambda crop: encoded.append(1) or encode(crop))
    view(2, 0.0)
    # The crop, and the copies of it that say how far to trust its pose.
    first = len(encoded)
    assert 1 <= first <= 2
    for yaw in (0.5, 1.0):
        view(2, yaw)
    assert len(encoded) == first
    view(3, 1.0)
    assert len(encoded) == 2 * first


def test_an_image_that_is_not_there(view):
    with pytest.raises(UserError, match="no image 24"):
        RotatedView(view.network, view.dataset, Hardware("cpu"), first=24)
