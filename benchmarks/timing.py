"""Timing that is fair on a shared machine: ways take turns, and medians are compared."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

import torch

MIN_SAMPLES, MAX_SAMPLES = 3, 15


class Way(NamedTuple):
    """One way of doing something: `call()` processes `count` items, at full speed after `warm_up` calls."""

    call: Callable[[], object]
    count: int = 1
    warm_up: int = 1


def median_rates(
    ways: Mapping[str, Way],
    seconds: float,
    shortest: float,
    begin: Callable[[str], object] = lambda name: None,
) -> dict[str, float]:
    """Items per second of each way: medians over samples that the ways take in turns, after warming up.

    Samples are taken for about `seconds`, and at least 3 of each way; what takes less than `shortest` seconds is
    repeated. `begin(name)` is called before a way's turn.
    """
    repeats, samples = {}, {}
    for name, way in ways.items():
        begin(name)
        for _ in range(way.warm_up):
            way.call()
        once = _time(way.call, 1)
        repeats[name] = max(1, round(shortest / once))
        # A call that is long enough is a sample already, which saves one call of slow measures.
        samples[name] = [way.count / once] if repeats[name] == 1 else []
    deadline = time.perf_counter() + seconds
    while True:
        taken = min(len(values) for values in samples.values())
        if taken >= MAX_SAMPLES or (taken >= MIN_SAMPLES and time.perf_counter() > deadline):
            return {name: median(values) for name, values in samples.items()}
        for name, way in ways.items():
            begin(name)
            samples[name].append(way.count * repeats[name] / _time(way.call, repeats[name]))


@contextmanager
def busy_process() -> Iterator[None]:
    """Beside the body, another process keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _time(call: Callable[[], object], repeats: int) -> float:
    _synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    _synchronize()
    return time.perf_counter() - started


def _synchronize() -> None:
    # Calls on a GPU return before the work is done.
    if torch.cuda.is_available():
        torch.cuda.synchronize()
