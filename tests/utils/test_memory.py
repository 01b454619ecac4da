"""Memory that tensors on a CPU have freed is used again."""

import resource
import subprocess
import sys

import pytest

from utils.memory import keep_freed_memory

# in a process of its own, which has no other memory to reuse: pages that 20 tensors of 40 MiB take from the system
FAULTS = """
import resource, torch
from utils.memory import keep_freed_memory
assert keep_freed_memory({keep})
for _ in range(20):  # the heap takes its shape
    torch.zeros(10 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.zeros(10 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="not glibc")
def test_freed_memory_is_kept_or_given_back():
    pages = 20 * (40 << 20) // resource.getpagesize()

    def faults(keep: bool) -> int:
        return int(subprocess.check_output([sys.executable, "-c", FAULTS.format(keep=keep)], text=True))

    assert faults(keep=True) < pages / 20
    # the system may hand out larger pages than it names
    assert faults(keep=False) > 2 * faults(keep=True)


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
