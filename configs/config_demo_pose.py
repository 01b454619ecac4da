"""Stage 2 of the demo: poses from 1 % of the labels of all training subjects."""

from configs.config_64px_pose import config_dict as base
from configs.config_demo import DECODER, FOLDERS
from configs.config_train_better_pose import DISTANCE

config_dict = {
    **base,
    **FOLDERS,
    **DECODER,
    **DISTANCE,
    # As good as twice the iterations at half of the rate.
    "learning_rate": 2e-3,
    "num_training_iterations": 2000,
}
