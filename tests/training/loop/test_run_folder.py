"""Runs stay known: what names a run and what does not, whose run a folder holds, and the link to the newest."""

import hashlib
import json
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import h5py
import pytest
import torch

from models import build_network, save_weights
from tests.runs import Died, die_at, losses
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config, tiny_pose_config
from training.loop import identity
from training.loop.identity import run_name
from training.loop.latest import point_latest_to
from training.loop.run_folder import RunFolder, next_command
from training.stages.novel_views import train_novel_views
from utils.errors import UserError
from utils.keys import KEYS, Key


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data") / "train", size=SIZE, sequences_per_subject=3)


@pytest.fixture
def config(data, tmp_path):
    return tiny_config(data, tmp_path / "output")


@pytest.fixture
def stage1(config, tmp_path):
    return save_network(tmp_path / "stage1.pth", config, seed=0)


def save_network(path: Path, config: dict, seed: int) -> Path:
    torch.manual_seed(seed)
    save_weights(path, build_network(config), config)
    return path


@pytest.mark.parametrize(("default", "other"), [(None, 1), (False, True), (0.0, 1), ("none", "some"), ([1], [2])])
def test_a_key_that_is_added_with_a_neutral_default_renames_nothing(config, monkeypatch, default, other):
    before = run_name(config, "encode")
    monkeypatch.setitem(KEYS, "added_later", Key(default, "a key of tomorrow", kind=int if default is None else None))
    assert run_name(config, "encode") == run_name({**config, "added_later": default}, "encode") == before
    assert run_name({**config, "added_later": other}, "encode") != before


def test_folders_that_move_keep_the_names_of_runs(data, config, stage1, tmp_path):
    moved = shutil.copytree(data, tmp_path / "elsewhere")
    config = {**config, "network_path": str(stage1)}
    there = {**config, "dataset_folder_train": str(moved), "dataset_folder_test": "x", "output_folder": "y"}
    there["network_path"] = str(shutil.copy(stage1, tmp_path / "moved.pth"))
    for stage in ("encode", "pose"):
        assert run_name(there, stage) == run_name(config, stage)


@pytest.mark.parametrize("key", ["3D", "subj", "bounding_box_cam", "pose_std"])
def test_other_labels_are_another_run(data, config, tmp_path, key):
    other = shutil.copytree(data, tmp_path / "other")
    with h5py.File(other / "labels.h5", "r+") as file:
        file[key][...] = file[key][()] + 1
    assert run_name({**config, "dataset_folder_train": str(other)}, "encode") != run_name(config, "encode")


def test_other_weights_of_stage_1_are_another_run(data, config, stage1, tmp_path):
    def name(path):
        return run_name(tiny_pose_config(data, tmp_path, str(path)), "pose")

    before = name(stage1)
    run = tmp_path / "run"
    (run / "models").mkdir(parents=True)
    shutil.copy(stage1, run / "models" / "network_best_val_t1.pth")
    assert name(run) == before
    save_network(stage1, config, seed=1)
    assert name(stage1) != before


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1}, {"num_training_iterations": 7}, {"learning_rate": 2e-3}, {"training_set": "mine"},
        {"actor_subset": [1]}, {"latent_fg": 8}, {"test_every": 2}, {"batch_size_train": 4},
    ],
)  # fmt: skip
def test_what_a_run_learns_names_it(config, changes):
    assert run_name({**config, **changes}, "encode") != run_name(config, "encode")


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "auto"}, {"num_workers": 5}, {"preload_images": True}, {"crops_on_device": "never"},
        {"compile": "never"}, {"visdom": True}, {"flip_test": True}, {"print_every": 7}, {"plot_every": 7},
    ],
)  # fmt: skip
def test_how_a_run_runs_does_not_name_it(config, changes):
    assert run_name({**config, **changes}, "encode") == run_name(config, "encode")


def test_a_whole_number_in_the_place_of_a_float_is_the_same_run(config):
    assert run_name({**config, "learning_rate": 1}, "encode") == run_name({**config, "learning_rate": 1.0}, "encode")


def test_names_begin_as_published_and_stay_short(config):
    long = {
        "actor_subset": list(range(1, 301)),
        "training_set": "a/very long name of a set " * 9,
        "latent_dropout": 1 / 3,
    }
    for stage in ("encode", "pose"):
        for changes in ({}, long):
            name = run_name({**config, **changes}, stage)
            assert name.startswith(f"{stage}_resL3_ResNet18_layers4_implRFalse_wRGB1_wGrad0_wImgNet0_")
            assert len(name) <= 99 and "/" not in name and " " not in name
    assert run_name({**config, **long}, "encode") != run_name({**config, **long, "actor_subset": [1]}, "encode")


def test_name_chooses_the_folder(config):
    assert RunFolder({**config, "name": "short"}, "encode").path == Path(config["output_folder"]) / "short"
    for bad in ("", "..", "a/b", "latest", "a b"):
        with pytest.raises(UserError, match=r"'name' is"):
            train_novel_views({**config, "name": bad})
    assert not Path(config["output_folder"]).exists()


def test_a_folder_by_name_never_mixes_two_runs(data, config, tmp_path):
    config = {**config, "name": "short"}
    folder = train_novel_views({**config, "num_training_iterations": 3})
    before = folder.last_network.read_bytes()
    other = shutil.copytree(data, tmp_path / "other")
    with h5py.File(other / "labels.h5", "r+") as file:
        file["3D"][...] = file["3D"][()] + 1
    same = {**config, "num_training_iterations": 3, "device": "auto"}
    cases = {
        r"num_training_iterations \(3 there, 6 here\)": config,
        r"dataset_folder_train \(other contents\)": {**same, "dataset_folder_train": str(other)},
        r"latent_fg \(16 there, 8 here\), seed \(0 there, 1 here\)": {**same, "latent_fg": 8, "seed": 1},
    }
    for words, changed in cases.items():
        with pytest.raises(UserError, match=f"'.*short' holds another run, which differs in {words}; ") as error:
            train_novel_views(changed, resume=True)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"stage \('encode' there, 'pose' here\)"):
        RunFolder(same, "pose").open(same, resume=True)
    with pytest.raises(UserError, match="--resume"):
        train_novel_views(same)
    assert train_novel_views(same, resume=True).last_network.read_bytes() == before


def test_other_photographs_are_another_run_of_the_same_name(config, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(b"1")
    config = {**config, "augment_background": 0.5, "augment_background_folder": str(pictures)}
    folder, plain = RunFolder(config, "encode"), run_name(config, "encode")
    folder.open(config, resume=False)
    folder.record_file.write_text(json.dumps({"identity": folder.identity, "sessions": []}))
    RunFolder(config, "encode").open(config, resume=True)
    (pictures / "b.png").write_bytes(b"2")
    assert run_name(config, "encode") == plain
    with pytest.raises(UserError, match=r"another run, which differs in photographs \(other contents\); choose"):
        RunFolder(config, "encode").open(config, resume=True)
    # Runs of before, and those that draw none, tell nothing of them.
    del folder.identity["photographs"]
    folder.record_file.write_text(json.dumps({"identity": folder.identity, "sessions": []}))
    RunFolder(config, "encode").open(config, resume=True)
    for unused in ({"augment_background": 0.0}, {"augment_background_folder": "packages"}):
        assert "photographs" not in RunFolder({**config, **unused}, "encode").identity


def test_an_old_run_goes_on_under_its_own_name(config, monkeypatch):
    whole = train_novel_views({**config, "output_folder": config["output_folder"] + "_whole"})
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, 5)
        train_novel_views(config)
    # what a run of before had: no run.json, keys that are retired, folders that have moved, the entry "average"
    folder = RunFolder(config, "encode")
    old = folder.path.rename(folder.path.with_name("encode_resL3_ResNet18_layers4_bs2_lr0.001_123456"))
    (old / "run.json").unlink()
    stored = json.loads((old / "config.json").read_text())
    retired = {"ema_decay": 0.0, "average_latents": False, "loss_weight_foreground": 0.0, "learning_rate_rule": "none"}
    (old / "config.json").write_text(json.dumps({**stored, **retired, "dataset_folder_train": "/moved/away"}))
    state = torch.load(old / "models" / "training_state.pth", weights_only=True)
    del state["best_iteration"]
    torch.save({**state, "average": {}}, old / "models" / "training_state.pth")

    with pytest.raises(UserError, match=r"seed \(0 there, 1 here\)"):
        train_novel_views({**config, "name": old.name, "seed": 1}, resume=True)
    stored = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps({**stored, "ema_decay": 0.9}))
    with pytest.raises(UserError, match=r"differs in ema_decay \(0.9 there, 0.0 here\);"):
        train_novel_views({**config, "name": old.name}, resume=True)
    (old / "config.json").write_text(json.dumps(stored))
    resumed = train_novel_views({**config, "name": old.name}, resume=True)
    assert resumed.path == old and losses(resumed) == losses(whole) and len(losses(whole)) == 6


def test_latest_is_a_relative_link_to_the_newest_run(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        point_latest_to(tmp_path / name)
        assert (tmp_path / "latest").readlink() == Path(name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "latest", "second"]


def test_without_links_nothing_happens(tmp_path, monkeypatch):
    (tmp_path / "latest").mkdir()  # a folder of the user's own
    point_latest_to(tmp_path / "run")
    assert (tmp_path / "latest").is_dir() and not (tmp_path / "latest").is_symlink()

    def refuse(*arguments, **options):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    (tmp_path / "latest").rmdir()
    point_latest_to(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_read_once_until_it_changes(data, config, stage1, tmp_path, monkeypatch):
    read, fingerprint, digest = [], identity.fingerprint, hashlib.blake2b
    monkeypatch.setattr(identity, "fingerprint", lambda *found: read.append("labels") or fingerprint(*found))
    counted = SimpleNamespace(blake2b=lambda **size: read.append("weights") or digest(**size))
    monkeypatch.setattr(identity, "hashlib", counted)
    data = shutil.copytree(data, tmp_path / "data")
    config = {**config, "dataset_folder_train": str(data), "network_path": str(stage1)}
    names = {run_name(config, "pose") for _ in range(3)}
    assert sorted(read) == ["labels", "weights"]
    save_network(stage1, config, seed=1)
    names |= {run_name(config, "pose") for _ in range(2)}
    assert read[2:] == ["weights"]
    with h5py.File(data / "labels.h5", "r+") as file:
        file["3D"][...] = file["3D"][()] + 1
    names |= {run_name(config, "pose") for _ in range(2)}
    assert read[3:] == ["labels"] and len(names) == 3


def test_the_next_command_keeps_the_split_and_has_labels(tmp_path):
    """Stage 2 would choose by sequences that stage 1 has trained on, and by default has labels of subject 1 only."""

    def next_words(**changes) -> set[str]:
        config = tiny_config(data, tmp_path, **{"validation_fraction": 0.1, **changes})
        return set(shlex.split(next_command(SimpleNamespace(path="run", stage="encode"), config)))

    data = write_synthetic_layout(tmp_path / "one", size=SIZE, subjects=(1, 5), sequences_per_subject=1, instants=1)
    plain = next_words()
    assert f"dataset_folder_train={data}" in plain and not any("label" in word or "seed" in word for word in plain)
    split = {"seed": 3, "validation_fraction": 0.4, "every_nth_frame": 2}
    assert {"seed=3", "validation_fraction=0.4", "every_nth_frame=2"} <= next_words(**split)
    assert "label_subjects=None" in next_words(actor_subset=[5])
    data = write_synthetic_layout(tmp_path / "wild", size=SIZE, subjects=(1000,), sequences_per_subject=1, instants=1)
    assert "label_subjects=None" in next_words()
    # A training has ended by then: a set that is gone is no error.
    shutil.rmtree(data)
    assert f"dataset_folder_train={data}" in next_words()
