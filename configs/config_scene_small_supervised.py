"""Supervised baseline of config_scene_small_pose.py: the same detector and encoder, trained on these labels alone.

Boxes are labels too, where the set has them.
"""

from configs.config_scene_small_pose import config_dict as stage2
from configs.config_train_better import MUON

config_dict = {
    **stage2,
    "training_mode": "pose",
    "freeze_encoder": False,
    # With Adam and the rate of stage 2 its poses stay the mean pose, and with distances they are 3 % worse on held-out
    # frames (docs/results/scene.md).
    **MUON,
    "learning_rate": 6e-3,
    "pose_loss": "squared",
    # Frames are read in every epoch.
    "preload_images": True,
    # Yaw and noise of the points are for points that stage 1 taught to rotate.
    "augment_yaw": 0.0,
    "augment_points": 0.0,
}
