"""Stage 1 of several people, second part: what config_scene_small.py learned goes on, with one person in one box.

From the start, `loss_weight_people` lets no mask appear at all. Give `pretrained_network_path`.
"""

from configs.config_scene_small import config_dict as first_part

config_dict = {
    **first_part,
    # Two boxes that share the only person of a frame are two people.
    "loss_weight_people": 0.01,
    "num_training_iterations": 3600,
    "test_every": 600,
    "plot_every": 600,
}
