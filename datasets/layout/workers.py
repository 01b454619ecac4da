"""Process pools for jobs that consist of independent pieces."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any

from utils.cores import available_cores, single_threaded_children


def map_processes(
    function: Callable[[Any], Any],
    items: Iterable,
    workers: int | None = None,
    start: Callable[..., None] | None = None,
    arguments: tuple = (),
) -> Iterator:
    """Call `function` on every item by processes, at most one process per item; see `worker_pool`."""
    items = list(items)
    with worker_pool(min(len(items), workers or available_cores()), start, arguments) as run:
        yield from run(function, items)


@contextmanager
def worker_pool(
    workers: int | None = None, start: Callable[..., None] | None = None, arguments: tuple = ()
) -> Iterator[Callable[[Callable[[Any], Any], Iterable], Iterator]]:
    """Processes for several jobs: `run(function, items)` yields the results as they arrive, in any order.

    workers: number of processes; None: one per core that this process may use. With one, this process does the work
    itself; several compute with one thread each. start: called once with `arguments` in each process. Ctrl-C and errors
    stop all processes.
    """
    workers = workers or available_cores()
    if workers <= 1:
        if start:
            start(*arguments)
        yield map
        return
    # Ctrl-C is sent to all processes. Workers inherit that they ignore it, so that this process alone reports it and
    # stops them.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        # Spawned, not forked: the parent may have threads and a CUDA context, which forking breaks.
        with single_threaded_children():
            pool = get_context("spawn").Pool(workers, _start_worker, (start, arguments))
    finally:
        signal.signal(signal.SIGINT, handler)
    with pool:
        # Pieces take very different times; in order, fast ones would wait for a slow one.
        yield pool.imap_unordered


def _start_worker(start: Callable[..., None] | None, arguments: tuple) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start:
        start(*arguments)


def _end_with_parent() -> None:
    """Exit silently when the parent was killed; otherwise each worker prints a traceback of a broken pipe."""
    parent_process().join()
    os._exit(1)
