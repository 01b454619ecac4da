"""Processes as torchrun or a user starts them, but from one that has imported torch already: quick enough for many."""

import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from tests.tiny import ROOT, TIMEOUT

FORKSERVER = get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    ["tests.processes", "tests.runs", "training.stages.novel_views", "training.stages.pose"]
)


def fork_script(name: str, *arguments, cwd=ROOT) -> subprocess.CompletedProcess:
    """Run configs/<name> as `tests.tiny.run_script` does, in two seconds less: only torch was imported before.

    Streams, folder, environment and exit code are the process's own. One test of each script runs it as a user does.
    """
    command = [str(ROOT / "configs" / name), *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, stream) for stream in ("stdout", "stderr")]
        process = FORKSERVER.Process(target=_be_script, args=(command, str(cwd), dict(os.environ), streams))
        process.start()
        process.join(TIMEOUT)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, TIMEOUT)
        stdout, stderr = (stream.read_text() for stream in streams)
    return subprocess.CompletedProcess(command, process.exitcode, stdout, stderr)


def _be_script(command: list[str], cwd: str, environment: dict[str, str], streams: list[Path]) -> None:
    for number, stream in enumerate(streams, start=1):
        with open(stream, "w") as file:
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name="__main__")


def run_processes(count: int, function, *arguments, timeout: float = TIMEOUT) -> list[int]:
    """Call `function(*arguments)` in `count` processes that know of one another; return their exit codes.

    When one fails the others are stopped, as torchrun does.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [FORKSERVER.Process(target=_enter, args=(r, count, port, function, arguments)) for r in range(count)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + timeout
    while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
        if any(process.exitcode for process in processes):
            break
        time.sleep(0.05)
    for process in processes:
        process.kill()
        process.join()
    return [process.exitcode for process in processes]


def _enter(rank: int, count: int, port: int, function, arguments: tuple) -> None:
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR="localhost")
    torch.set_num_threads(1)
    function(*arguments)


def train(stage: str, config: dict, resume: bool = False, die_at: int | None = None) -> None:
    """One training, as the scripts run it; kill it with signal 9 before iteration `die_at`."""
    from tests import runs
    from training.stages.novel_views import train_novel_views
    from training.stages.pose import train_pose

    if die_at is not None:
        runs.die_at(pytest.MonkeyPatch(), die_at, kill=True)
    {"views": train_novel_views, "pose": train_pose}[stage](config, resume)


def train_and_keep_gradients(stage: str, config: dict, path: str) -> None:
    """A training without batch statistics and dropout; the main process keeps the gradients of iteration 2.

    In train mode batch norm uses the statistics of each process's own share, and dropout differs: without both, two
    processes must do the arithmetic of one.
    """
    from safetensors.torch import save_file

    from training.loop.distributed import is_main
    from training.stages import novel_views, pose

    for norm in (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d):
        norm.train = lambda self, mode=True: torch.nn.Module.train(self, False)
    torch.nn.Dropout.forward = lambda self, x: x
    step_class = novel_views.NovelViewStep if stage == "views" else pose.PoseStep
    step = step_class.__call__

    def keep(self, batch, iteration):
        losses = step(self, batch, iteration)
        if iteration == 2 and is_main():
            named = self.network.named_parameters()
            # Channels last, which no file holds.
            save_file({name: p.grad.contiguous() for name, p in named if p.grad is not None}, path)
        return losses

    step_class.__call__ = keep
    train(stage, config)


def train_and_leave_no_thread(stage: str, config: dict) -> None:
    """A training; fail where threads of the process group outlive it. Linux only: it lists the threads of a process."""
    train(stage, config)
    names = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    assert not [name for name in names if "gloo" in name], names
