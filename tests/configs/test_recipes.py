"""Config files that are given on top of others: they are valid, and a tiny set trains with what they change."""

import importlib

import pytest

from configs.config_train_encodeDecode import config_dict as stage1
from configs.config_train_encodeDecode_pose import config_dict as stage2
from tests.runs import losses
from tests.synthetic import write_synthetic_layout
from tests.tiny import CHANGES, SIZE
from training.stages.novel_views import train_novel_views
from training.stages.pose import train_pose
from utils.config import load_config
from utils.paths import ROOT

# What the size of the network and the packages of photographs decide, which a tiny set does without.
SMALL = {**CHANGES, "num_training_iterations": 2, "test_every": 2}
NO_PHOTOGRAPHS = {"augment_background_folder": None, "freeze_encoder_stem": False, "encoder_frozen_stages": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "train"
    return write_synthetic_layout(root, size=SIZE, sequences_per_subject=3, instants=4, masks=True)


def config_of(names: list[str], defaults: dict, data, output, kept: tuple[str, ...], **changes) -> dict:
    """The config of config files, made small but for the keys that are `kept`."""
    config, given = load_config([ROOT / "configs" / f"{name}.py" for name in names], [], defaults)
    own = importlib.import_module(f"configs.{names[-1]}").config_dict
    assert given and all(config[key] == value for key, value in own.items())
    small = {key: value for key, value in (SMALL | changes).items() if key not in kept}
    return {**config, **small, "dataset_folder_train": str(data), "output_folder": str(output)}


@pytest.mark.parametrize(
    ("names", "kept", "column"),
    [
        (["config_train_better", "config_robust"], (), "masks"),
        (["config_train_better", "config_silhouettes"], (), "masks"),
        (["config_wild"], ("encoderType",), "pose"),
    ],
    ids=["robust", "silhouettes", "wild"],
)
def test_stage_1_trains_with_it(data, tmp_path, names, kept, column):
    run = train_novel_views(config_of(names, stage1, data, tmp_path, kept, **NO_PHOTOGRAPHS))
    assert len(losses(run)) == 2 and column in (run.path / "debug_log_training.txt").read_text().partition("\n")[0]


def test_supervision_trains_with_changes_of_the_input_view(data, tmp_path):
    names = ["config_train_better_pose", "config_robust_pose"]
    changes = {"network_path": None, "freeze_encoder": False, "label_subjects": None, "label_fraction": 1.0}
    config = config_of(names, stage2, data, tmp_path, (), **changes, **NO_PHOTOGRAPHS)
    assert len(losses(train_pose(config))) == 2
