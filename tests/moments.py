"""Moments of a job that a test waits for or ends it at: events, because a busy machine keeps no times."""

import importlib
import itertools
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.tiny import ROOT, TIMEOUT


def wait_until(condition: Callable[[], Any], process: subprocess.Popen | None = None) -> Any:
    """What `condition()` returns once that is true. AssertionError when `process` ends before, or after `TIMEOUT`."""
    deadline = time.monotonic() + TIMEOUT
    while not (found := condition()):
        assert process is None or process.poll() is None, f"ended before, with {process.returncode}"
        assert time.monotonic() < deadline, f"did not happen within {TIMEOUT} s"
        time.sleep(0.01)
    return found


def kill_in_call(place: str, number: int) -> None:
    """Have signal 9 end this process in that call, counted from 1, of the function at `place` ("module.function")."""
    module, name = place.rsplit(".", 1)
    module = importlib.import_module(module)
    function, calls = getattr(module, name), itertools.count(1)

    def call(*arguments, **options):
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    setattr(module, name, call)


def run_script_until(place: str, number: int, name: str, *arguments) -> None:
    """Run configs/<name> until it is killed in a call of the function at `place`, as by `kill_in_call`."""
    script = [str(ROOT / "configs" / name), *map(str, arguments)]
    command = [sys.executable, "-m", "tests.moments", place, str(number), *script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == -signal.SIGKILL, f"ended by itself, with {done.returncode}: {done.stderr}"


if __name__ == "__main__":
    kill_in_call(sys.argv[1], int(sys.argv[2]))
    sys.argv = sys.argv[3:]
    runpy.run_path(sys.argv[0], run_name="__main__")
