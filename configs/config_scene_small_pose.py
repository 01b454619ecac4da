"""Stage 2 of several people on frames of 228 x 128 px: poses from 1 % of the labeled frames of all people."""

from configs.config_scene_small import config_dict as stage1
from configs.config_train_better_pose import DISTANCE
from configs.config_train_detect_encode_decode_pose import config_dict as stage2

config_dict = {
    **stage2,
    **stage1,
    # Of all frames, those with labels are read once.
    "preload_images": False,
    # Stage 1 overwrote these with its own values.
    "output_types": ["3D"],
    "useCamBatches": 0,
    "shuffle_3d": False,
    # The image decoder stays, so that one file of weights composes views and has poses.
    "training_mode": "both",
    "label_fraction": 0.01,
    "label_subjects": None,
    "num_training_iterations": 4000,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    # Stage 1 taught the points to rotate with the person, so that one label stands for all headings.
    "augment_yaw": 180.0,
    # Few labels, many points: noise as large as their deviation keeps the decoder from single ones.
    "augment_points": 1.0,
    # A unit that is active on none of the few labels has zero variance: divided by it, a test pose that activates the
    # unit would explode.
    "pose_variance_floor": 0.1,
    **DISTANCE,
    "test_every": 100,
}
