"""Processes for jobs that consist of independent pieces.

Each worker has a pipe of its own, which breaks when either side dies, whatever the other one is doing. Not so in the
standard library: multiprocessing.Pool waits for ever for the piece of a worker that died, and the workers of a killed
concurrent.futures.ProcessPoolExecutor wait for ever for more.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.pool import ExceptionWithTraceback
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from utils.cores import available_cores, single_threaded_children
from utils.errors import UserError

GO_ON = "run the same command again to go on, with fewer --workers"


def map_processes(
    function: Callable[[Any], Any],
    items: Iterable,
    workers: int | None = None,
    start: Callable[..., None] | None = None,
    arguments: tuple = (),
) -> Iterator:
    """Call `function` on every item by processes, at most one process per item; see `worker_pool`."""
    items = list(items)
    if not items:
        # To the pool, 0 workers are one per core, each of which would start its renderer.
        return
    with worker_pool(min(len(items), workers or available_cores()), start, arguments) as run:
        yield from run(function, items)


@contextmanager
def worker_pool(
    workers: int | None = None, start: Callable[..., None] | None = None, arguments: tuple = ()
) -> Iterator[Callable[[Callable[[Any], Any], Iterable], Iterator]]:
    """Processes for several jobs: `run(function, items)` yields the results as they arrive, in any order.

    workers: number of processes; None: one per core that this process may use. With one, this process does the work
    itself; several compute with one thread each. start: called once with `arguments` in each process. A job is to be
    consumed to its end before the next one. Ctrl-C and errors stop all processes. Raises what a piece or `start`
    raises, and UserError for a process that dies or cannot be started.
    """
    workers = workers or available_cores()
    if workers <= 1:
        if start:
            start(*arguments)
        yield map
        return
    with ExitStack() as stack:
        with _signals_left_to_this_process(), single_threaded_children():
            team = [stack.enter_context(_worker(start, arguments)) for _ in range(workers)]
        # Killed all at once; the stack would wait for each before it stops the next.
        stack.callback(lambda: [worker.process.kill() for worker in team])
        yield partial(_run, team)


@contextmanager
def beside(log: Path, function: Callable[..., Any], *arguments: Any) -> Iterator[None]:
    """Call `function(*arguments)` in a process of its own during the body, and wait for it at the end of that.

    What it says, and how it fails, is added to the file `log`. Ctrl-C and errors kill it. Whether it could be started,
    and did what it should, the caller is to find out.
    """
    process = get_context("spawn").Process(target=_call, args=(log, function, arguments))
    with _signals_left_to_this_process(), suppress(OSError):
        process.start()
    try:
        yield
        if process.pid:
            process.join()
    finally:
        if process.pid:
            process.kill()
            process.join()


def _call(log: Path, function: Callable[..., Any], arguments: tuple) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with log.open("ab") as file:
        # Also what libraries say by themselves.
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    function(*arguments)


class _Worker(NamedTuple):
    process: BaseProcess
    pipe: Connection


@contextmanager
def _worker(start: Callable[..., None] | None, arguments: tuple) -> Iterator[_Worker]:
    # Spawned, not forked: this process may have threads and a CUDA context, which forking breaks.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, start, arguments), daemon=True)
    try:
        process.start()
    except OSError as error:
        raise UserError(f"a worker process cannot be started ({error.strerror}); {GO_ON}") from error
    # The worker's end is the worker's alone, so that it closes when the worker dies.
    theirs.close()
    try:
        yield _Worker(process, ours)
    finally:
        process.kill()
        process.join()
        ours.close()


def _run(team: list[_Worker], function: Callable[[Any], Any], items: Iterable) -> Iterator:
    waiting, busy = iter(items), {}

    def give_next(worker: _Worker) -> None:
        for item in waiting:
            with _alive(worker):
                worker.pipe.send((function, item))
            busy[worker.pipe] = worker
            return

    for worker in team:
        give_next(worker)
    while busy:
        # Pieces take very different times; in order, fast ones would wait for a slow one.
        for pipe in wait(list(busy)):
            worker = busy.pop(pipe)
            with _alive(worker):
                is_result, value = pipe.recv()
            if not is_result:
                raise value
            give_next(worker)
            yield value


@contextmanager
def _alive(worker: _Worker) -> Iterator[None]:
    """UserError where the pipe of `worker` breaks, because it died."""
    try:
        yield
    except (EOFError, OSError) as error:
        worker.process.join()
        code = worker.process.exitcode
        how = f"died of signal {-code}" if code < 0 else f"ended with exit code {code}"
        if code == -getattr(signal, "SIGKILL", 9):
            how = "was killed, as the system does where memory is short"
        raise UserError(f"a worker process {how}; {GO_ON}") from error


@contextmanager
def _signals_left_to_this_process() -> Iterator[None]:
    """Ctrl-C and SIGTERM, which often go to all processes, do not reach those that are spawned meanwhile.

    This process alone reports them and stops its workers. Blocked and not ignored: one that comes meanwhile is kept.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # multiprocessing starts it with the first process, and would let the signals through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, start: Callable[..., None] | None, arguments: tuple) -> None:
    """What a worker does: pieces, until its pipe is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # A start that fails is what the first piece gives.
    failure = _outcome(lambda _: start(*arguments) if start else None, None)
    while True:
        try:
            function, item = pipe.recv()
            outcome = _outcome(function, item) if failure[0] else failure
            try:
                pipe.send(outcome)
            except (OSError, EOFError):
                raise
            except Exception as error:  # a result that cannot be pickled
                pipe.send((False, error))
        except (OSError, EOFError):
            # Silently: the parent is gone.
            os._exit(1)


def _outcome(function: Callable[[Any], Any], item: Any) -> tuple[bool, Any]:
    """(True, the result) or (False, the error)."""
    try:
        return True, function(item)
    except Exception as error:
        return False, ExceptionWithTraceback(error, error.__traceback__)


def _end_with_parent() -> None:
    """Exit when the parent was killed, also in the midst of a long piece."""
    parent_process().join()
    os._exit(1)
