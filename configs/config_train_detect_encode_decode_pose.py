"""Stage 2 of several people in full frames, 3D poses from few labels: what changes against stage 1."""

from utils.keys import defaults
from utils.scene_keys import SCENE_KEYS

config_dict = {
    **defaults(SCENE_KEYS),
    "training_mode": "pose",
    "output_types": ["3D"],
    # Rendered people and those of recordings have other numbers than the published subject 1.
    "label_subjects": None,
    # No frame is composed: there is nothing to shuffle, and no decoder to regularize.
    "useCamBatches": 0,
    "shuffle_fg": False,
    "shuffle_3d": False,
    "latent_dropout": 0.0,
    "num_training_iterations": 100_000,
    "test_every": 1000,
}
