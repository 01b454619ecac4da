"""Ctrl-C, and SIGTERM as batch systems send it: one line, and exit code 130 or 143, whenever they come."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FrameType

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_raised: list[int] = []  # signals that were raised as exceptions
_caught: list[bool] = []  # whether this process takes the signals
_told: list[str] = []  # the last line of the command, once it is printed


class Terminated(KeyboardInterrupt):
    """What SIGTERM raises: it ends a command as Ctrl-C does, but for the exit code."""


def catch_signals() -> None:
    """Let Ctrl-C and SIGTERM raise KeyboardInterrupt and `Terminated` in this process.

    Those that come during an import, and second ones, end the process at once, with the line. A signal that is
    ignored, as Ctrl-C is in the background, stays so.
    """
    _raised.clear(), _told.clear(), _caught.append(True)
    sys.unraisablehook = _raise_again
    _handle(_raise)


def end_at_once(told: str = "") -> None:
    """Let Ctrl-C and SIGTERM end the process at once from now on; silently where its last line, `told`, is out."""
    _told.extend([told] if told else [])
    _handle(_end)


def word_and_code(interrupt: KeyboardInterrupt) -> tuple[str, int]:
    """The line and the exit code of a command that `interrupt` ends."""
    number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
    return str(interrupt) or _WORDS[number], 128 + number


def interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The interrupt that led to `error`: one that was raised while it was handled is its consequence."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def finishing(stop: Callable[[], object]) -> Iterator[list[type[KeyboardInterrupt]]]:
    """The first Ctrl-C or SIGTERM calls `stop` and raises nothing; a second one does what it does outside.

    Yields a list that gets the exception that it would have raised.
    """
    interrupts: list[type[KeyboardInterrupt]] = []
    before = {number: signal.getsignal(number) for number in _WORDS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        interrupts.append(Terminated if number == signal.SIGTERM else KeyboardInterrupt)
        stop()
        restore()

    try:
        for number in before:
            signal.signal(number, on_interrupt)
    except ValueError:
        # Signals can be handled in the main thread only, which a notebook's worker is not.
        yield interrupts
        return
    try:
        yield interrupts
    finally:
        restore()


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    with suppress(ValueError):
        for number in _WORDS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, handler)


def _raise(number: int, frame: FrameType | None) -> None:
    # Libraries that are being imported swallow an exception, or turn it into another one.
    if _raised or _is_importing(frame):
        _end(number, frame)
    if any(code is _raise_again.__code__ for code in _codes(frame)):
        # What is raised in the hook would be forgotten, too.
        _send_later(number)
        return
    _raised.append(number)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _raise_again(unraisable: "sys.UnraisableHookArgs") -> None:
    # Python prints and forgets what is raised in a destructor or a callback of the garbage collector.
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    number = signal.SIGTERM if isinstance(unraisable.exc_value, Terminated) else signal.SIGINT
    _raised.clear()
    # By then the callback is likely to be over; where it is not, this function is called again.
    _send_later(number)


def _send_later(number: int) -> None:
    later = threading.Timer(0.01, os.kill, (os.getpid(), number))
    later.daemon = True
    later.start()


def _end(number: int, frame: FrameType | None) -> None:
    # As safe as kill -9 is: whatever is being written has a temporary name, and workers end with their parent.
    if not _told:
        with suppress(OSError):
            os.write(2, f"{_WORDS[number]}\n".encode())
    os._exit(128 + number)


def _is_importing(frame: FrameType | None) -> bool:
    return any(code.co_filename == "<frozen importlib._bootstrap>" for code in _codes(frame))


def _codes(frame: FrameType | None) -> Iterator[CodeType]:
    """What runs in `frame`, and in all that wait for it."""
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def leave_to_parent() -> None:
    """In a forked process: Ctrl-C and, where `catch_signals` takes it, SIGTERM are its parent's to report.

    They often go to all processes of a terminal or a batch job. The parent stops its children.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _caught:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: leave_to_parent() if _caught else None)
