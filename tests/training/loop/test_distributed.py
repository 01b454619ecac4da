"""Several processes on one machine: together they do what one process does on the joined batch."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from configs.config_robust import AUGMENTATION
from models import build_network
from models.checkpoints import read_checkpoint, save_weights
from tests.processes import run_processes, train, train_and_keep_gradients, train_and_leave_no_thread
from tests.runs import losses, read_log
from tests.synthetic import write_synthetic_layout
from tests.tiny import ROOT, SIZE, TIMEOUT, tiny_config, tiny_pose_config, write_config_file
from training.loop import distributed
from training.loop.distributed import is_main, process_group
from training.loop.run_folder import run_name
from training.stages.augmentation import draw_input_view
from utils.errors import UserError
from utils.keys import KEYS, defaults


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "train"
    return write_synthetic_layout(root, size=SIZE, subjects=(1, 5), sequences_per_subject=2, instants=5)


def assert_two_do_what_one_does(tmp_path, stage, make_config):
    gradients, folders = [], []
    for count in (1, 2):
        output = tmp_path / str(count)
        output.mkdir()
        assert run_processes(count, train_and_keep_gradients, stage, make_config(output), output / "g") == [0] * count
        gradients.append(load_file(output / "g"))
        folders.append((output / "latest").resolve())
    alone, together = gradients
    assert alone.keys() == together.keys() and len(alone) > 3
    for name, expected in alone.items():  # sums in another order: not bit for bit
        torch.testing.assert_close(together[name], expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
    for log in ("debug_log_training.txt", "debug_log_testing.txt"):
        for theirs, ours in zip(*(read_log(folder / log) for folder in folders), strict=True):
            for key in ours.keys() - {"iterations_per_second"}:
                assert float(ours[key]) == pytest.approx(float(theirs[key]), rel=1e-3), (log, key)


def test_stage_1_of_two_processes_has_the_gradients_of_one(data, tmp_path):
    changes = {
        "latent_dropout": 0.0,
        "augment_mirror": True,
        "augment_color": 0.3,
        "num_training_iterations": 3,
        "precision": "float32",
    }
    assert_two_do_what_one_does(tmp_path, "views", lambda output: tiny_config(data, output, **changes))


def test_processes_draw_changes_of_their_own_for_their_input_views(monkeypatch):
    config = {**defaults(KEYS), **AUGMENTATION, "inputDimension": SIZE}

    def drawn():
        return draw_input_view(40, config, torch.Generator().manual_seed(0))

    shares = [drawn()]
    monkeypatch.setattr(distributed, "_alone", lambda: False)
    for rank in (0, 1):
        group = SimpleNamespace(get_world_size=lambda: 2, get_rank=lambda rank=rank: rank)
        monkeypatch.setattr(distributed, "_idist", lambda group=group: group)
        shares.append(drawn())
    alone, first, second = shares
    # Of the same pictures of noise each crop has its own mixture.
    assert {name for name in first if torch.equal(first[name], second[name])} == {"noise_pictures"}
    assert all(alone[name].shape == values.shape == second[name].shape for name, values in first.items())


@pytest.mark.parametrize("freeze_encoder", [True, False])
def test_stage_2_of_two_processes_has_the_gradients_of_one(data, tmp_path, freeze_encoder):
    network_path = None
    if freeze_encoder:
        network_path = str(tmp_path / "stage1.pth")
        config = tiny_config(data, tmp_path)
        save_weights(network_path, build_network(config), config)
    changes = {"freeze_encoder": freeze_encoder, "augment_yaw": 90.0, "augment_mirror": True, "augment_color": 0.3}
    changes |= {"augment_points": 0.3}
    changes |= {"num_training_iterations": 3, "learning_rate": 1e-4, "batch_size_train": 6, "precision": "float32"}

    def make_config(output):
        return tiny_pose_config(data, output, network_path, **changes)

    assert_two_do_what_one_does(tmp_path, "pose", make_config)


def test_a_killed_run_resumes_and_repeats_what_an_unbroken_one_does(data, tmp_path):
    config = tiny_config(data, tmp_path / "whole")
    assert run_processes(2, train, "views", config) == [0, 0]
    whole = tmp_path / "whole" / run_name(config, "encode")
    config = {**config, "output_folder": str(tmp_path / "broken")}
    broken = tmp_path / "broken" / run_name(config, "encode")
    assert -signal.SIGKILL in run_processes(2, train, "views", config, False, 5)
    assert [row["iteration"] for row in read_log(broken / "debug_log_testing.txt")] == ["3"]
    assert run_processes(2, train, "views", config, True) == [0, 0]
    assert losses(broken) == losses(whole) and len(losses(whole)) == 6
    ours, theirs = (read_checkpoint(path / "models/network_last_val.pth").weights for path in (broken, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_fewer_held_out_batches_than_processes(data, tmp_path):
    config = tiny_config(data, tmp_path, validation_crops=1, num_training_iterations=1)
    assert run_processes(2, train, "views", config) == [0, 0]
    (row,) = read_log(tmp_path / run_name(config, "encode") / "debug_log_testing.txt")
    assert 0 < float(row["loss"]) < 100 and float(row["psnr"]) > 0


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="lists threads as Linux does")
@pytest.mark.parametrize("stage", ["views", "pose"])
def test_no_thread_of_the_group_outlives_it(data, tmp_path, stage):
    # one that ran on while the interpreter ended killed the process, now and then, on a busy machine
    config = tiny_config(data, tmp_path, num_training_iterations=1)
    if stage == "pose":
        config = tiny_pose_config(data, tmp_path, None, freeze_encoder=False, num_training_iterations=1)
    assert run_processes(2, train_and_leave_no_thread, stage, config) == [0, 0]


def torchrun(processes, *arguments):
    """The command of the README."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT, env=environment
    )


def test_torchrun_writes_one_run(data, tmp_path):
    config = tiny_config(data, tmp_path)
    file = write_config_file(tmp_path / "config.py", config)
    result = torchrun(2, ROOT / "configs" / "train_encodeDecode.py", "--config", file)
    assert result.returncode == 0, result.stderr[-3000:]
    folder = tmp_path / run_name(config, "encode")
    assert [path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()] == [folder]
    assert result.stdout.count("crops to train on") == result.stdout.count("trained: ") == 1
    assert list(losses(folder)) == [1, 2, 3, 4, 5, 6]
    assert [row["iteration"] for row in read_log(folder / "debug_log_testing.txt")] == list("36")


def test_a_batch_that_cannot_be_shared_ends_before_anything_is_written(data, tmp_path):
    config = tiny_config(data, tmp_path / "output", batch_size_train=12)
    assert any(run_processes(2, train, "views", config))
    assert not (tmp_path / "output").exists()


def test_one_process_cannot_have_a_device_of_its_own_choice(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setattr("training.loop.distributed.pick_device", torch.device)
    with pytest.raises(UserError, match="device is 'cuda:1'; expected auto, cuda or cpu"), process_group("cuda:1"):
        pass


def test_an_incomplete_environment_is_one_line(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"^WORLD_SIZE is 2, but RANK, .* not set; .*torchrun"), process_group("cpu"):
        pass


def test_a_process_alone_writes_whatever_its_rank_is_called(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    assert is_main()
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert not is_main()
