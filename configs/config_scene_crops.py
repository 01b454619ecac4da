"""Stage 1 on crops that crop_scenes.py cut out of full frames: the encoder and decoder of config_scene_small.py."""

from configs.config_64px import config_dict as base

config_dict = {
    **base,
    "training_set": "scene_crops",
    "actor_subset": None,
    # A decoder that takes half of the time, as in the demo.
    "upsampling_bilinear": False,
    "skip_background": False,
    "optimizer": "muon",
    "weight_decay": 0.1,
    "num_training_iterations": 8000,
}
