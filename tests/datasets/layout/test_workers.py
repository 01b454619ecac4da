"""Workers end with the process that they work for, end it when they die, and have one thread each."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from multiprocessing import active_children, get_context

import pytest

from datasets.layout import workers
from datasets.layout.workers import beside, map_processes, worker_pool
from tests.tiny import ROOT, TIMEOUT
from utils.cores import available_cores
from utils.errors import UserError

JOB = """
import os, signal, sys, time, types

# Without the face of the package, which imports torch: seconds in each process.
sys.modules["datasets"] = types.ModuleType("datasets")
sys.modules["datasets"].__path__ = [{root!r} + "/datasets"]

from datasets.layout.workers import map_processes
from utils.errors import run_script

def work(item):
    {work}

def main():
    for _ in map_processes(work, range(1000), workers=2):
        pass

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run_script(main)
"""
REPORT_AND_WORK_ON = "os.write(1, b'%d\\n' % os.getpid()); time.sleep(600)"


def start_job(folder, work: str) -> subprocess.Popen:
    """A process whose workers do `work`, in a group of its own. All of them hold its output."""
    script = folder / "job.py"
    script.write_text(textwrap.dedent(JOB).format(work=work, root=str(ROOT)))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, script], env=environment, start_new_session=True, **pipes)


def test_workers_of_a_killed_process_end_without_a_word(tmp_path):
    job = start_job(tmp_path, REPORT_AND_WORK_ON)
    assert len({job.stdout.readline() for _ in range(2)}) == 2
    job.kill()
    # The output ends when the last process that holds it does, in the midst of its piece.
    assert job.communicate(timeout=TIMEOUT) == ("", "")


@pytest.mark.parametrize(
    ("sign", "code", "line"), [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "terminated\n")]
)
def test_a_signal_to_all_is_one_line_of_one_process(tmp_path, sign, code, line):
    job = start_job(tmp_path, REPORT_AND_WORK_ON)
    assert len({job.stdout.readline() for _ in range(2)}) == 2
    os.killpg(job.pid, sign)
    output, errors = job.communicate(timeout=TIMEOUT)
    assert (job.returncode, output, errors) == (code, "", line)


def test_a_worker_that_is_killed_ends_the_command(tmp_path):
    job = start_job(tmp_path, "os.kill(os.getpid(), signal.SIGKILL) if item == 1 else time.sleep(600)")
    output, errors = job.communicate(timeout=TIMEOUT)
    assert (job.returncode, output) == (2, "") and errors == (
        "error: a worker process was killed, as the system does where memory is short; "
        "run the same command again to go on, with fewer --workers\n"
    )


@pytest.fixture
def forked(monkeypatch):
    """Workers that need not import anything: quicker, and the same otherwise."""
    monkeypatch.setattr(workers, "get_context", lambda _: get_context("fork"))


def double(item: int) -> int:
    return 2 * item


def fail(item):
    raise UserError(f"item {item} is bad")


def leave(*_):
    os._exit(3)


def give_a_function(item):
    return lambda: item


def end_by_signal(item):
    os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.parametrize(
    ("work", "start", "message"),
    [
        (fail, None, "item . is bad"),
        (double, fail, "item x is bad"),
        (leave, None, "a worker process ended with exit code 3; run the same command again"),
        (double, leave, "a worker process ended with exit code 3; .* with fewer --workers"),
        (end_by_signal, None, "a worker process died of signal 10; run the same"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_raised_once(forked, work, start, message):
    with pytest.raises(UserError, match=message), worker_pool(2, start, ("x",)) as run:
        list(run(work, range(9)))


def test_a_result_that_cannot_be_sent_is_raised(forked):
    with pytest.raises(Exception, match="pickle"), worker_pool(2) as run:
        list(run(give_a_function, range(2)))


def test_a_worker_that_cannot_be_started_is_one_line(monkeypatch):
    def refuse(self):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", refuse)
    with pytest.raises(UserError, match=r"cannot be started \(Resource .*; run .* fewer --workers"), worker_pool(2):
        pass


def threads(_) -> tuple[int, int]:
    import torch

    return os.getpid(), torch.get_num_threads()


def test_workers_compute_with_one_thread_and_this_process_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with worker_pool(2) as run:
        assert {count for _, count in run(threads, range(4))} == {1}
    assert os.environ["OMP_NUM_THREADS"] == "2" and "OPENBLAS_NUM_THREADS" not in os.environ


def test_several_jobs_by_the_same_processes(forked):
    with worker_pool(2) as run:
        assert sorted(run(double, range(9))) == sorted(run(double, range(9))) == [*range(0, 18, 2)]
    assert list(map_processes(double, [])) == []


def test_nothing_to_do_starts_no_process(monkeypatch):
    monkeypatch.setattr(workers, "worker_pool", lambda *_: pytest.fail("a process was started"))
    assert list(map_processes(double, [])) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process to cores")
def test_one_process_per_core_that_may_be_used(monkeypatch):
    monkeypatch.setattr(workers, "available_cores", available_cores)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert available_cores() == 1
        with worker_pool() as run:
            assert [pid for pid, _ in run(threads, range(2))] == [os.getpid()] * 2
    finally:
        os.sched_setaffinity(0, cores)


def test_what_is_done_beside_is_done_at_the_end_and_its_words_are_in_the_log(tmp_path, capfd):
    with beside(tmp_path / "log", os.system, f"echo made; mkdir {tmp_path / 'made'}"):
        pass
    assert (tmp_path / "made").is_dir() and (tmp_path / "log").read_text() == "made\n"
    assert capfd.readouterr() == ("", "")


def test_what_is_done_beside_ends_where_the_rest_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), beside(tmp_path / "log", time.sleep, 600):
        (process,) = active_children()
        raise KeyboardInterrupt
    assert process.exitcode == -signal.SIGKILL


def test_what_fails_beside_stops_nobody(tmp_path, monkeypatch, capfd):
    with beside(tmp_path / "log", os.rmdir, "none"):
        pass
    assert "FileNotFoundError" in (tmp_path / "log").read_text()
    assert capfd.readouterr() == ("", "")

    def refuse(self):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", refuse)
    with beside(tmp_path / "log", os.rmdir, "none"):
        pass
