"""Weights that are none, and configs that ask for more than there is: one line, before memory is touched."""

import json

import numpy as np
import pytest
import torch

from models import build_network, network_of, read_checkpoint
from models.parts.weights import read_file, require_tensors
from tests.networks import SMALL
from utils.errors import UserError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n<!DOCTYPE html>\n<html><body>log in", "a web page in place of the file: download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer in place of the file"),
        (b"hello", "refused"),
        (b"", "it is empty"),
        (b"cos\nsystem\n(S'true'\ntR.", "more than tensors"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_what_is_no_weights_is_one_line_without_advice(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="refused" if name.endswith("safetensors") and b"<" not in content else message):
        read_checkpoint(tmp_path / name)


def test_arrays_are_refused_without_advice_to_load_them_unsafely(tmp_path):
    torch.save({"weight": np.ones(3)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"refused: it is damaged, or holds more than tensors$") as error:
        read_file(tmp_path / "w.pth")
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.full((3,), torch.nan), "holds NaN or infinity"),
        (torch.full((3,), torch.inf).half(), "holds NaN or infinity"),
        (torch.eye(3).to_sparse(), "expected plain numbers"),
        (torch.ones(2) + 0j, "expected plain numbers"),
        (torch.zeros(1).expand(10**12), "but fewer numbers"),
    ],
)
def test_tensors_that_are_no_weights_are_named(tensor, message):
    with pytest.raises(UserError, match=f"file: 'weight' .*{message}"):
        require_tensors({"weight": tensor}, "file")


@pytest.mark.parametrize(
    "changes",
    [
        {"width_to3Dpose": 10**10},
        {"latent_3d": 3 * 10**9},
        {"width_to3Dpose": 10**5, "n_hidden_to3Dpose": 1000},
        {"n_hidden_to3Dpose": 10**9},
        {"num_encoding_layers": 10**9},
    ],
    ids=str,
)
def test_a_network_that_no_memory_holds_is_one_line(changes):
    with pytest.raises(UserError, match="at most"):
        build_network({**SMALL, **changes})


def test_a_network_is_no_larger_than_its_weights():
    with pytest.raises(UserError, match=r"the network of this config needs more than .*expected at most"):
        build_network(SMALL, most=10_000)


def test_a_network_that_its_file_cannot_fill_names_the_file(tmp_path):
    torch.save({"final_stage0.weight": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth': the network .* more than .* MiB; expected at most 64 MiB"):
        network_of(read_checkpoint(tmp_path / "w.pth"), {**SMALL, "width_to3Dpose": 8000})


@pytest.mark.parametrize("stored", [None, 5, [], ["depth"]])
def test_the_config_of_a_file_is_checked(stored, tmp_path):
    config = {key: value for key, value in {"output_types": stored}.items() if value is not None}
    torch.save({"config": json.dumps(config), "weights": {"weight": torch.ones(1)}}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth': config key 'output_types' is "):
        read_checkpoint(tmp_path / "w.pth")
