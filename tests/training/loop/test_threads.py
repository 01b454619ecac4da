"""Threads of a CPU: how many train, that a resumed run repeats them, and batches that are computed side by side."""

import json
import threading

import pytest
import torch

from tests.runs import Died, die_at, losses
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from training.loop.threads import LARGE, compute_threads, map_batches, resumed_threads, training_threads
from training.stages.novel_views import train_novel_views
from training.stages.step import TrainingStep

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data") / "train", size=SIZE, sequences_per_subject=3)


@pytest.mark.parametrize(
    ("given", "size", "machine", "expected"),
    [(None, LARGE, 4, 4), (None, 64, 4, 2), (None, 64, 2, 1), (None, 64, 1, 1), (3, 64, 4, 3), (3, LARGE, 2, 3)],
)
def test_the_number_of_threads_depends_on_config_and_machine(monkeypatch, given, size, machine, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with compute_threads(machine):
        assert training_threads({"threads": given, "inputDimension": size}) == expected


def test_a_number_that_the_user_gave_the_runtime_is_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    with compute_threads(4):
        assert training_threads({"threads": None, "inputDimension": 64}) == 4


def test_a_resumed_run_repeats_the_threads_that_it_began_with(data, tmp_path, monkeypatch, capsys):
    seen, step = [], TrainingStep.__call__
    monkeypatch.setattr(
        TrainingStep, "__call__", lambda *given: (seen.append(torch.get_num_threads()), step(*given))[1]
    )
    whole = train_novel_views(tiny_config(data, tmp_path / "whole", threads=2))
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, 5)
        train_novel_views(tiny_config(data, tmp_path / "killed", threads=2))
    with compute_threads(4):
        before = torch.get_num_threads()
        resumed = train_novel_views(tiny_config(data, tmp_path / "killed", threads=3), resume=True)
        after = torch.get_num_threads()
    assert "threads: 2, with which this run began, in place of 3" in capsys.readouterr().out
    assert after == before and set(seen) == {2}
    assert losses(resumed) == losses(whole)
    sessions = json.loads(resumed.record_file.read_text())["sessions"]
    assert [session["threads"] for session in sessions] == [2, 2]


@pytest.mark.parametrize(
    ("begun", "given", "parts", "expected", "said"),
    [
        (32, None, 1, 4, "on a larger machine"),
        (32, 3, 1, 3, "on a larger machine"),
        (32, 32, 1, 32, ""),
        (4, None, 2, 2, "on a larger machine"),
        (2, None, 1, 2, "with which this run began"),
        (2, 3, 1, 2, "in place of 3"),
        (4, None, 1, 4, ""),
        (None, None, 1, 4, ""),
    ],
)
def test_a_run_of_a_larger_machine_takes_the_threads_of_this_one(monkeypatch, begun, given, parts, expected, said):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with compute_threads(4):
        count, note = resumed_threads(begun, {"threads": given, "inputDimension": LARGE}, parts)
    assert count == expected and said in note and bool(said) == bool(note)


def test_batches_side_by_side_give_the_results_of_one_after_the_other_in_their_order():
    torch.manual_seed(0)
    layer, batches = torch.nn.Conv2d(3, 8, 3), list(torch.randn(7, 2, 3, 16, 16))
    threads = []

    @torch.no_grad()
    def compute(batch):
        threads.append((torch.get_num_threads(), threading.current_thread().name))
        return layer(batch)

    expected = [compute(batch) for batch in batches]
    threads.clear()
    with compute_threads(3):
        results = list(map_batches(compute, iter(batches), CPU))
        assert torch.get_num_threads() == 3
    assert {count for count, _ in threads} == {1} and threading.main_thread().name not in {name for _, name in threads}
    for ours, theirs in zip(results, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_an_error_in_a_batch_arrives_and_ends_the_rest():
    done = []

    def compute(batch):
        done.append(batch)
        if batch == 2:
            raise ValueError("batch 2")
        return batch

    with compute_threads(2), pytest.raises(ValueError, match="batch 2"):
        list(map_batches(compute, range(100), CPU))
    assert len(done) < 10


def test_batches_are_read_no_further_ahead_than_threads_can_compute():
    read = []
    with compute_threads(2):
        results = map_batches(lambda batch: batch, (read.append(i) or i for i in range(100)), CPU)
        assert next(results) == 0
        assert len(read) <= 3
        results.close()
