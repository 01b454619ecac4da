"""configs/test_detect_encode_decode.py end to end, on files of tiny networks: pictures, tables, bad input."""

import importlib
import sys

import imageio.v3 as imageio
import numpy as np
import pytest

from models.checkpoints import read_checkpoint
from tests.processes import fork_script
from tests.runs import read_log
from tests.synthetic import write_synthetic_layout
from tests.synthetic_frames import write_synthetic_frames
from tests.tiny import run_script
from tests.trained_scenes import SIZE, write_scene_network
from utils.errors import UserError

SCRIPT = "test_detect_encode_decode"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_frames(tmp_path_factory.mktemp("scenes"), SIZE, ((1, 5), (5,)), instants=2, cameras=2)


@pytest.fixture(scope="module")
def files(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return {mode: write_scene_network(folder / f"{mode}.safetensors", mode, data) for mode in ("NVS", "pose", "both")}


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Run the script in this process."""
    script = importlib.import_module(f"configs.{SCRIPT}")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [f"{SCRIPT}.py", "--device", "cpu", *map(str, arguments)])
        monkeypatch.setattr("utils.viewer.SWEEP_FRAMES", 3)
        script.main()

    return run


def test_tables_and_a_picture_by_the_command(files, tmp_path):
    arguments = ["--evaluate", "--save", tmp_path / "scene.png", "--index", 2, "--device", "cpu"]
    result = run_script(f"{SCRIPT}.py", *arguments, f"network_path={files['both']}", f"output_folder={tmp_path}")
    assert result.returncode == 0, result.stderr
    for words in ("people", "composed frames, PSNR in dB", "8 frames in", "written:"):
        assert words in result.stdout
    (table,) = tmp_path.rglob("evaluation.csv")
    assert read_log(table)[-1]["frames"] == "8" and table.with_suffix(".md").is_file()
    picture = imageio.imread(tmp_path / "scene.png")
    assert picture.shape[:2] == (540, 1200) and picture[..., :3].std() > 20


@pytest.mark.parametrize(("mode", "suffix"), [("NVS", "gif"), ("pose", "png"), ("both", "mp4")])
def test_pictures_of_networks_of_each_stage(files, start, tmp_path, mode, suffix):
    pytest.importorskip("av")
    path = tmp_path / "new" / f"scene.{suffix}"
    start(f"network_path={files[mode]}", "--save", path)
    frames = imageio.imread(path) if suffix == "png" else np.stack(list(imageio.imiter(path)))
    assert frames.shape[-3:-1] == (540, 1200)
    if suffix != "png":
        assert len(frames) == 3 and (frames[0] != frames[1]).any()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_who_has_no_box_is_missed(files, start, tmp_path, capsys):
    crowd = write_synthetic_frames(tmp_path / "crowd", SIZE, ((1, 5, 6),), instants=2, cameras=2, people=3)
    start(f"network_path={files['NVS']}", f"dataset_folder_test={crowd}", "--evaluate", f"output_folder={tmp_path}")
    assert "3 people" in capsys.readouterr().out


def test_bad_input_is_one_line(files, start, data, tmp_path):
    network = f"network_path={files['NVS']}"
    for arguments, words in (
        (["network_path=/nowhere"], "/nowhere"),
        ([network, "--save", "scene.jpg"], r"scene\.jpg"),
        ([network, "--index", "8"], "no image 8 .* expected 0 to 7"),
        ([network, "--index", "-1"], "no image -1"),
        ([network, "dataset_folder_test=/nowhere"], "/nowhere"),
        ([network, "fullFrameResolution=[64,40]"], "72 x 40"),
        ([network, "spatial_transformer_num=3"], "was trained with 2"),
        ([network, "nonsense=1"], "nonsense"),
        ([network, "actor_subset=[1]"], r"actor_subset is \[1\], which chooses whom to train on"),
    ):
        with pytest.raises(UserError, match=words) as raised:
            start(*arguments, *([] if "--save" in arguments else ["--save", tmp_path / "scene.png"]))
        assert "\n" not in str(raised.value)
    crops = write_synthetic_layout(tmp_path / "crops", size=32)
    with pytest.raises(UserError, match="crops of one person"):
        start(network, f"dataset_folder_test={crops}", "--evaluate")
    assert not (tmp_path / "scene.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--index", "8"], "no image 8"), (["output_folder=file"], r"file/test_both_\w{6}/evaluation.csv")],
)
def test_what_comes_after_the_evaluation_is_checked_before_it(files, start, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setattr("training.trained.scene_evaluation.score_pairs", lambda *_: pytest.fail("was evaluated"))
    with pytest.raises((UserError, OSError), match=message):
        start(f"network_path={files['both']}", "--evaluate", "--save", "scene.png", *options)


def test_an_exported_network_is_opened_with_the_set_that_is_given(files, data, start, tmp_path):
    exported = tmp_path / "small.safetensors"
    result = fork_script("export_weights.py", "--output", exported, f"network_path={files['both']}")
    assert result.returncode == 0, result.stderr
    assert f"exported: {files['both'].resolve()}" in result.stdout
    assert exported.stat().st_size < 0.6 * files["both"].stat().st_size
    stored = read_checkpoint(exported).config
    assert "dataset_folder_test" not in stored and stored["training_mode"] == "both"
    start(f"network_path={exported}", f"dataset_folder_test={data}", "--save", tmp_path / "scene.png")
    assert (tmp_path / "scene.png").is_file()


def test_networks_of_the_other_method_are_refused_in_both_scripts(files, start, monkeypatch):
    from configs.config_test_encodeDecode import config_dict

    with pytest.raises(UserError, match=r"'geometry_aware', expected 'scene' .*test_encodeDecode"):
        start(f"network_path={config_dict['network_path']}")
    other = importlib.import_module("configs.test_encodeDecode")
    monkeypatch.setattr(sys, "argv", ["test_encodeDecode.py", f"network_path={files['NVS']}"])
    with pytest.raises(UserError, match=r"'scene', expected 'geometry_aware' .*test_detect_encode_decode"):
        other.main()
