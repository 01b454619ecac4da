"""Several people, first part: minutes that teach the detector where people are (config_scene_small.py is the last)."""

from configs.config_scene_small import config_dict as last_part

config_dict = {
    **last_part,
    # What else it learns from scratch meanwhile is replaced.
    "loss_weight_people": 0.0,
    "num_training_iterations": 1500,
    "learning_rate": 2e-3,
    "test_every": 500,
    "plot_every": 500,
}
