"""The demo's supervised baseline: the same encoder trained on the same labels alone, without stage 1."""

from configs.config_demo_pose import config_dict as demo_pose

config_dict = {
    **demo_pose,
    "network_path": None,
    "freeze_encoder": False,
    # Of 1e-3 to 5e-3, held-out poses choose this one. Five times the iterations would take 6 % of its error, and a
    # minute (docs/speed.md).
    "learning_rate": 2e-3,
    "num_training_iterations": 400,
    "test_every": 25,
}
