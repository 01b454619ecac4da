"""Stage 1 of the demo: more than config_64px.py learns, in half the time, minutes on two CPU cores."""

from configs.config_64px import config_dict as base
from configs.config_train_better import RECIPE
from utils.paths import WORK

DEMO = WORK / "output" / "demo"
FOLDERS = {
    "dataset_folder_train": str(DEMO / "train"),
    "dataset_folder_test": str(DEMO / "test"),
    "output_folder": str(DEMO),
}
# A decoder that takes half of the time: it renders the same views from the same points (docs/speed.md).
DECODER = {
    # Interpolation enlarges a map before it is convolved, at four times the positions.
    "upsampling_bilinear": False,
    # The output is added to the background: the decoder need not know what it hides.
    "skip_background": False,
}

config_dict = {
    **base,
    **FOLDERS,
    **DECODER,
    "loss_weight_masks": RECIPE["loss_weight_masks"],
    # Muon learns as much as Adam in two thirds of the iterations.
    "optimizer": "muon",
    "weight_decay": 0.1,
    # Poses gain more by it than by a cosine, and views by the lower rate.
    "learning_rate_schedule": "linear",
    "learning_rate": 1.5e-3,
    "num_training_iterations": 4700,
    "test_every": 2350,
    # Two cores compute half of a batch each, and wait for one another once a step: 1.4 times as fast as one core.
    "batch_parts": 2,
}
