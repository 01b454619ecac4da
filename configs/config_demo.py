"""Stage 1 of the demo: rendered people at 64 px, a small network, minutes on two CPU cores."""

from configs.config_train_encodeDecode import config_dict as published
from utils.paths import WORK

DEMO = WORK / "output" / "demo"

config_dict = {
    **published,
    "dataset_folder_train": str(DEMO / "train"),
    "dataset_folder_test": str(DEMO / "test"),
    "training_set": "rendered64",
    "output_folder": str(DEMO),
    "preload_images": True,
    # a small network for small crops; no ImageNet weights, which need a download
    "encoderType": "ResNet18",
    "encoder_width": 32,
    "encoder_weights": None,
    "inputDimension": 64,
    "feature_scale": 8,
    "latent_fg": 32,
    "latent_3d": 600,
    "width_to3Dpose": 512,
    # few iterations leave nothing to regularise
    "latent_dropout": 0.0,
    # absolute differences leave out a limb that is less likely than not; squared ones paint it faintly, and learn it
    "MAE": False,
    # nothing need be learned to copy the background, so that a decoder of a quarter of the published widths is enough:
    # it makes almost twice as many steps in the same time
    "add_background": True,
    # what a shape looks like is a product, of a layer and a color: learned within minutes only where it is built in
    "color_by_appearance": True,
    "loss_weight_imageNet": 0.0,
    "perceptual_weights": None,
    # every pair teaches the rotation; the published shuffle makes half of them plain auto-encoding
    "target_other_view": True,
    # five people must stand for many: their motions and rooms in the mirror too, in slightly other colours
    "augment_mirror": True,
    "augment_color": 0.1,
    # few iterations: a schedule that ends at zero
    "num_training_iterations": 8000,
    "learning_rate": 2e-3,
    "learning_rate_schedule": "cosine",
    "test_every": 1500,
    "plot_every": 1500,
}
