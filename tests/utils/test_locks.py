"""One writer for each folder, whatever becomes of it."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.tiny import ROOT
from utils import locks
from utils.errors import UserError
from utils.locks import writing, writing_file

HOLD = """
import os, sys
from utils.locks import writing
with writing(sys.argv[1]):
    child = sys.argv[2] == "fork" and os.fork()
    # With a child, a reader that outlives its parent, it is the child that is ready.
    if child == 0:
        print("ready", flush=True)
    sys.stdin.read()
    if sys.argv[2] == "fork" and child == 0:
        os._exit(0)
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that writes `tmp_path / "out"` until its input is closed."""
    started = []

    def start(how: str) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, tmp_path / "out", how]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, cwd=ROOT, **pipes)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_writer_is_told_who_writes(tmp_path, holder):
    process = holder("alone")
    with pytest.raises(UserError, match=rf"out is being written by process {process.pid};"), writing(tmp_path / "out"):
        pass
    process.communicate()
    with writing(tmp_path / "out"):
        pass
    assert not list(tmp_path.iterdir()), "the folder was made for the lock and stayed empty"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("how", ["alone", "fork"])
def test_the_lock_of_a_killed_process_is_free(tmp_path, holder, how):
    process = holder(how)
    process.kill()
    process.wait()
    assert list((tmp_path / "out").iterdir())
    with writing(tmp_path / "out"):
        (tmp_path / "out/data").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["data"]


def test_a_writer_whose_folder_was_removed_leaves_the_lock_of_the_next(tmp_path):
    with ExitStack() as first, ExitStack() as second:
        folder = first.enter_context(writing(tmp_path / "out"))
        shutil.rmtree(folder)
        second.enter_context(writing(folder))
        first.close()
        with pytest.raises(UserError, match="out is being written by this process"), writing(folder):
            pass


@pytest.mark.parametrize("lock", [writing, writing_file])
def test_one_process_writes_once_and_other_things_meanwhile(tmp_path, lock):
    with lock(tmp_path / "a"), lock(tmp_path / "b"):
        with pytest.raises(UserError, match="a is being written by this process"), lock(tmp_path / "a"):
            pass
        with pytest.raises(UserError, match="b is being written by this process"), lock(tmp_path / "b"):
            pass
    with lock(tmp_path / "a"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_writer_that_comes_while_the_last_one_leaves_locks_the_new_file(tmp_path, monkeypatch):
    folder, flock, late = tmp_path / "out", locks.fcntl.flock, []

    def leave_first(descriptor, how):
        # The other writer ends between our opening of its lock file and our locking of it.
        if not late:
            late.append((folder / ".lock").unlink())
        return flock(descriptor, how)

    monkeypatch.setattr(locks.fcntl, "flock", leave_first)
    with writing(folder):
        assert (folder / ".lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(30, "read-only"), OSError(28, "full")])
def test_a_finished_set_may_lie_where_nothing_can_be_written(tmp_path, monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr(locks.os, "open", refuse)
    with writing(tmp_path):
        pass
    with pytest.raises(OSError), writing_file(tmp_path / "new"):
        pass


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with writing(tmp_path / "out"):
        (tmp_path / "out/data").touch()
    assert (tmp_path / "out/data").exists()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no file system here in which folders cannot be made")
def test_a_folder_that_can_never_be_made_is_an_error_and_no_endless_try():
    with pytest.raises(FileNotFoundError), writing("/proc/nowhere/run"):
        pass
