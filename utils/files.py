"""Atomic writing of files."""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_FULL = 1 << 16  # bytes; a disk with less left counts as full


def write_atomically(path: str | os.PathLike, write: Callable[[Path], object]) -> None:
    """Call `write(temporary_path)`, then move the result to `path`. An interrupted write leaves `path` as it was.

    A full disk is an OSError that names `path`, whatever error the writer raises for it.
    """
    path = Path(path)
    # In the same folder, because renaming is atomic only within one file system.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    except BaseException as error:
        # torch and safetensors report a full disk as errors of their own, some of them without its text.
        full = isinstance(error, Exception) and (
            os.strerror(errno.ENOSPC) in str(error) or (part.exists() and shutil.disk_usage(path.parent).free < _FULL)
        )
        with suppress(OSError):
            part.unlink()
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
