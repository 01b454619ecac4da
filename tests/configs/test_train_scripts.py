"""The training scripts with bad input: one line, exit code 2, no traceback."""

import pytest

from tests.processes import fork_script
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, run_script, tiny_config, tiny_pose_config, write_config_file


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "train"
    return write_synthetic_layout(root, size=SIZE, subjects=(1, 5), sequences_per_subject=3, instants=6)


BAD_INPUT = {
    "no data": (["dataset_folder_train=nowhere"], ["nowhere", "render_dataset.py"]),
    "batch size": (["batch_size_train=6"], ["6", "useCamBatches"]),
    "nothing held out": (["validation_fraction=0"], ["validation_fraction"]),
    "encoder": (["encoderType=VGG"], ["VGG", "ResNet"]),
    "unknown key": (["latentfg=3"], ["latentfg", "latent_fg"]),
    "size": (["inputDimension=64"], ["64", str(SIZE)]),
    "weights": (["encoder_width=64", "encoder_weights=gone.pth"], ["gone.pth"]),
    "device": (["device=tpu7"], ["tpu7"]),
    "precision": (["precision=int3"], ["int3"]),
    "output": (["output_folder=/proc/nowhere"], ["/proc"]),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_of_stage_1_is_one_line_and_exit_code_2(case, data, tmp_path):
    overrides, words = BAD_INPUT[case]
    file = write_config_file(tmp_path / "config.py", tiny_config(data, tmp_path / "output"))
    result = fork_script("train_encodeDecode.py", "--config", file, *overrides, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert all(word in line for word in words), line


@pytest.mark.parametrize(("num_workers", "start"), [(0, fork_script), (2, run_script)])
def test_a_corrupt_crop_is_one_line_that_names_it(tmp_path, num_workers, start):
    data = write_synthetic_layout(tmp_path / "data", size=SIZE, sequences_per_subject=3)
    for crop in sorted(data.rglob("img_crop_*.png"))[1:]:  # the first is looked at when the set is opened
        crop.write_bytes(crop.read_bytes()[:100])
    file = write_config_file(tmp_path / "config.py", tiny_config(data, tmp_path / "output", num_workers=num_workers))
    result = start("train_encodeDecode.py", "--config", file)
    assert result.returncode == 2, result.stderr
    # after what the progress bar left
    line = result.stderr.strip().splitlines()[-1]
    assert "error: corrupt crop" in line and ".png" in line and "Traceback" not in result.stderr


def test_bad_network_path_of_stage_2(data, tmp_path):
    file = write_config_file(tmp_path / "config.py", tiny_pose_config(data, tmp_path / "output", str(tmp_path)))
    result = run_script("train_encodeDecode_pose.py", "--config", file)
    assert result.returncode == 2
    assert "network_path" in result.stderr and len(result.stderr.strip().splitlines()) == 1


SCRIPTS = ["train_encodeDecode", "train_encodeDecode_pose"]
SCENE_SCRIPTS = ["train_detect_encode_decode", "train_detect_encode_decode_pose"]


@pytest.mark.parametrize("script", [f"{name}.py" for name in SCRIPTS + SCENE_SCRIPTS])
def test_scripts_answer_help_from_any_folder(script, tmp_path):
    result = run_script(script, "--help", cwd=tmp_path)
    assert result.returncode == 0 and "key=value" in result.stdout
