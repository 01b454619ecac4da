"""Stage 1 of the demo for boxes that a detector finds: what config_scene_small.py starts from, ten minutes.

The demo's network expects its person in the middle of the crop: boxes that are off by 12 cm make poses 60 % worse.
"""

from configs.config_demo import config_dict as demo

config_dict = {
    **demo,
    # As docs/results/scene.md was measured; whole frames teach masks later.
    "loss_weight_masks": 0.0,
    "batch_parts": 1,
    "learning_rate": 2e-3,
    "learning_rate_schedule": "cosine",
    "augment_shift": 0.1,
    "augment_scale": 0.15,
    "augment_blur": 1.0,
    "num_training_iterations": 8000,
    "test_every": 1500,
}
