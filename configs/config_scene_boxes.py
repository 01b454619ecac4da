"""Several people, first part: the detector learns in minutes where people are (second: config_scene_small.py)."""

from configs.config_scene_small import config_dict as second_part

config_dict = {
    **second_part,
    # What else it learns meanwhile is replaced.
    "train_encoder": True,
    "loss_weight_people": 0.0,
    "loss_weight_masks": 0.0,
    "num_training_iterations": 1500,
    "learning_rate": 2e-3,
    "test_every": 500,
    "plot_every": 500,
}
