"""Stage 2 on rendered people at 64 px: poses from 1 % of the labels of all training subjects."""

from configs.config_64px import config_dict as stage1
from configs.config_train_encodeDecode_pose import config_dict as stage2

config_dict = {
    **stage2,
    **stage1,
    # Stage 1 overwrote these with its own values.
    "output_types": ["3D"],
    "shuffle_fg": False,
    "shuffle_3d": False,
    "latent_dropout": 0.0,
    "label_subjects": None,
    "label_fraction": 0.01,
    "num_training_iterations": 4000,
    "learning_rate": 1e-3,
    # Stage 1 taught the points to rotate with the person, so that one label stands for all headings.
    "augment_yaw": 180.0,
    # A unit that is active on none of the few labels has zero variance: divided by it, a test pose that activates the
    # unit would explode.
    "pose_variance_floor": 0.1,
    "test_every": 100,
}
