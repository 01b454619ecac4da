"""Files that are written atomically."""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_FULL = 1 << 16  # bytes: a disk with less has no room for the next block of a file


def write_atomically(path: str | os.PathLike, write: Callable[[Path], object]) -> None:
    """Call `write(temporary_path)`, then put the result at `path`; an interrupted write leaves `path` as it was.

    A full disk is an OSError that names `path`, also where the writer says something else (torch, safetensors).
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    except BaseException as error:
        full = isinstance(error, Exception) and (
            os.strerror(errno.ENOSPC) in str(error) or (part.exists() and shutil.disk_usage(path.parent).free < _FULL)
        )
        with suppress(OSError):
            part.unlink()
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
