"""Stage 1 on rendered people at 64 px with a small network: the base of the suites of experiments."""

from configs.config_train_better import RECIPE
from configs.config_train_encodeDecode import config_dict as published

config_dict = {
    **published,
    **RECIPE,
    # What the suites measure is set apart: the recipe's optimizer, and its silhouettes.
    **{key: published[key] for key in ("optimizer", "weight_decay", "loss_weight_masks", "sigmoid_bottleneck")},
    "training_set": "rendered64",
    "preload_images": True,
    # A small network for small crops, without ImageNet weights, which would have to be downloaded.
    "encoderType": "ResNet18",
    "encoder_width": 32,
    "encoder_weights": None,
    "inputDimension": 64,
    "feature_scale": 8,
    "latent_fg": 32,
    "latent_3d": 600,
    "width_to3Dpose": 512,
    "perceptual_weights": None,
    "num_training_iterations": 8000,
    "test_every": 1500,
    "plot_every": 1500,
}
