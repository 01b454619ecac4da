"""Every command that writes a folder or a file holds its lock: a second writer is refused, and changes nothing."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.miniature_ski import write_ski
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from utils.errors import UserError
from utils.locks import writing, writing_file


def nothing(*_, **__):
    return None


def render(folder: Path, patch) -> None:
    from datasets.rendered import dataset

    # Only what comes before the lock is needed, and that without an engine.
    patch.setattr(dataset, "load_kernels", nothing)
    patch.setattr(dataset, "load_body", nothing)
    dataset.render_dataset(folder / "out", 4, 16, progress=False)


def prepare_h36m(folder: Path, patch) -> None:
    prepare = importlib.import_module("datasets.sources.human36m.prepare")
    for name in ("read_metadata", "find_metadata", "pyav", "opencv", "cdf_library"):
        patch.setattr(prepare, name, nothing)
    prepare.prepare_h36m(folder, folder / "out", progress=False)


def prepare_3dhp(folder: Path, patch) -> None:
    prepare = importlib.import_module("datasets.sources.mpi_inf_3dhp.prepare")
    patch.setattr(prepare, "sequence_folders", lambda *_: [])
    prepare.prepare_3dhp(folder, folder / "out", progress=False)


def prepare_videos(folder: Path, patch) -> None:
    importlib.import_module("datasets.sources.own_videos.prepare").prepare_videos([], folder / "out", progress=False)


def prepare_ski(folder: Path, patch) -> None:
    write_ski(folder / "source", sequences=1, instants=2, cameras=2)
    importlib.import_module("datasets.sources.ski").prepare_ski(folder / "source", folder / "out", 16, progress=False)


def pack(folder: Path, patch) -> None:
    from datasets.layout.packed import pack

    write_synthetic_layout(folder / "out", size=16, subjects=(1,), sequences_per_subject=1, instants=1)
    pack(folder / "out", progress=False)


def train(folder: Path, patch) -> None:
    from training.loop.engine import fit
    from training.loop.run_folder import RunFolder

    write_synthetic_layout(folder / "set", size=SIZE, subjects=(1,), sequences_per_subject=1, instants=1)
    config = tiny_config(folder / "set", folder)
    run = RunFolder(config, "encode")
    run.path = folder / "out"
    fit(None, config, run)


def export(folder: Path, patch) -> None:
    from training.trained import export

    patch.setattr(export, "open_network", lambda *_: SimpleNamespace(trained_with={}, network=None))
    export.export_weights({"network_path": None}, frozenset(), folder / "out.safetensors")


def calibrate(folder: Path, patch) -> None:
    from training.trained import calibrating

    network = SimpleNamespace(output_types=["3D"])
    trained = SimpleNamespace(
        trained_with={"dataset_folder_train": "set"}, network=network, config={"network_path": "out"}
    )
    patch.setattr(calibrating, "open_network", lambda *_: trained)
    patch.setattr(calibrating, "weights_file", lambda _: folder / "out/models/network_best_val_t1.pth")
    patch.setattr(calibrating, "run_of", lambda _: folder / "out")
    patch.setattr(calibrating, "fit_trust", nothing)
    calibrating.calibrate_trust({"network_path": "out"})


def experiments(folder: Path, patch) -> None:
    from configs import experiments

    write_synthetic_layout(folder / "data/train", size=SIZE, subjects=(1,), sequences_per_subject=1, instants=1)
    suite = folder / "suite.py"
    suite.write_text("suite = {'title': 'a title', 'labels': [1], 'rows': {'plain': {'stage1': None}}}")
    experiments.main([str(suite), "--data", str(folder / "data"), "--output", str(folder / "out"), "--seeds", "1"])


def demo(folder: Path, patch) -> None:
    from configs import demo

    demo.main(["--output", str(folder / "out")])


FOLDERS = (render, prepare_h36m, prepare_3dhp, prepare_videos, prepare_ski, pack, train, calibrate, experiments, demo)


@pytest.mark.parametrize("command", FOLDERS, ids=lambda command: command.__name__)
def test_a_second_writer_of_a_folder_is_refused(command, tmp_path, monkeypatch):
    with writing(tmp_path / "out"):
        with pytest.raises(UserError, match=r"out is being written by this process"):
            command(tmp_path, monkeypatch)
        left = {path.name for path in (tmp_path / "out").rglob("*.*")} - {".lock"}
    assert all(name == "labels.h5" or name.endswith("_000000.png") for name in left), "only of the set to be packed"


def test_a_second_writer_of_a_file_is_refused(tmp_path, monkeypatch):
    with writing_file(tmp_path / "out.safetensors"), pytest.raises(UserError, match=r"out\.safetensors is being writt"):
        export(tmp_path, monkeypatch)
    assert not list(tmp_path.iterdir())
