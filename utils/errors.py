"""Errors that the user can fix, and how a script reports them."""

import os
import sys
from collections.abc import Callable


class UserError(ValueError):
    """Bad input. The message is one line: what is wrong, the value, what was expected."""


def run_script(main: Callable[[], None]) -> None:
    """Run a script's `main`; bad input prints one line and exits 2, Ctrl-C exits 130."""
    try:
        main()
    except UserError as error:
        sys.exit(_report(f"error: {one_line(error)}", 2))
    except PermissionError as error:
        sys.exit(_report(f"error: no permission for {error.filename!r}; expected a path that you may read or write", 2))
    except RuntimeError as error:
        # PyTorch's signal handler raises it wherever the process is when one of its readers dies.
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        line = f"error: a process that reads crops died ({one_line(error)}); start again with fewer num_workers"
        sys.exit(_report(line, 2))
    except BrokenPipeError:
        # Whoever reads our output, such as `head`, has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # Without a file it is no wrong path of the user's but a failure of ours, which needs its traceback.
        if error.filename is None:
            raise
        sys.exit(_report(f"error: {error.strerror}: {error.filename!r}", 2))
    except KeyboardInterrupt as interrupt:
        sys.exit(_report(str(interrupt) or "interrupted", 130))


def one_line(error: Exception) -> str:
    """The message of `error` in one line."""
    lines = str(error).strip().splitlines() or [""]
    # An error raised in a DataLoader's process arrives with that process's traceback in front, as one string.
    if lines[0].startswith(("Caught UserError in ", "Traceback ")):
        return lines[-1].removeprefix(f"{UserError.__module__}.{UserError.__name__}: ")
    return " ".join(lines)


def _report(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code
