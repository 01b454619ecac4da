"""One writer for each folder: a lock that goes with its process, also when that is killed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from utils.errors import UserError

try:
    import fcntl
except ImportError:  # Windows has no flock: two writers are not noticed there.
    fcntl = None

LOCK_FILE = ".lock"  # in the folder that is being written
# Where no lock can be made, nothing can be written either: a finished set on a read-only or full disk stays readable.
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what file systems without locks answer
_ATTEMPTS = 100

_held: set[int] = set()


class BeingWritten(UserError):
    """What is to be written has another writer."""


@contextmanager
def writing(folder: str | os.PathLike) -> Iterator[Path]:
    """Be the only process that writes `folder`, which is made if it is missing; yields its path.

    An empty folder that was made for this is removed at the end. Raises UserError where another process, or this one,
    is writing it already.
    """
    folder = Path(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    descriptor = _lock(folder / LOCK_FILE, folder)
    try:
        yield folder
    finally:
        _unlock(descriptor, folder / LOCK_FILE)
        with suppress(OSError):
            for path in missing:
                path.rmdir()


@contextmanager
def writing_file(path: str | os.PathLike) -> Iterator[Path]:
    """Be the only process that writes the file `path`; yields it. Raises UserError as `writing` does."""
    path = Path(path)
    lock_file = path.with_name(f".{path.name}{LOCK_FILE}")
    descriptor = _lock(lock_file, path)
    try:
        yield path
    finally:
        _unlock(descriptor, lock_file)


def _lock(file: Path, what: Path) -> int | None:
    """Lock `file`, which is made with its folder; returns its descriptor, or None where locks are not possible."""
    attempts = _ATTEMPTS
    while fcntl:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            # The last writer removed the folder that it had made, between our two calls. It does not do so for ever:
            # where it stays, no folder can be made, as in /proc.
            attempts -= 1
            if not attempts:
                raise
            continue
        except OSError as error:
            if error.errno in _NOT_WRITABLE and what.exists():
                return None
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            raise BeingWritten(f"{what} is being written by {_process(owner)}; wait for it, or stop it") from None
        except OSError as error:
            os.close(descriptor)
            if error.errno in _NO_LOCKS:
                return None
            raise
        # The last writer may have removed the file after we opened it: that lock would keep nobody out.
        with suppress(OSError):
            if _is_still(descriptor, file):
                break
        os.close(descriptor)
    else:
        return None
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    _held.add(descriptor)
    return descriptor


def _process(owner: str) -> str:
    if owner == str(os.getpid()):
        return "this process"
    return f"process {owner}" if owner.isdigit() else "another process"


def _unlock(descriptor: int | None, file: Path) -> None:
    if descriptor is not None:
        # Removed while it is locked: whoever opens it meanwhile finds that it is no longer the file of that name.
        with suppress(OSError):
            if _is_still(descriptor, file):
                file.unlink()
        _held.discard(descriptor)
        os.close(descriptor)


def _is_still(descriptor: int, file: Path) -> bool:
    """Whether `file` is the one that was opened: its folder may have been removed, and made again by another writer."""
    return os.path.samestat(os.fstat(descriptor), os.stat(file))


def _let_go() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    # A lock ends with the last process that holds its file: readers that were forked must not outlive their parent's.
    os.register_at_fork(after_in_child=_let_go)
