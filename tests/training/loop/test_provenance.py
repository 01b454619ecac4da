"""run.json, and what the terminal tells of a run."""

import json
import os
import subprocess

import pytest
import torch

from tests.runs import Died, die_at, losses
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from training.loop.progress import scores_text
from training.loop.provenance import commit, read_record
from training.loop.run_folder import RunFolder
from training.stages.novel_views import NovelViewStep, train_novel_views
from utils.errors import UserError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data") / "train", size=SIZE, sequences_per_subject=3)


def test_a_run_records_what_it_was_made_with(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py", "seed=0"])
    folder = train_novel_views(tiny_config(data, tmp_path))
    record = read_record(folder.record_file)
    (session,) = record["sessions"]
    assert record["status"] == session["status"] == "finished" and record["iterations"] == 6
    assert session["command"] == ["train.py", "seed=0"] and session["device"] and session["threads"] >= 1
    assert session["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert {"python", "torchvision", "numpy", "geometry-aware-pose"} <= session["versions"].keys()
    assert session["begin"] <= session["end"] and session["begin"].endswith("+00:00")
    assert record["score"] == "loss" and record["best_iteration"] in (3, 6)

    lines = capsys.readouterr().out.splitlines()
    best = f"loss {record['best_score']:.4f}"
    (tested,) = (line for line in lines if line.startswith(f"iteration {record['best_iteration']}: held-out {best}, "))
    assert tested.endswith(" dB, best") and sum(line.startswith("iteration ") for line in lines) == 2
    assert lines[-3] == f"trained: {folder.path}"
    assert lines[-2] == f"best held-out {best} at iteration {record['best_iteration']}"
    command = lines[-1].split()
    assert command[:4] == ["next:", "python", "configs/train_encodeDecode_pose.py", f"network_path={folder.path}"]
    assert f"dataset_folder_train={data}" in command and "actor_subset=None" in command


def test_sessions_of_a_run_that_fails_is_killed_and_resumes(data, tmp_path, monkeypatch):
    config = tiny_config(data, tmp_path)
    path = RunFolder(config, "encode").record_file
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, 2)
        train_novel_views(config)
    assert read_record(path)["status"] == "failed" and read_record(path)["best_score"] is None
    record = read_record(path)
    record["sessions"][0]["status"] = "running"  # as signal 9 leaves it
    path.write_text(json.dumps(record))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(NovelViewStep, "__call__", lambda self, batch, iteration: interrupt())
        train_novel_views(config)
    folder = train_novel_views(config, resume=True)
    record = read_record(path)
    assert [session["status"] for session in record["sessions"]] == ["interrupted", "interrupted", "finished"]
    assert record["status"] == "finished" and record["iterations"] == len(losses(folder)) == 6


def interrupt():
    raise KeyboardInterrupt


def test_a_run_that_was_killed_before_its_last_record_gets_it(data, tmp_path):
    config = tiny_config(data, tmp_path)
    path = train_novel_views(config).record_file
    whole = read_record(path)
    running = {"status": "running", "best_score": None, "iterations": 3}
    path.write_text(json.dumps({**whole, **running, "sessions": [{**whole["sessions"][0], "status": "running"}]}))
    train_novel_views(config, resume=True)
    record = read_record(path)
    assert [session["status"] for session in record["sessions"]] == ["interrupted", "finished"]
    assert {**record, "sessions": []} == {**whole, "sessions": []}


def test_a_damaged_record_is_one_line(tmp_path):
    (tmp_path / "run.json").write_text('{"status": ')
    with pytest.raises(UserError, match=r"run.json' cannot be read \(.*line 1.*\); expected JSON, an object"):
        read_record(tmp_path / "run.json")
    assert read_record(tmp_path / "none.json") is None


@pytest.mark.parametrize("in_a_hook", [False, True])
def test_the_commit_of_a_checkout_and_of_nothing_else(tmp_path, monkeypatch, in_a_hook):
    # Whatever the user has set, such as that commits are signed.
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    outside = dict(os.environ)

    def git(*arguments):
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=outside).stdout.strip()

    if in_a_hook:
        other = tmp_path / "other"
        other.mkdir()
        git("init", str(other))
        git("-C", str(other), "commit", "--allow-empty", "-m", "of another repository")
        monkeypatch.setenv("GIT_DIR", str(other / ".git"))
        monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert commit(tmp_path) is None
    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "first")
    assert commit(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "file").write_text("2")
    assert commit(tmp_path) == git("rev-parse", "HEAD") + " modified"
    below = tmp_path / "site-packages"
    below.mkdir()
    assert commit(below) is None


def test_scores_of_both_stages_in_words():
    assert scores_text({"loss": 0.08449, "rgb": 0.1, "psnr": 25.13}, "loss") == "loss 0.0845, 25.1 dB"
    poses = {"loss": 0.1, "mpjpe": 90.06, "n_mpjpe": 80.0}
    assert scores_text(poses, "n_mpjpe") == "N-MPJPE 80.0 mm, MPJPE 90.1 mm"
