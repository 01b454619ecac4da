"""Weights that users start from: views and poses of the wild rendered world at 128 px, from photographs on.

Not the protocol of the paper: it uses all rendered labels, which cost nothing, so that the encoder learns from both.

    pip install -e ".[photographs]"
    python configs/render_dataset.py --output data/wild --preset wild
    python configs/pack_dataset.py data/wild/train
    python configs/train_encodeDecode.py --config configs/config_wild.py

The packaged wild128 began as this run at commit 56a15ba, before backgrounds had somebody in them and with wider maps
(94 minutes on one core), and was trained on with what is here; examples/weights/README.md has the commands.
docs/results/robustness.md has what it gains on changed pictures.
"""

from configs.config_robust import AUGMENTATION
from configs.config_train_better import config_dict as better
from utils.paths import WORK

config_dict = {
    **better,
    **AUGMENTATION,
    # As the packaged weights were trained: labels teach limbs already.
    "loss_weight_masks": 0.0,
    "training_set": "wild",
    "dataset_folder_train": str(WORK / "data" / "wild" / "train"),
    # Weights remember it.
    "dataset_folder_test": str(WORK / "data" / "wild" / "test"),
    "actor_subset": None,
    "validation_crops": 512,
    # Its first layers know photographs: what rendered people teach is seen in real ones too. They stay as they are.
    "encoderType": "EfficientNetLite0",
    "encoder_weights": "imagenet",
    "freeze_encoder_stem": True,
    "encoder_frozen_stages": 2,
    # Three times what blurs a crop of 64 px.
    "augment_blur": 5.0,
    "augment_background": 0.8,
    "augment_background_folder": "packages",
    "perceptual_weights": None,
    # Few numbers, because points and their layers are most of the weights; and a decoder for two CPU cores.
    "encoder_width": 44,
    "latent_fg": 32,
    "latent_3d": 384,
    "num_encoding_layers": 5,
    "feature_scale": 8,
    "width_to3Dpose": 512,
    "upsampling_bilinear": False,
    "skip_background": False,
    # So many labels need little of it.
    "dropout_to3Dpose": 0.1,
    "loss_weight_3d": 1.0,
    # A pretrained network is tuned, which Muon's equal steps in all directions of a matrix would undo.
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "num_training_iterations": 12_000,
    "test_every": 2000,
    "plot_every": 2000,
}
