"""Peak memory of two training steps, in a process of its own: `python -m benchmarks.peak WAY DATA < config`."""

import ast
import resource
import sys

import torch

from benchmarks.measures import training_way
from benchmarks.setups import Setup, make_network
from datasets.reader import MultiViewDataset


def main() -> None:
    way, data = sys.argv[1:]
    config = ast.literal_eval(sys.stdin.read())
    dataset = MultiViewDataset(data, progress=False)
    setup = Setup(config, config, *make_network(config, way), dataset, dataset)
    step = training_way(way, setup).call
    step(), step()
    if setup.hardware.device.type == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


if __name__ == "__main__":
    main()
