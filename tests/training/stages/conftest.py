"""A tiny set, and a run of stage 1 on it, for all tests of the stages."""

import pytest

from configs.config_train_detect_encode_decode import config_dict as SCENE_STAGE1
from configs.config_train_detect_encode_decode_pose import config_dict as SCENE_STAGE2
from tests.scenes import scene_changes, write_scenes
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from training.stages.novel_views import train_novel_views
from training.stages.scene_pose import train_scene_pose
from training.stages.scenes import train_scenes


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "train"
    return write_synthetic_layout(root, size=SIZE, subjects=(1, 5), sequences_per_subject=3, instants=6)


@pytest.fixture(scope="session")
def stage1(data, tmp_path_factory):
    return train_novel_views(tiny_config(data, tmp_path_factory.mktemp("output")))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes") / "train")


@pytest.fixture(scope="session")
def scene_stage1(scenes, tmp_path_factory):
    return train_scenes({**SCENE_STAGE1, **scene_changes(scenes, tmp_path_factory.mktemp("output"))})


@pytest.fixture(scope="session")
def scene_stage2(scenes, scene_stage1, tmp_path_factory):
    config = {**SCENE_STAGE2, **scene_changes(scenes, tmp_path_factory.mktemp("output"))}
    config |= {"network_path": str(scene_stage1.path), "label_subjects": None, "num_training_iterations": 12}
    return train_scene_pose(config)
