"""Stage 1 on rendered people at 64 px with a small network: the base of the suites of experiments."""

from configs.config_train_encodeDecode import config_dict as published

config_dict = {
    **published,
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
    # So few iterations do not overfit: dropout would only slow them down.
    "latent_dropout": 0.0,
    # With L1, limbs that are visible less than half the time disappear; with L2 they appear faintly, and are learned.
    "MAE": False,
    # The background need not be learned, so that a decoder with a quarter of the published channels is enough, which
    # trains almost twice as fast.
    "add_background": True,
    # A colored shape is a product of mask and color, which convolutions do not learn within minutes: it is built in.
    "color_by_appearance": True,
    "loss_weight_imageNet": 0.0,
    "perceptual_weights": None,
    # With the published shuffle half of the targets are the crop's own view, and teach no rotation.
    "target_other_view": True,
    # Five people must stand for many: mirror images and changed colors add some variety.
    "augment_mirror": True,
    "augment_color": 0.1,
    # A short run gains most from a schedule that ends at zero.
    "num_training_iterations": 8000,
    "learning_rate": 2e-3,
    "learning_rate_schedule": "cosine",
    "test_every": 1500,
    "plot_every": 1500,
}
