"""Stage 2 of the demo: poses from 1 % of the labels of all training subjects."""

from configs.config_demo import config_dict as demo
from configs.config_train_encodeDecode_pose import config_dict as stage2

_STAGE2_KEYS = [key for key in stage2 if key not in demo]

config_dict = {
    **demo,
    **{key: stage2[key] for key in _STAGE2_KEYS},
    "output_types": ["3D"],
    "shuffle_fg": False,
    "shuffle_3d": False,
    "latent_dropout": 0.0,
    "label_subjects": None,
    "label_fraction": 0.01,
    "num_training_iterations": 4000,
    "learning_rate": 1e-3,
    # stage 1 taught the points to turn with the person: one label stands for all headings
    "augment_yaw": 180.0,
    # units that few labels never switch on have no variance; dividing by it would blow up the poses that do
    "pose_variance_floor": 0.1,
    "test_every": 100,
}
