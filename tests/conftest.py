"""Tests run side by side on few cores and without a screen: one thread each, set before torch starts."""

import os
import signal

import pytest

from utils import interrupts

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True)
def signals_as_before():
    """Scripts that run in the process of the tests take Ctrl-C and SIGTERM over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    interrupts._caught.clear()
