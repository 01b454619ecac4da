"""The threads of a CPU: how many compute together, and batches that are computed side by side.

Threads that share one operation wait for one another at its end, hundreds of times in a step. Where another process
keeps one of them from its core, all of them wait. Threads with a batch each wait for nobody.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

Batch, Result = TypeVar("Batch"), TypeVar("Result")

# Crops from this size on, in pixels, keep all threads busy. An operation on smaller ones takes less than a
# millisecond: on two cores the second thread gains 35 to 42 % where both are idle, and beside one busy
# process two threads reach less than half the rate of one (docs/speed.md).
LARGE = 128


def training_threads(config: Mapping[str, Any], parts: int = 1) -> int:
    """Threads of a training on a CPU, for each of the `parts` of a batch side by side: `threads` of the config.

    By default all, and half of them for small crops in one part.

    "All" is what torch takes, or OMP_NUM_THREADS. The number decides the last digits of sums, so it must depend on
    config and machine alone, and not on what else the machine does.
    """
    if config["threads"] is not None:
        return config["threads"]
    usable = torch.get_num_threads()
    if parts > 1:
        return max(1, usable // parts)
    if config["inputDimension"] >= LARGE or "OMP_NUM_THREADS" in os.environ:
        return usable
    return max(1, usable // 2)


def resumed_threads(begun: int | None, config: Mapping[str, Any], parts: int = 1) -> tuple[int, str]:
    """Threads of a run that trained with `begun` before (None: it has not begun), and what is to be said of them.

    They are as many as before, so that the last digits stay, unless that was on a larger machine than this one: then
    those of a run that begins here.
    """
    own, most = training_threads(config, parts), max(1, torch.get_num_threads() // parts)
    if begun is None or begun == own:
        return own, ""
    if begun > most:
        return own, f"threads: {own}, where this run began with {begun} on a larger machine: last digits will differ"
    given = "" if config["threads"] is None else f", in place of {config['threads']}"
    return begun, f"threads: {begun}, with which this run began{given}"


@contextmanager
def compute_threads(count: int) -> Iterator[None]:
    """Compute with `count` threads in the body."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def map_batches(
    function: Callable[[Batch], Result], batches: Iterable[Batch], device: torch.device
) -> Iterator[Result]:
    """`function` of each batch, in their order; on a CPU as many at a time as it has threads, each by one thread.

    The results do not depend on the number of threads. `function` must set its own modes (`no_grad`, `autocast`), which
    belong to a thread, and must not change what the calls share.
    """
    if device.type != "cpu":
        yield from map(function, batches)
        return
    workers = torch.get_num_threads()
    # Restored at the end, because a new thread computes with as many threads as were set last, by any thread.
    with compute_threads(1), ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        running = deque()
        try:
            for batch in batches:
                running.append(pool.submit(function, batch))
                # One more than can run waits, so that no thread is idle while the next batch is read.
                if len(running) > workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for waiting in running:
                waiting.cancel()
