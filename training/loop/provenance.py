"""`run.json`: what a run was made with, how far it got, and how it ended."""

import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from training.loop.distributed import world_size
from utils.errors import UserError
from utils.files import write_text
from utils.paths import ROOT
from utils.readers import read_json

_PACKAGES = ("torch", "torchvision", "numpy", "geometry-aware-pose")
# What names git's repository in place of the folder.
_REPOSITORY = {"GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"}


class RunRecord:
    """The record of a run, with one session for each time that it was started or resumed; written atomically.

    `identity`: what names the run (training/loop/identity.py); `score`: the name of the held-out score, of which less
    is better; `about`: the `environment` of this session. A session that is killed keeps the status "running" until the
    next one begins.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], score: str, about: Mapping[str, Any]):
        self.path = path
        sessions = (read_record(path) or {}).get("sessions", [])
        for session in sessions:
            # Nobody writes the end of a session that is killed.
            if session.get("status") == "running":
                session["status"] = "interrupted"
        self.session = {"status": "running", "begin": _now(), "end": None, **about}
        self.content = {
            "status": "running",
            "iterations": 0,
            "score": score,
            "best_score": None,
            "best_iteration": None,
            "identity": identity,
            "sessions": [*sessions, self.session],
        }

    def update(self, iterations: int, best_score: float, best_iteration: int | None) -> None:
        """Write how many iterations are done, and the best held-out score so far (inf: none) with its iteration."""
        best = best_score if math.isfinite(best_score) else None
        self.content |= {"iterations": iterations, "best_score": best, "best_iteration": best_iteration}
        self._write("running")

    @contextmanager
    def session_status(self) -> Iterator[None]:
        """Write how the body ends: "finished", "interrupted" (by Ctrl-C) or "failed"."""
        status = "failed"
        try:
            yield
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            self._write(status)

    def _write(self, status: str) -> None:
        self.content["status"] = self.session["status"] = status
        # Also while the run goes on: one that is killed has ended here, as far as anybody knows.
        self.session["end"] = _now()
        text = json.dumps(self.content, indent=2) + "\n"
        write_text(self.path, text)


def read_record(path: Path) -> dict[str, Any] | None:
    """The record in `run.json`; None where there is none. Raises UserError for a damaged one."""
    if not path.exists():
        return None
    record = read_json(path, dict)
    shape = {"identity": dict, "sessions": list}
    wrong = [key for key, kind in shape.items() if not isinstance(record.get(key, kind()), kind)]
    sessions = [] if wrong else record.get("sessions", [])
    if wrong or not all(isinstance(session, dict) for session in sessions):
        raise UserError(f"{str(path)!r} has no valid {(wrong or ['sessions'])[0]!r}; fix or delete it")
    return record


def environment(device: torch.device) -> dict[str, Any]:
    """Commit, versions, device, threads, processes and command line of this process, as JSON values."""
    return {
        "command": sys.argv,
        "commit": commit(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
    }


def commit(root: Path = ROOT) -> str | None:
    """The commit of the checkout at `root`, with " modified" where tracked files differ from it; None elsewhere."""
    # An installed package may lie in somebody else's checkout, below a virtual environment: that one says nothing.
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return None
    modified = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{_git(root, 'rev-parse', 'HEAD')}{' modified' if modified else ''}"


def device_name(device: torch.device) -> str:
    """The model of a GPU, or of this machine's processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str | None:
    # A git hook has its own repository in the environment, which would be taken for that of `root`.
    about = {name: value for name, value in os.environ.items() if name not in _REPOSITORY}
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30, check=True, env=about
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
