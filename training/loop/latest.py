"""`latest`, the link beside run folders to the newest of them, and what it means as the start of a training."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from training.loop.distributed import is_main
from training.loop.identity import CONFIG_FILE, RECORD_FILE
from training.loop.provenance import read_record
from utils.errors import UserError
from utils.files import part_of, remove_dead_parts
from utils.readers import read_json

LATEST = "latest"
_STARTS = ("network_path", "pretrained_network_path", "pretrained_crops_path")


def point_latest_to(run: Path) -> None:
    """Make `latest` beside a run folder a relative link to it, atomically; nothing where links are not possible."""
    link = run.parent / LATEST
    part = part_of(link)
    remove_dead_parts(link.parent)
    with suppress(OSError, NotImplementedError):
        try:
            part.symlink_to(run.name, target_is_directory=True)
            # Replaces a link, and fails where a folder of the user's has that name.
            os.replace(part, link)
        finally:
            part.unlink(missing_ok=True)


def resolve_latest(config: Mapping[str, Any], stage: str, resume: bool) -> dict[str, Any]:
    """`config` of a run of `stage`, with the run that `latest` leads to in its place, where it is a start of the run.

    Once the run has begun, the link leads to the run itself. With `resume`, it then means what that run began with.
    UserError where stage 2 would begin with a run of stage 2, which may be the one that the same command made before.
    """
    config = dict(config)
    for key in _STARTS:
        given = config.get(key)
        found = _behind(given)
        if found is None:
            continue
        run, rest = found
        config[key] = str(run / rest)
        if (read_record(run / RECORD_FILE) or {}).get("identity", {}).get("stage") == stage:
            began = read_json(run / CONFIG_FILE, dict).get(key)
            # Runs of before may have recorded the link itself.
            if resume and began is not None and _behind(began) is None:
                config[key] = began
            elif key == "network_path" or (resume and began is not None):
                raise UserError(
                    f"{key} {given!r} is {str(run)!r}, a run of this stage, which began with {began!r}; expected the "
                    "folder of the run to begin with, or --resume to continue that one"
                )
        if is_main():
            print(f"{key}: {config[key]!r}, by {given!r}")
    return config


def without_latest(path: str | None) -> str | None:
    """`path` with the run that the link `latest` in it leads to now, because the next training changes the link."""
    found = _behind(path)
    return path if found is None else str(Path(*found))


def _behind(path: str | None) -> tuple[Path, Path] | None:
    """The run that the link `latest` in `path` leads to, and the rest of the path; None without such a link."""
    given = Path(path or "")
    for link in (given, *given.parents):
        if link.name == LATEST and link.is_symlink():
            return link.parent / os.readlink(link), given.relative_to(link)
    return None
