"""Stage 1 on a tiny set: what it writes, what it learns, and how it stops and resumes."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from configs.config_robust import AUGMENTATION
from models.checkpoints import read_checkpoint
from tests.moments import wait_until
from tests.processes import run_processes, train
from tests.runs import losses, read_log
from tests.tiny import ROOT, TIMEOUT, tiny_config, write_config_file
from training.loop.loaders import TrainingBatches, grouped_sampler, open_training_set, training_rows
from training.loop.run_folder import CsvLog, run_name
from training.stages.novel_views import train_novel_views
from utils.errors import UserError


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


def test_the_best_network_is_the_one_with_the_lowest_held_out_loss(data, tmp_path, monkeypatch):
    scores, evaluated = [3.0, 1.0, 2.0, 1.5], []

    def evaluate(network, *_):
        evaluated.append({name: value.clone() for name, value in network.state_dict().items()})
        return {"loss": scores[len(evaluated) - 1]}

    monkeypatch.setattr("training.stages.novel_views.evaluate_views", evaluate)
    folder = train_novel_views(tiny_config(data, tmp_path, test_every=1, num_training_iterations=4))
    best, last = (read_checkpoint(file).weights for file in (folder.best_network, folder.last_network))

    def like(weights):
        return [all(torch.equal(weights[name], then[name]) for name in weights) for then in evaluated]

    assert like(best) == [False, True, False, False] and like(last) == [False, False, False, True]


def test_same_seed_same_run_other_seed_other_run(data, stage1, tmp_path):
    again = train_novel_views(tiny_config(data, tmp_path))
    assert losses(again) == losses(stage1)
    other = train_novel_views(tiny_config(data, tmp_path, seed=1))
    assert losses(other) != losses(stage1)


@pytest.mark.parametrize("changes", [{"augment_rotation": 30.0}, {"augment_mirror": True}, AUGMENTATION])
def test_augmentation_changes_the_training(data, stage1, tmp_path, changes):
    plain, changed = losses(stage1), losses(train_novel_views(tiny_config(data, tmp_path, **changes)))
    assert len(plain) == len(changed) == 6 and np.isfinite(list(changed.values())).all() and plain != changed


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


@pytest.mark.parametrize(
    ("num_workers", "sign", "code"), [(0, signal.SIGINT, 130), (2, signal.SIGINT, 130), (2, signal.SIGTERM, 143)]
)
def test_signals_keep_the_iterations_done(data, tmp_path, num_workers, sign, code):
    config = tiny_config(data, tmp_path, num_training_iterations=100_000, test_every=50_000, num_workers=num_workers)
    file = write_config_file(tmp_path / "config.py", config)
    command = [sys.executable, str(ROOT / "configs/train_encodeDecode.py"), "--config", str(file)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, start_new_session=True, **pipes)
    log = tmp_path / run_name(config, "encode") / "debug_log_training.txt"
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) > 5, process)
    os.killpg(process.pid, sign)  # as a terminal does, or a batch system
    output, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == code and "--resume" in errors and "Traceback" not in errors
    assert (output + errors).count("interrupted") == 1
    state = torch.load(log.parent / "models/training_state.pth", weights_only=True)
    assert state["iteration"] >= 5


def test_a_finished_run_is_neither_overwritten_nor_repeated(data, stage1):
    config = tiny_config(data, stage1.path.parent)
    with pytest.raises(UserError, match="--resume"):
        train_novel_views(config)
    before = stage1.last_network.stat().st_mtime_ns
    train_novel_views(config, resume=True)
    assert stage1.last_network.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("changes", "iteration", "kept"),
    [({"test_every": 1}, 2, True), ({"test_every": 3}, 2, False), ({"test_every": 3, "print_every": 100}, 3, False)],
    ids=["after an evaluation", "before one", "found by an evaluation"],
)
def test_a_loss_that_is_not_finite_stops_and_says_where(data, tmp_path, changes, iteration, kept):
    with pytest.raises(UserError, match=rf"the loss became (nan|inf) at iteration {iteration};") as stopped:
        train_novel_views(tiny_config(data, tmp_path, learning_rate=1e30, **changes))
    # It names a network only where there is one.
    saved = [str(path) for path in tmp_path.rglob("network_last_val.pth")]
    named = re.findall("last good network is '(.*)'", str(stopped.value))
    assert named == saved and len(saved) == kept
    assert all(torch.isfinite(value).all() for file in saved for value in read_checkpoint(file).weights.values())


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


def test_a_log_that_a_kill_cut_short_is_repaired(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("iteration,loss\n1,0.5\n2,0.4\n3,0")
    log = CsvLog(path, 2)
    log.append({"iteration": 3, "loss": 0.3})
    assert [row["loss"] for row in read_log(path)] == ["0.5", "0.4", "0.3"]


@pytest.mark.parametrize("kind", ["squared", "distance"])
def test_poses_of_all_labels_are_learned_beside_the_views(data, tmp_path, kind):
    config = tiny_config(data, tmp_path, loss_weight_3d=0.5, num_training_iterations=60, test_every=20)
    folder = train_novel_views({**config, "learning_rate": 3e-3, "pose_loss": kind})
    tested = read_log(folder.path / "debug_log_testing.txt")
    errors, psnrs = ([float(row[name]) for row in tested] for name in ("n_mpjpe", "psnr"))
    assert errors[-1] < errors[0] and psnrs[-1] > psnrs[0]
    stored = read_checkpoint(folder.last_network)
    assert stored.config["output_types"] == ["img_crop", "3D"] and float(stored.weights["pose_std"].min()) < 1


def test_the_loss_of_poses_is_part_of_the_loss(data, tmp_path):
    errors = []
    for kind in ("squared", "distance"):
        config = tiny_config(data, tmp_path / kind, loss_weight_3d=2.0, num_training_iterations=1, pose_loss=kind)
        row = read_log(train_novel_views(config).path / "debug_log_training.txt")[-1]
        errors.append(float(row["pose"]))
        assert float(row["loss"]) == pytest.approx(float(row["rgb"]) + errors[-1], rel=1e-5)
    assert 0 < errors[1] < errors[0]


LAYERED = {"color_by_appearance": True, "add_background": True}


def test_masks_and_centered_views_are_learned_from_silhouettes_alone(data, tmp_path):
    changes = {**LAYERED, "loss_weight_masks": 5.0, "center_targets": True, "num_training_iterations": 60}
    folder = train_novel_views(tiny_config(data, tmp_path, **changes, learning_rate=3e-3, test_every=20))
    tested, trained = (read_log(folder.path / f"debug_log_{name}.txt") for name in ("testing", "training"))
    masks = [float(row["masks"]) for row in tested]
    assert masks[-1] < 0.8 * float(trained[0]["masks"]) and masks[-1] < masks[0]
    assert float(tested[-1]["loss"]) == pytest.approx(float(tested[-1]["rgb"]) + masks[-1], rel=1e-5)
    stored = read_checkpoint(folder.last_network).config
    assert stored["center_targets"] and stored["output_types"] == ["img_crop"]


def test_what_masks_and_centering_need_is_said(data, tmp_path):
    with pytest.raises(UserError, match="loss_weight_masks needs color_by_appearance and add_background"):
        train_novel_views(tiny_config(data, tmp_path, loss_weight_masks=1.0))
    with pytest.raises(UserError, match="center_targets needs backgrounds; expected skip_background or add_background"):
        train_novel_views(tiny_config(data, tmp_path, center_targets=True, skip_background=False))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output_types": ["img_crop", "3D"]}, "output_types has 3D, but loss_weight_3d is 0"),
        ({"loss_weight_3d": 1.0, "loss_weight_agreement": 1.0}, "expected dataset_folder_mixed"),
        (
            {"loss_weight_3d": 1.0, "batch_size_train": 1, "useCamBatches": 1, "useSubjectBatches": False},
            "batch_size_train 1 gives a process 1 person; expected 2 or more",
        ),
    ],
    ids=["poses", "agreement", "batch"],
)
def test_what_could_not_learn_is_refused_before_anything_is_written(data, tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        train_novel_views(tiny_config(data, tmp_path, **changes))
    assert not list(tmp_path.iterdir())


def test_every_nth_frame_thins_what_trains_and_what_is_held_out(data, tmp_path):
    config = tiny_config(data, tmp_path)
    dataset = open_training_set(config, ("img_crop",))
    for rows, thinned in zip(
        *(training_rows(dataset.labels, {**config, "every_nth_frame": n}) for n in (1, 2)), strict=True
    ):
        assert set(thinned) < set(rows)
        instants = [len(np.unique(dataset.labels["frame"][part])) for part in (rows, thinned)]
        assert instants[1] == -(-instants[0] // 2)
