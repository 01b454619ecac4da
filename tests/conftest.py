"""Tests run side by side on few cores and without a screen: one thread each, set before torch starts.

Where a test asks for more, threads that wait sleep: on a busy core they would take the time of the one they wait for.
"""

import gc
import os
import random
import signal

import pytest

from utils import interrupts
from utils.cores import available_cores

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # more are processes, each of which imports torch
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Half as many more workers than cores: tests that wait for processes of their own leave cores idle."""
    cores = available_cores()
    return cores + cores // 2


def pytest_collection_finish(session):
    """Garbage is not looked for among the modules and tests, which stay."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Each test has the same random numbers, in whatever order tests run; fixtures of its module begin with them."""
    import numpy as np
    import torch

    # The seed of no training: a network that is built without one is another than those that were trained.
    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        set_seed(1968)


@pytest.fixture(scope="session", autouse=True)
def as_little_as_needed():
    """Trainings draw one example, not eight, and who leaves the number of workers open gets none.

    Most of a small training is pictures; and as many workers as there are cores would each import torch.
    """
    from datasets.layout import workers
    from utils import plotting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plotting, "MAX_ROWS", 1)
        patch.setattr(workers, "available_cores", lambda: 1)
        yield


@pytest.fixture(autouse=True)
def signals_as_before():
    """Scripts that run in the process of the tests take Ctrl-C and SIGTERM over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    interrupts._caught.clear()
