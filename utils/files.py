"""Atomic writing of files, and errors that name the file."""

import csv
import errno
import os
import platform
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_LONGEST = 255  # bytes of a file's name
_FULL = 1 << 16  # bytes; a disk with less left counts as full
# The process number of another machine says nothing about ours: temporary files carry a mark of the machine too.
_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
_PART = re.compile(r"\..*\.(?:(?P<machine>[0-9a-f]{8})-)?(?P<process>\d+)\.part")
_swept: set[Path] = set()  # folders that this process has cleaned


def write_atomically(path: str | os.PathLike, write: Callable[[Path], object]) -> None:
    """Call `write(temporary_path)`, then move the result to `path`. An interrupted write leaves `path` as it was.

    A full disk is an OSError that names `path`, whatever error the writer raises for it.
    """
    path = Path(path)
    _check_replaceable(path)
    # In the same folder, because renaming is atomic only within one file system.
    part = part_of(path)
    _sweep(path.parent.absolute())
    try:
        with naming(path):
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
        if isinstance(error, OSError) and error.filename == str(part):
            raise _named(error, path) from error
        raise


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text in UTF-8, atomically. Its lines end as they do on every system."""
    write_atomically(path, lambda part: part.write_text(text, newline="", encoding="utf-8"))


def write_csv(path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a table with the names of its columns, atomically."""

    def write(part: Path) -> None:
        with open(part, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(header)
            table.writerows(rows)

    write_atomically(path, write)


def check_writable(path: str | os.PathLike) -> None:
    """OSError that names `path` where no such file can be written; its folder need not exist yet, and is not made.

    For what is written after long work.
    """
    path = Path(path)
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    _check_replaceable(path)
    for wrong, code in (
        (not folder.is_dir(), errno.ENOTDIR),
        (not os.access(folder, os.W_OK), errno.EACCES),
    ):
        if wrong:
            raise OSError(code, os.strerror(code), str(path))


def _check_replaceable(path: Path) -> None:
    """OSError for a folder, and for a device or a pipe, which to rename would replace for all programs."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "Not a file that can be replaced", str(path))


def save_npz(path: Path, arrays: Mapping[str, Any], compressed: bool = True) -> None:
    """Write arrays by name to a file of exactly this name, such as a temporary one."""
    import numpy as np

    # Given a name in place of a file, NumPy would append ".npz" to it.
    with open(path, "wb") as file:
        (np.savez_compressed if compressed else np.savez)(file, **arrays)


def part_of(path: Path) -> Path:
    """The temporary name of this process for what is to become `path`."""
    name, ending = path.name, f".{_MACHINE}-{os.getpid()}.part"
    written = os.fsencode(name)
    if 1 + len(written) + len(ending) > _LONGEST:
        # The end of a long name, and what tells it from others of this end. A character has up to four bytes.
        name = f"{zlib.crc32(written):08x}{name[-40:]}"
    return path.with_name(f".{name}{ending}")


def is_part(path: Path) -> bool:
    """Whether `path` has a temporary name of any process."""
    return _PART.fullmatch(path.name) is not None


@contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Errors of the system that name no file, as those of writing to an open one do, get the name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise _named(error, path) from error
        raise


def _named(error: OSError, path: str | os.PathLike) -> OSError:
    # A new one: errors of some libraries have a name that cannot be set.
    return OSError(error.errno, error.strerror or os.strerror(error.errno), str(path))


def remove_dead_parts(folder: Path) -> None:
    """Remove from `folder` the temporary files and folders of processes of this machine that were killed."""
    with suppress(OSError):
        for file in folder.iterdir():
            named = _PART.fullmatch(file.name)
            if named and named["machine"] in (None, _MACHINE) and not _is_alive(int(named["process"])):
                shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    # Once for each folder and process: a folder may have many files, and be written to many times.
    if folder not in _swept:
        _swept.add(folder)
        remove_dead_parts(folder)


def _is_alive(process: int) -> bool:
    try:
        # On Windows this call would end the process.
        return os.name != "posix" or os.kill(process, 0) is None
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
