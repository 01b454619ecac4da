"""Peak memory of two training steps, in a process of its own: `python -m benchmarks.peak WAY DATA < config`."""

import ast
import resource
import sys
from pathlib import Path

import torch

from benchmarks.measures import configure_allocator, first_batch, training_step
from benchmarks.setups import Setup, make_network
from datasets.reader import MultiViewDataset


def main() -> None:
    way, data = sys.argv[1:]
    config = ast.literal_eval(sys.stdin.read())
    dataset = MultiViewDataset(data, progress=False)
    setup = Setup(config, config, *make_network(config, way), dataset, dataset)
    # training_way() would keep a second network, which training does not have.
    step, batch = training_step(way, setup), first_batch(setup)
    configure_allocator(way)
    # The optimizer's state exists from the first step on, so the second one has the peak.
    step(batch, 1), step(batch, 2)
    if setup.hardware.device.type == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print(peak_resident_mib())


def peak_resident_mib() -> float:
    """Peak of this process's resident memory."""
    # getrusage would do, but on Linux it also counts the pages that the parent had when it started this process.
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    (line,) = (line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


if __name__ == "__main__":
    main()
