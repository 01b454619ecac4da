"""Errors that the user can fix, and how a script reports them."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from io import UnsupportedOperation
from traceback import walk_tb

from utils.interrupts import catch_signals, end_at_once, interrupt_behind, word_and_code

_CLOSED = 141  # what a shell reports of a program whose reader, such as `head`, has enough
_LONGEST = 1000  # characters of a message
_FULL = (errno.ENOSPC, errno.EDQUOT)
_EXPECTED = {
    errno.EEXIST: "; expected a folder, or a name that nothing has",
    errno.ENOTDIR: "; expected folders on the way, and not a file",
    errno.EISDIR: "; expected a file",
}


class UserError(ValueError):
    """Bad input. The message is one line: what is wrong, the value, what was expected."""


def run_script(main: Callable[[], None]) -> None:
    """Run a script's `main`. Bad input and full disks print one line and exit 2, Ctrl-C exits 130 and SIGTERM 143."""
    _prepare_streams()
    catch_signals()
    try:
        _run_and_flush(main)
    except SystemExit:
        raise
    except BaseException as error:
        ending = _ending(error)
        if ending is None:
            raise
        end_at_once("told")
        sys.exit(_report(*ending))
    finally:
        end_at_once()
        _kill_children()


def _kill_children() -> None:
    # Readers of data leave SIGTERM, by which torch stops those that hang, to this process.
    if processes := sys.modules.get("multiprocessing"):
        children = processes.active_children()
        if children and hasattr(signal, "SIGCHLD"):
            # PyTorch's handler would raise an error after the last line, for each reader that ends.
            with suppress(ValueError):
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for child in children:
            child.kill()


def _run_and_flush(main: Callable[[], None]) -> None:
    """Run `main` and write out what it printed: Python's own flush, at exit, would end in a traceback."""
    try:
        main()
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _ending(error: BaseException) -> tuple[str, int] | None:
    """The line and the exit code for an error that ended `main`; None for a failure of ours."""
    if interrupt := interrupt_behind(error):
        return word_and_code(interrupt)
    if isinstance(error, UserError):
        return f"error: {one_line(error)}", 2
    if _is_end_of_a_reader(error):
        return f"error: a process that reads crops died ({one_line(error)}); start again with fewer num_workers", 2
    if isinstance(error, OSError):
        return _ending_of_system_error(error)
    return None


def _is_end_of_a_reader(error: BaseException) -> bool:
    """Whether `error` comes of the death of a process that reads data."""
    # PyTorch's signal handler raises it wherever this process is. What was to be taken over was still the reader's.
    return (isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid")) or any(
        frame.f_code.co_name == "rebuild_storage_fd" for frame, _ in walk_tb(error.__traceback__)
    )


def _ending_of_system_error(error: OSError) -> tuple[str, int] | None:
    if error.filename is None and (broken := _broken_output()):
        # Nobody can read what was printed: it goes nowhere, so that Python does not try again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        closed = isinstance(broken, BrokenPipeError)
        return ("", _CLOSED) if closed else (f"error: cannot write to standard output: {broken.strerror}", 2)
    if isinstance(error, PermissionError) and error.filename is not None:
        return f"error: no permission for {error.filename!r}; expected a path that you may read or write", 2
    where = "" if error.filename is None else f": {error.filename!r}"
    if error.errno in _FULL:
        return f"error: {error.strerror}{where}; make room, and run the same command again to go on", 2
    # Without a file it is no wrong path of the user's but a failure of ours, which needs its traceback.
    return (f"error: {error.strerror}{where}{_EXPECTED.get(error.errno, '')}", 2) if where else None


def _broken_output() -> OSError | None:
    """Why standard output takes nothing; None where it does."""
    try:
        sys.stdout.flush()
        # What could not be written is gone from the buffer: only another try tells whose error it was.
        os.write(sys.stdout.fileno(), b"\n")
    except UnsupportedOperation:  # an output that is no file, as in notebooks
        return None
    except OSError as error:
        return error
    return None


def _prepare_streams() -> None:
    """Let closed standard streams lead nowhere: a file that took their number would get what is printed.

    Standard output shows what its encoding lacks as escapes, as standard error does.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "w", closefd=False))
    # Reports have names of cameras, which the encoding of a terminal may lack. Outputs of notebooks have no such way.
    with suppress(AttributeError):
        sys.stdout.reconfigure(errors="backslashreplace")


def one_line(error: Exception) -> str:
    """The message of `error` in one line."""
    lines = str(error).strip().splitlines() or [""]
    # An error raised in a DataLoader's process arrives with that process's traceback in front, as one string.
    if lines[0].startswith(("Caught UserError in ", "Traceback ")):
        lines = [lines[-1].removeprefix(f"{UserError.__module__}.{UserError.__name__}: ")]
    return plain_text(" ".join(lines))


def plain_text(text: str) -> str:
    """`text` with escapes for what terminals would obey, and without the middle of what is very long.

    Messages quote names and values, which come from files.
    """
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


def _end_bars() -> None:
    """Close progress bars: their line has no end yet, and the message would become a part of it."""
    if module := sys.modules.get("tqdm"):
        for bar in [*module.tqdm._instances]:
            # One that was just being made lacks what it closes.
            with suppress(AttributeError):
                bar.close()


def _report(line: str, code: int) -> int:
    # Standard error may be full, too.
    with suppress(OSError):
        _end_bars()
        print(*[line] if line else [], file=sys.stderr, end="\n" if line else "", flush=True)
    return code
