"""The matrix of robustness on a tiny set: its clean row is the evaluation, and it says what it leaves out."""

import csv
import shutil

import h5py
import numpy as np
import pytest
import torch

from datasets import MultiViewDataset
from models import build_network
from tests.processes import fork_script
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from training.loop.hardware import Hardware
from training.trained.evaluation import evaluate
from training.trained.nuisances import NUISANCES
from training.trained.robustness import evaluate_nuisances, robustness_text
from utils.errors import UserError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data") / "test", size=SIZE, instants=2)


@pytest.fixture(scope="module")
def network(data):
    """Says of every crop about the mean pose, so that only rolled labels tell nuisances apart."""
    torch.manual_seed(0)
    network = build_network(tiny_config("", "", output_types=["3D"])).eval()
    network.set_pose_statistics(torch.from_numpy(opened(data).labels["3D"]).mean(0), torch.full((51,), 0.01))
    return network


def opened(data, *kinds: str) -> MultiViewDataset:
    return MultiViewDataset(data, ("img_crop", *kinds, "3D"), progress=False)


@pytest.mark.parametrize("flip_test", [False, True])
def test_the_matrix_begins_with_what_the_evaluation_says(network, data, tmp_path, flip_test):
    config, hardware = tiny_config("", "", flip_test=flip_test), Hardware("cpu", "float32")
    found = evaluate_nuisances(network, opened(data, "bg_crop"), config, hardware, tmp_path)
    overall = evaluate(network, opened(data), config, hardware)[-1]
    clean = found.rows[0]
    assert clean["ratio"] == 1 and clean["crops"] == overall["crops"]
    for name in ("n_mpjpe_mm", "pa_mpjpe_mm"):
        assert clean[name] == pytest.approx(overall[name], rel=1e-4)
    assert len(found.rows) + len(found.left_out) == 1 + len(NUISANCES)
    ratios = {row["nuisance"]: row["ratio"] for row in found.rows}
    assert ratios["rolled by 30 degrees"] > ratios["rolled by 10 degrees"] > 1
    with open(tmp_path / "nuisances.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["nuisance"] for row in written] == list(ratios)
    assert (tmp_path / "nuisances.md").read_text() == robustness_text(found)
    assert (tmp_path / "nuisances.png").read_bytes().startswith(b"\x89PNG")


def test_a_set_without_backgrounds_has_fewer_rows_and_says_so(network, data):
    config, hardware = tiny_config("", "", flip_test=False), Hardware("cpu", "float32")
    found = evaluate_nuisances(network, opened(data), config, hardware)
    needing = [nuisance for nuisance in NUISANCES if nuisance.needs]
    assert len(found.left_out) == len(needing) > 5
    assert not {"noise", "person negated"} & {row["nuisance"] for row in found.rows}
    assert robustness_text(found).count("Left out, because the set has no ") == len(needing)


def test_photographs_of_a_folder_are_backgrounds(network, data, tmp_path):
    from PIL import Image

    config, hardware = tiny_config("", "", flip_test=False), Hardware("cpu", "float32")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 70, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    found = evaluate_nuisances(network, opened(data, "bg_crop"), config, hardware, photographs=str(tmp_path))
    assert not found.left_out and "photographs" in {row["nuisance"] for row in found.rows}
    with pytest.raises(UserError, match="does not exist"):
        evaluate_nuisances(network, opened(data), config, hardware, photographs=str(tmp_path / "none"))


def test_shifted_sequences_are_left_out_of_the_matrix_too(network, data, tmp_path):
    config, hardware = tiny_config("", "", flip_test=False), Hardware("cpu", "float32")
    copy = shutil.copytree(data, tmp_path / "set")
    with h5py.File(copy / "labels.h5", "a") as file:
        file["shifted"] = (np.arange(len(file["subj"])) % 4 == 0).astype(np.int8)
    found = evaluate_nuisances(network, opened(copy), config, hardware, skip_shifted=True)
    assert found.rows[0]["crops"] == (opened(copy).labels["shifted"] == 0).sum() < len(opened(copy))
    assert found.rows[0]["n_mpjpe_mm"] == pytest.approx(
        evaluate(network, opened(copy), config, hardware, skip_shifted=True)[-1]["n_mpjpe_mm"], rel=1e-4
    )


def test_the_script_asks_for_an_evaluation():
    result = fork_script("test_encodeDecode.py", "--nuisances")
    assert result.returncode == 2 and "--nuisances needs --evaluate" in result.stderr
