"""Stage 1 that goes on from trained weights on a recording of your own, without labels of it, in minutes on two cores.

    python configs/train_encodeDecode.py --config configs/config_adapt.py dataset_folder_train=data/mine

Half of each batch is the recording, which teaches how its cameras see its person: views of one camera from another, and
poses that agree between cameras. The other half are rendered people, whose known poses keep what the points mean.
`dataset_folder_mixed` must have the size of the weights' crops, and masks, with which these people are put into the
recording's room:

    python configs/render_dataset.py --output data/wild/train --crops 8000 --world wild --size 128

The run has poses too: test it, or go on with config_adapt_pose.py where a part of the recording has labels.
"""

from configs.config_train_better_pose import DISTANCE
from configs.config_train_encodeDecode import config_dict as published
from utils.paths import WORK, packaged_weights

# What both stages of an adaptation share.
SETS = {
    "training_set": "adapted",
    "dataset_folder_train": str(WORK / "data" / "mine"),
    "dataset_folder_mixed": str(WORK / "data" / "wild" / "train"),
    "actor_subset": None,
    # Rendered people are many and a recording is one, which half of the batches is enough to learn.
    "mixed_fraction": 0.5,
    "preload_images": True,
    **DISTANCE,
}

# No key of the architecture is changed here: it is that of the weights, whichever they are.
config_dict = {
    **published,
    **SETS,
    "pretrained_network_path": str(packaged_weights("wild128")),
    "mixed_background": 0.5,
    "loss_weight_3d": 1.0,
    # Chosen on another recording than the one in the box (docs/adaptation.md).
    "loss_weight_agreement": 10.0,
    "MAE": False,
    "loss_weight_imageNet": 0.0,
    "latent_dropout": 0.0,
    "dropout_to3Dpose": 0.1,
    "target_other_view": True,
    "augment_mirror": True,
    "learning_rate_schedule": "cosine",
    "num_training_iterations": 600,
    # Less than what a new network learns with: the weights are to move, and not to be lost.
    "learning_rate": 5e-4,
    "test_every": 200,
    "plot_every": 300,
}
