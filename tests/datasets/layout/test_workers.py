"""Workers end with the process that they work for, and have one thread each."""

import os
import signal
import subprocess
import sys
import time

import pytest

from datasets.layout.workers import map_processes, worker_pool
from tests.tiny import ROOT
from utils.cores import available_cores

SCRIPT = """
import os, sys, time
from pathlib import Path
from datasets.layout.workers import map_processes

def work(item):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(0.1)

if __name__ == "__main__":
    for _ in map_processes(work, range(1000), workers=2):
        pass
"""


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_of_a_killed_process_end_without_a_traceback(tmp_path):
    script, started, errors = tmp_path / "job.py", tmp_path / "started", tmp_path / "errors.txt"
    script.write_text(SCRIPT)
    started.mkdir()
    with open(errors, "w") as stderr:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        job = subprocess.Popen([sys.executable, script, started], stderr=stderr, env=environment)
        deadline = time.monotonic() + 120
        while len(list(started.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
    workers = [int(path.name) for path in started.iterdir()]
    assert len(workers) == 2
    while any(map(_is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_is_alive, workers))
    assert "Traceback" not in errors.read_text()


def threads(_) -> tuple[int, int]:
    import torch

    return os.getpid(), torch.get_num_threads()


def test_workers_compute_with_one_thread_and_this_process_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert {count for _, count in map_processes(threads, range(4), workers=2)} == {1}
    assert os.environ["OMP_NUM_THREADS"] == "2" and "OPENBLAS_NUM_THREADS" not in os.environ


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process to cores")
def test_one_process_per_core_that_may_be_used():
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert available_cores() == 1
        with worker_pool() as run:
            assert [pid for pid, _ in run(threads, range(2))] == [os.getpid()] * 2
    finally:
        os.sched_setaffinity(0, cores)
