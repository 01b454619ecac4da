"""Stage 2 of the demo: poses from 1 % of the labels of all training subjects."""

from configs.config_demo import config_dict as demo
from configs.config_train_encodeDecode_pose import config_dict as stage2
from configs.config_train_encodeDecode_pose import optional_keys  # noqa: F401

_CHANGED = (
    "network_path",
    "label_subjects",
    "freeze_encoder",
    "output_types",
    "shuffle_fg",
    "shuffle_3d",
    "latent_dropout",
)

config_dict = {
    **demo,
    **{key: stage2[key] for key in _CHANGED},
    "label_subjects": None,
    "label_fraction": 0.01,
    "num_training_iterations": 3000,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "test_every": 100,
}
