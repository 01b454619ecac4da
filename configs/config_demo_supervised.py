"""The demo's supervised baseline: the same encoder trained on the same labels alone, without stage 1."""

from configs.config_demo_pose import config_dict as demo_pose
from configs.config_train_better import MUON

config_dict = {
    **demo_pose,
    "network_path": None,
    "freeze_encoder": False,
    # Held-out poses choose all: with Adam, 1e-3 to 5e-3, they have 127 to 140 mm, with Muon 109, and with it 113 by a
    # linear schedule, and 114 to 116 where distances are the loss (docs/speed.md).
    **MUON,
    "learning_rate": 4e-3,
    "pose_loss": "squared",
    "num_training_iterations": 400,
    "test_every": 50,
}
