"""Networks on the Hugging Face Hub, by folders and by a server on this machine in its place."""

import json
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch

import geometry_aware_pose
from geometry_aware_pose import PretrainedNetwork, pose_from_crop
from models import build_network, read_checkpoint, save_weights
from tests.networks import SMALL
from utils.errors import UserError

TRAINED = {
    **SMALL,
    "inputDimension": 32,
    "output_types": ["img_crop", "3D"],
    "network_path": "/home/me/secret/stage1",
    "dataset_folder_train": "/home/me/secret/data",
    "encoder_weights": "/home/me/secret/resnet18.pth",
}


@pytest.fixture
def trained(tmp_path):
    """A file of weights, as a training leaves it."""
    torch.manual_seed(0)
    network = build_network({**TRAINED, "encoder_weights": None})
    network.set_pose_statistics(torch.rand(51), torch.rand(51))
    save_weights(tmp_path / "trained.pth", network, TRAINED)
    return tmp_path / "trained.pth"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in for the Hub: repositories are folders, which a server on this machine shows."""
    home = tmp_path / "hub"

    class Files(BaseHTTPRequestHandler):
        def do_HEAD(self, body=False):
            owner, name, _, _, file = self.path.strip("/").split("/")
            path = home / owner / name / file
            self.send_response(200 if path.is_file() else 404)
            if path.is_file():
                self.send_header("ETag", '"0123"')
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("Content-Length", str(path.stat().st_size))
            else:
                self.send_header("X-Error-Code", "EntryNotFound" if path.parent.is_dir() else "RepoNotFound")
                self.send_header("Content-Length", "0")
            self.end_headers()
            if body and path.is_file():
                self.wfile.write(path.read_bytes())

        def do_GET(self):
            self.do_HEAD(body=True)

        def log_message(self, *_):
            pass

    def create_repo(_, repo_id, **__):
        (home / repo_id).mkdir(parents=True)
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(_, *, repo_id, folder_path, **__):
        shutil.copytree(folder_path, home / repo_id, dirs_exist_ok=True)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(
        huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    yield home
    server.shutdown()
    server.server_close()


def same_network(first, second) -> bool:
    weights = second.state_dict()
    same = all(torch.equal(value, weights.pop(name)) for name, value in first.state_dict().items())
    return same and not weights and first.output_types == second.output_types


def test_saved_folder_is_the_network_with_a_card_and_without_folders_of_this_machine(trained, tmp_path):
    network = PretrainedNetwork.from_pretrained(trained)
    network.save_pretrained(tmp_path / "saved")
    files = {file.name: file.read_bytes() for file in (tmp_path / "saved").iterdir()}
    assert set(files) == {"model.safetensors", "config.json", "README.md"}
    assert not [name for name, content in files.items() if b"secret" in content]
    assert json.loads(files["config.json"]) == network.config
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: geometry-aware-pose\n") and "| `latent_3d` | 60 |" in card
    again = PretrainedNetwork.from_pretrained(str(tmp_path / "saved"))
    assert same_network(again, network) and not again.training
    crop = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    poses = pose_from_crop(tmp_path / "saved", device="cpu", precision="float32")(crop)
    np.testing.assert_allclose(poses, pose_from_crop(trained, device="cpu", precision="float32")(crop), atol=1e-6)
    # the file in it is one of ours
    assert read_checkpoint(tmp_path / "saved" / "model.safetensors").config["latent_3d"] == 60
    opened = geometry_aware_pose.encode_decode(tmp_path / "saved" / "model.safetensors")
    assert torch.equal(opened.pose_mean, network.pose_mean)


def test_push_and_download_by_repository_id(trained, hub):
    network = PretrainedNetwork.from_pretrained(trained)
    network.push_to_hub("me/small")
    assert {file.name for file in (hub / "me" / "small").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert same_network(PretrainedNetwork.from_pretrained("me/small"), network)
    crop = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    poses = pose_from_crop("hf://me/small", device="cpu", precision="float32")(crop)
    np.testing.assert_allclose(poses, pose_from_crop(trained, device="cpu", precision="float32")(crop), atol=1e-6)


def test_what_is_not_there_is_one_line(trained, hub, tmp_path):
    (hub / "me" / "pickled").mkdir(parents=True)
    (hub / "me" / "pickled" / "pytorch_model.bin").write_bytes(b"a pickle")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("me/nothing", "'me/nothing'.*expected a folder"),
        ("me/pickled", "'me/pickled'.*model.safetensors"),
        ("no name at all", "'no name at all'.*expected a folder"),
        ("published", "'published', whose file has no config; expected a network trained here"),
        (tmp_path / "empty", "expected a run folder"),
    ):
        with pytest.raises(UserError, match=message) as error:
            PretrainedNetwork.from_pretrained(name)
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(UserError, match="'hf://me/nothing'"):
        pose_from_crop("hf://me/nothing")


@pytest.mark.parametrize("name", [None, 5, ["a"], ""])
def test_what_is_no_name_is_one_line(name):
    with pytest.raises(UserError, match=r"the name of a network is .*expected a name or a path"):
        PretrainedNetwork.from_pretrained(name)


def test_a_network_is_not_saved_in_a_file(trained, tmp_path):
    network, before = PretrainedNetwork.from_pretrained(trained), trained.read_bytes()
    for place in (trained, trained / "folder"):
        with pytest.raises(UserError, match=r"cannot save in .*trained\.pth.*expected a folder"):
            network.save_pretrained(place)
    with pytest.raises(UserError, match="the folder to save in is None"):
        network.save_pretrained(None)
    assert trained.read_bytes() == before


def test_weights_are_not_saved_beside_the_card_of_another_network(trained, tmp_path):
    first, second = (PretrainedNetwork.from_pretrained(trained) for _ in range(2))
    first.card = "# First\n\nIts poses err by 40 mm."
    for _ in range(2):
        first.save_pretrained(tmp_path / "saved")
    before = {file.name: file.read_bytes() for file in (tmp_path / "saved").iterdir()}
    with pytest.raises(UserError, match=r"saved/README\.md' is not the model card of this network; expected a"):
        second.save_pretrained(tmp_path / "saved")
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "saved").iterdir()}
    (tmp_path / "saved" / "README.md").unlink()
    second.save_pretrained(tmp_path / "saved")
    assert "40 mm" not in (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")


def test_packaged_networks_have_our_card_and_keep_their_trust(tmp_path):
    network = PretrainedNetwork.from_pretrained("wild128")
    card = network.generate_model_card().content
    assert card.startswith("---\n") and "## Intended use and limitations" in card and "](../" not in card
    assert network.trust is not None
    assert card.split("---\n", 2)[2].strip().startswith("# Model card")


def test_without_the_extra_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "geometry_aware_pose.hugging_face")
    with pytest.raises(UserError, match=r'pip install -e "\.\[hub\]"'):
        _ = geometry_aware_pose.PretrainedNetwork
    with pytest.raises(AttributeError, match="PretrainedNetworks"):
        _ = geometry_aware_pose.PretrainedNetworks
