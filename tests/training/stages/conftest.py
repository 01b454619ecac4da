"""A tiny set, and a run of stage 1 on it, for all tests of the stages."""

import pytest

from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from training.stages.novel_views import train_novel_views


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "train"
    return write_synthetic_layout(root, size=SIZE, subjects=(1, 5), sequences_per_subject=3, instants=6)


@pytest.fixture(scope="session")
def stage1(data, tmp_path_factory):
    return train_novel_views(tiny_config(data, tmp_path_factory.mktemp("output")))
