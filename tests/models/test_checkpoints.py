"""Checkpoints: round trips, interrupted writes, and refusal of foreign files."""

import os
import pickle

import pytest
import torch

from models import build_network, load_weights, read_checkpoint, save_weights
from models.parts.weights import require_tensors
from tests.networks import SMALL
from utils.errors import UserError
from utils.files import write_atomically


@pytest.fixture(scope="module")
def network():
    return build_network(SMALL)


def load_network(path):
    checkpoint = read_checkpoint(path)
    network = build_network(checkpoint.config)
    load_weights(network, checkpoint)
    return network, checkpoint.config


@pytest.mark.parametrize("name", ["network.pth", "network.safetensors"])
def test_round_trip(network, tmp_path, name):
    network.to(memory_format=torch.channels_last)
    save_weights(tmp_path / name, network, SMALL)
    again, config = load_network(tmp_path / name)
    assert config == SMALL
    assert all(torch.equal(a, b) for a, b in zip(*(net.state_dict().values() for net in (network, again)), strict=True))
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_equal_networks_are_equal_bytes_under_every_name(network, tmp_path, suffix):
    for name in ("a", "network"):
        save_weights(tmp_path / f"{name}{suffix}", network, SMALL)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"network{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_others_may_read_weights_as_they_may_any_file(network, tmp_path, suffix):
    path, other = tmp_path / f"network{suffix}", tmp_path / "other"
    save_weights(path, network, SMALL)
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


def test_half_precision_file_loads_as_float32(network, tmp_path):
    save_weights(tmp_path / "half.safetensors", network, SMALL, dtype=torch.float16)
    save_weights(tmp_path / "full.safetensors", network, SMALL)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "full.safetensors").stat().st_size
    again, _ = load_network(tmp_path / "half.safetensors")
    assert again.decoder.to_image.weight.dtype == torch.float32
    assert torch.equal(again.decoder.to_image.bias, network.decoder.to_image.bias)
    torch.testing.assert_close(again.decoder.to_image.weight, network.decoder.to_image.weight, atol=1e-3, rtol=1e-3)


def test_checkpoint_of_another_config_is_refused_whole(network, tmp_path):
    other = build_network({**SMALL, "latent_3d": 90})
    save_weights(tmp_path / "other.pth", other, {**SMALL, "latent_3d": 90})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(UserError, match=r"other.pth': 'encoder.fc.weight' has shape \(106, 512\), expected"):
        load_weights(network, read_checkpoint(tmp_path / "other.pth"))
    deeper = build_network({**SMALL, "implicit_rotation": True})
    save_weights(tmp_path / "deeper.pth", deeper, SMALL)
    with pytest.raises(UserError, match=r"'implicit_rotation.encode_angle.0.weight' has no place in this network"):
        load_weights(network, read_checkpoint(tmp_path / "deeper.pth"))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_a_part_may_keep_its_own_weights(network, tmp_path):
    save_weights(tmp_path / "wide.pth", build_network({**SMALL, "width_to3Dpose": 48}), SMALL)
    wide = read_checkpoint(tmp_path / "wide.pth")
    again = build_network(SMALL)
    before = {name: tensor.clone() for name, tensor in again.state_dict().items()}
    with pytest.raises(UserError, match=r"'to_pose.layers.0.weight' has shape"):
        load_weights(again, wide)
    load_weights(again, wide, keep="to_pose")
    for name, tensor in again.state_dict().items():
        kept = name.startswith("to_pose.")
        assert torch.equal(tensor, before[name] if kept else wide.weights[name]), name


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_pickle_bombs_do_not_go_off(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb()))
    torch.save({"weights": Bomb()}, tmp_path / "zipped.pth")
    torch.save({"weights": Bomb()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("plain.pth", "zipped.pth", "old.pth"):
        with pytest.raises(UserError, match=rf"{name}' is not a file of plain weights and was refused"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_damaged_files_are_one_line_errors(network, tmp_path, name):
    path = tmp_path / name
    save_weights(path, network, SMALL)
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(UserError) as caught:
            read_checkpoint(path)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such file"):
        read_checkpoint(tmp_path / f"absent_{name}")


def test_foreign_contents_are_named(tmp_path):
    for content, words in [
        ({"state": torch.zeros(2)}, "neither a checkpoint of this project nor a published one"),
        ([1, 2], "holds list, expected a dictionary"),
        ({"weights": {"a": torch.zeros(1)}, "config": "{"}, "'config' is not JSON"),
        ({"weights": {"a": 3}, "config": "{}"}, "'a' holds int, expected a tensor"),
    ]:
        torch.save(content, tmp_path / "foreign.pth")
        with pytest.raises(UserError, match=words):
            read_checkpoint(tmp_path / "foreign.pth")


def test_interrupted_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "network.pth"
    path.write_text("old")

    def interrupted(part):
        part.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, interrupted)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["network.pth"]


def test_a_file_that_is_older_than_a_key_holds_what_networks_were_then(tmp_path):
    network = build_network({**SMALL, "encoder_max_pool": True})
    save_weights(tmp_path / "old.pth", network, {key: SMALL[key] for key in SMALL if key != "encoder_max_pool"})
    loaded, config = load_network(tmp_path / "old.pth")
    assert config["encoder_max_pool"] is True
    assert isinstance(loaded.encoder.maxpool, torch.nn.MaxPool2d)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {"module.a": torch.ones(2)}, "epoch": 3},
        {"model": {"_orig_mod.a": torch.ones(2)}},
        {"_orig_mod.module.a": torch.ones(2)},
        {"module._orig_mod.a": torch.ones(2)},
        {"a": torch.ones(2)},
    ],
)
def test_what_tools_put_around_weights_is_taken_off(content):
    weights = require_tensors(content, "w.pth")
    assert list(weights) == ["a"] and torch.equal(weights["a"], torch.ones(2))
