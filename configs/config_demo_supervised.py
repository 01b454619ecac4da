"""The demo's supervised baseline: the same encoder trained on the same labels alone, without stage 1."""

from configs.config_demo_pose import config_dict as demo_pose

config_dict = {
    **demo_pose,
    "network_path": None,
    "freeze_encoder": False,
    "num_training_iterations": 400,
    "test_every": 25,
}
