"""Tests run side by side on few cores and without a screen: one thread each, set before torch starts.

Where a test asks for more, threads that wait sleep: on a busy core they would take the time of the one they wait for.
"""

import os
import signal

import pytest

from utils import interrupts

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # more are processes, each of which imports torch
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session", autouse=True)
def small_pictures():
    """Trainings draw two examples, not eight: most of their time is pictures."""
    from utils import plotting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plotting, "MAX_ROWS", 2)
        yield


@pytest.fixture(autouse=True)
def signals_as_before():
    """Scripts that run in the process of the tests take Ctrl-C and SIGTERM over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    interrupts._caught.clear()
