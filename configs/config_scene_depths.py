"""Several people, third part: 10 minutes in which depths count more, from the network of config_scene_small.py.

Give `pretrained_network_path`. From the start they would cost recall: a box that is rough has a rough depth.
"""

from configs.config_scene_small import config_dict as second_part

config_dict = {
    **second_part,
    "loss_weight_depth": 0.1,
    "num_training_iterations": 3000,
    "learning_rate": 5e-4,
    "test_every": 500,
}
