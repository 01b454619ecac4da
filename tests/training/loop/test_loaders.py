"""Readers of crops."""

import os

import pytest
import torch

from datasets import MultiViewDataset
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE
from training.loop.loaders import make_loader


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_no_more_readers_than_cores(tmp_path, recwarn):
    dataset = MultiViewDataset(write_synthetic_layout(tmp_path / "set", SIZE), ("img_crop",))
    config = {"num_workers": 2, "preload_images": False}
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        loader = make_loader(dataset, [[0, 1], [2]], config)
        assert [len(batch["img_crop"]) for batch in loader] == [2, 1]
    finally:
        os.sched_setaffinity(0, cores)
    assert loader.num_workers == 1 and not recwarn.list
    assert torch.equal(next(iter(loader))["img_crop"][0], dataset[0]["img_crop"])
