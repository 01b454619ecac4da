"""Stage 2, 3D pose from few labels on the features of stage 1: what changes against stage 1."""

from utils.keys import KEYS, defaults

config_dict = {
    **defaults(KEYS),
    "output_types": ["3D"],
    # No image is decoded: there is nothing to shuffle, and no decoder to regularize.
    "shuffle_fg": False,
    "shuffle_3d": False,
    "latent_dropout": 0.0,
    "num_training_iterations": 100_000,
    "test_every": 1000,
}
