"""Both stages of training on a tiny set: what they write, what they leave alone, and how they resume."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from models.checkpoints import read_checkpoint
from tests.processes import run_processes, train
from tests.runs import Died, die_at, losses, read_log
from tests.synthetic import write_synthetic_layout
from tests.tiny import ROOT, SIZE, run_script, tiny_config, tiny_pose_config, write_config_file
from training.loop.loaders import TrainingBatches, grouped_sampler, open_training_set, training_rows
from training.loop.run_folder import CsvLog, run_name
from training.stages.augmentation import augment_color
from training.stages.novel_views import train_novel_views
from training.stages.pose import ShuffledBatches, labelled_rows, train_pose
from utils.errors import UserError
from utils.images import normalize


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "train"
    return write_synthetic_layout(root, size=SIZE, subjects=(1, 5), sequences_per_subject=3, instants=6)


@pytest.fixture(scope="module")
def stage1(data, tmp_path_factory):
    return train_novel_views(tiny_config(data, tmp_path_factory.mktemp("output")))


def test_stage_1_writes_the_run_folder(stage1):
    assert stage1.path.name.startswith("encode_resL3_ResNet18_layers4_")
    for file in ("config.json", "models/network_last_val.pth", "models/network_best_val_t1.pth"):
        assert (stage1.path / file).stat().st_size > 0
    assert list(losses(stage1)) == [1, 2, 3, 4, 5, 6]
    assert [row["iteration"] for row in read_log(stage1.path / "debug_log_testing.txt")] == list("36")
    assert sorted(path.name for path in stage1.images.iterdir()) == ["example_000000.png", "example_000006.png"]
    assert not list(stage1.path.rglob("*.tmp")) and not list(stage1.path.rglob("*.part"))


def test_stage_1_learns(data, tmp_path):
    folder = train_novel_views(tiny_config(data, tmp_path, num_training_iterations=40, learning_rate=3e-3))
    tested = [float(row["loss"]) for row in read_log(folder.path / "debug_log_testing.txt")]
    assert tested[-1] < 0.7 * tested[0]


def test_the_best_network_is_the_one_with_the_lowest_held_out_loss(data, tmp_path):
    # so high a learning rate gets worse at some point
    folder = train_novel_views(tiny_config(data, tmp_path, learning_rate=0.3, test_every=1))
    scores = [float(row["loss"]) for row in read_log(folder.path / "debug_log_testing.txt")]
    best, last = (read_checkpoint(file).weights for file in (folder.best_network, folder.last_network))
    same = all(torch.equal(best[name], last[name]) for name in best)
    assert same == (np.argmin(scores) == len(scores) - 1)


def test_same_seed_same_run_other_seed_other_run(data, stage1, tmp_path):
    again = train_novel_views(tiny_config(data, tmp_path))
    assert losses(again) == losses(stage1)
    other = train_novel_views(tiny_config(data, tmp_path, seed=1))
    assert losses(other) != losses(stage1)


def test_resume_after_kill_repeats_what_an_unbroken_run_does(data, stage1, tmp_path):
    # a process that dies without warning between two evaluations
    config = tiny_config(data, tmp_path)
    assert run_processes(1, train, "views", config, False, 5) == [-signal.SIGKILL]
    assert list(losses(tmp_path / run_name(config, "encode"))) == [1, 2, 3, 4]
    resumed = train_novel_views(config, resume=True)
    assert losses(resumed) == losses(stage1)
    tests = [read_log(folder.path / "debug_log_testing.txt") for folder in (resumed, stage1)]
    assert tests[0] == tests[1]
    ours, theirs = (read_checkpoint(folder.last_network).weights for folder in (resumed, stage1))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_ctrl_c_keeps_the_iterations_done(data, tmp_path, num_workers):
    config = tiny_config(data, tmp_path, num_training_iterations=100_000, test_every=50_000, num_workers=num_workers)
    file = write_config_file(tmp_path / "config.py", config)
    command = [sys.executable, str(ROOT / "configs/train_encodeDecode.py"), "--config", str(file)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, start_new_session=True, **pipes)
    log = tmp_path / run_name(config, "encode") / "debug_log_training.txt"
    deadline = time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) > 5) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in output and "Traceback" not in errors
    state = torch.load(log.parent / "models/training_state.pth", weights_only=True)
    assert state["iteration"] >= 5


def test_a_finished_run_is_neither_overwritten_nor_repeated(data, stage1):
    config = tiny_config(data, stage1.path.parent)
    with pytest.raises(UserError, match="--resume"):
        train_novel_views(config)
    before = stage1.last_network.stat().st_mtime_ns
    train_novel_views(config, resume=True)
    assert stage1.last_network.stat().st_mtime_ns == before


def test_a_loss_that_is_not_finite_stops_and_says_where(data, tmp_path):
    with pytest.raises(UserError, match=r"nan|inf"):
        train_novel_views(tiny_config(data, tmp_path, learning_rate=1e30))
    saved = list(tmp_path.rglob("*.pth"))
    assert all(
        torch.isfinite(t).all() for f in saved if "network" in f.name for t in read_checkpoint(f).weights.values()
    )


def test_stage_2_trains_the_pose_decoder_and_nothing_else(data, stage1, tmp_path):
    folder = train_pose(tiny_pose_config(data, tmp_path, str(stage1.path), num_training_iterations=30, test_every=10))
    before, after = (read_checkpoint(f.last_network if f is folder else f.best_network) for f in (stage1, folder))
    for name, value in before.weights.items():
        changed = not torch.equal(value, after.weights[name])
        if name.startswith(("encoder.", "decoder.")):  # running statistics of batch norm included
            assert not changed, name
    assert any(not torch.equal(v, after.weights[n]) for n, v in before.weights.items() if n.startswith("to_pose."))
    assert after.weights["pose_std"].min() > 0 and after.weights["pose_mean"].abs().sum() > 0
    logged = list(losses(folder).values())
    assert np.mean(logged[-5:]) < np.mean(logged[:5])


def test_stage_2_reads_each_crop_once(data, stage1, tmp_path, monkeypatch):
    from datasets.reader import MultiViewDataset

    read = []
    original = MultiViewDataset.__getitems__
    monkeypatch.setattr(MultiViewDataset, "__getitems__", lambda self, rows: read.extend(rows) or original(self, rows))
    train_pose(tiny_pose_config(data, tmp_path, str(stage1.path), num_training_iterations=40))
    assert len(read) == len(set(read)) == 144


@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_running_variances_of_the_pose_decoder_stay_above_the_floor(data, stage1, tmp_path, floor):
    config = tiny_pose_config(data, tmp_path, str(stage1.path), num_training_iterations=60, pose_variance_floor=floor)
    weights = read_checkpoint(train_pose(config).last_network).weights
    variances = [weights[name] for name in weights if "to_pose" in name and name.endswith("running_var")]
    assert len(variances) == 2 and (min(map(torch.min, variances)) >= 0.5) == (floor == 0.5)


def test_stage_2_resumes_and_repeats(data, stage1, tmp_path, monkeypatch):
    config = tiny_pose_config(data, tmp_path / "a", str(stage1.path), num_training_iterations=8)
    whole = train_pose(config)
    halves = {**config, "output_folder": str(tmp_path / "b")}
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, 5)
        train_pose(halves)
    assert losses(train_pose(halves, resume=True)) == losses(whole)


def test_supervised_baseline_trains_the_encoder(data, tmp_path):
    config = tiny_pose_config(data, tmp_path, None, freeze_encoder=False)
    folder = train_pose(config)
    first, last = (read_checkpoint(file).weights for file in (folder.best_network, folder.last_network))
    assert set(first) == set(last)
    with pytest.raises(UserError, match="network_path"):
        train_pose({**config, "freeze_encoder": True})


def test_stage_2_takes_the_architecture_from_stage_1_unless_the_user_contradicts(data, stage1, tmp_path):
    config = {**tiny_pose_config(data, tmp_path, str(stage1.path)), "latent_fg": 8, "encoderType": "ResNet"}
    train_pose(config)
    with pytest.raises(UserError, match="latent_fg"):
        train_pose({**config, "seed": 3}, given=frozenset({"latent_fg"}))


def test_labels_are_a_seeded_fraction_of_the_chosen_subjects(data):
    config = tiny_pose_config(data, data, None, label_fraction=0.25, label_subjects=[5])
    dataset = open_training_set(config, ("3D", "img_crop"))
    train, held_out = labelled_rows(dataset.labels, config)
    all_train, all_held_out = training_rows(dataset.labels, config)
    assert set(dataset.labels["subj"][train]) == {5}
    assert set(train) <= set(all_train) and set(held_out) <= set(all_held_out)
    subject = dataset.labels["subj"] == 5
    assert len(train) == round(0.25 * subject[all_train].sum())
    assert not set(dataset.labels["seq"][train]) & set(dataset.labels["seq"][held_out])
    np.testing.assert_array_equal(train, labelled_rows(dataset.labels, config)[0])
    assert set(train) != set(labelled_rows(dataset.labels, {**config, "seed": 1})[0])
    with pytest.raises(UserError, match="label_subjects"):
        labelled_rows(dataset.labels, {**config, "label_subjects": [9]})


def test_batches_of_an_iteration_do_not_depend_on_where_a_run_started(data):
    config = tiny_config(data, data)
    dataset = open_training_set(config, ("img_crop",))
    train, _ = training_rows(dataset.labels, config)
    sampler = grouped_sampler(dataset.labels, train, config, shuffle=True)
    whole = list(TrainingBatches(sampler, 0, 20))
    assert len(whole) == 20 > len(sampler)
    for start in (1, len(sampler), 17):
        for ours, theirs in zip(TrainingBatches(sampler, start, 20), whole[start:], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    shuffled = list(ShuffledBatches(np.arange(10, 20), 4, 0, 0, 9))
    for ours, theirs in zip(ShuffledBatches(np.arange(10, 20), 4, 0, 5, 9), shuffled[5:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(set(np.concatenate(shuffled[:2]))) == 8


def test_colours_change_alike_within_a_group_and_differ_between_groups():
    torch.manual_seed(0)
    same = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    image = normalize(same.expand(8, -1, -1, -1))
    changed, background = augment_color([image, image.clone()], 4, 0.5, torch.Generator().manual_seed(1))
    torch.testing.assert_close(changed, background)
    for group in (changed[:4], changed[4:]):
        torch.testing.assert_close(group, group[:1].expand_as(group))
    assert (changed[0] - changed[4]).abs().mean() > 0.05
    assert augment_color([image], 4, 0.0, torch.Generator())[0] is image


def test_a_log_that_a_kill_cut_short_is_mended(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("iteration,loss\n1,0.5\n2,0.4\n3,0")
    log = CsvLog(path, 2)
    log.append({"iteration": 3, "loss": 0.3})
    assert [row["loss"] for row in read_log(path)] == ["0.5", "0.4", "0.3"]


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
    result = run_script("train_encodeDecode.py", "--config", file, *overrides, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert all(word in line for word in words), line


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_corrupt_crop_is_one_line_that_names_it(tmp_path, num_workers):
    data = write_synthetic_layout(tmp_path / "data", size=SIZE, sequences_per_subject=3)
    for crop in sorted(data.rglob("img_crop_*.png"))[1:]:  # the first is looked at when the set is opened
        crop.write_bytes(crop.read_bytes()[:100])
    file = write_config_file(tmp_path / "config.py", tiny_config(data, tmp_path / "output", num_workers=num_workers))
    result = run_script("train_encodeDecode.py", "--config", file)
    assert result.returncode == 2, result.stderr
    # after what the progress bar left
    line = result.stderr.strip().splitlines()[-1]
    assert "error: corrupt crop" in line and ".png" in line and "Traceback" not in result.stderr


def test_bad_network_path_of_stage_2(data, tmp_path):
    file = write_config_file(tmp_path / "config.py", tiny_pose_config(data, tmp_path / "output", str(tmp_path)))
    result = run_script("train_encodeDecode_pose.py", "--config", file)
    assert result.returncode == 2
    assert "network_path" in result.stderr and len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("script", ["train_encodeDecode.py", "train_encodeDecode_pose.py"])
def test_scripts_answer_help_from_any_folder(script, tmp_path):
    result = run_script(script, "--help", cwd=tmp_path)
    assert result.returncode == 0 and "key=value" in result.stdout
