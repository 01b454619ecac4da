"""Stage 1 of several people on frames of 228 x 128 px with a small network, second part: 38 minutes.

It starts from what was learned before: the detector of config_scene_boxes.py, and encoder and image decoder of
config_scene_crops.py. Give `pretrained_network_path` and `pretrained_crops_path` (docs/training.md).
"""

from configs.config_train_detect_encode_decode import config_dict as published

config_dict = {
    **published,
    "fullFrameResolution": [228, 128],
    "preload_images": True,
    # A small network for small crops, without ImageNet weights, which would have to be downloaded.
    "encoderType": "ResNet18",
    "encoder_width": 32,
    "encoder_weights": None,
    "detector_width": 16,
    "inputDimension": 64,
    "feature_scale": 8,
    "latent_fg": 32,
    # With it all weights take less than 8 MB in half precision.
    "width_to3Dpose": 256,
    # So few iterations do not overfit: dropout would only slow them down.
    "latent_dropout": 0.0,
    "loss_weight_imageNet": 0.0,
    "perceptual_weights": None,
    # Boxes: they start apart, are square in pixels as crops are, and see what differs from the background. Crops need
    # not fade to their borders, because boxes learn from losses of their own.
    "spatial_transformer": True,
    "distinct_starts": True,
    "square_boxes": True,
    "smooth_detector_input": True,
    "detector_background": True,
    "spatial_transformer_bounds": {"border_factor": 0.9, "min_size": 0.15, "max_size": 1.0},
    # Boxes learn to cover what differs from the background: what is composed alone leaves some lost in a corner. Their
    # depths are those at which rays through matched boxes meet, and there they are 2 m wide, as crops of one person.
    "loss_weight_boxes": 0.0,
    "loss_weight_cover": 0.02,
    "loss_weight_depth": 0.01,
    "loss_weight_size": 0.02,
    # Masks learn silhouettes: colors teach them little where a person looks like what is behind.
    "loss_weight_masks": 3.0,
    # Two boxes that share the only person of a frame are two people.
    "loss_weight_people": 0.005,
    # The encoder knows how people turn, and would forget it.
    "train_encoder": False,
    # No two boxes show one person, and points are of a camera that looks at the box, as its crop shows them.
    "match_one_to_one": True,
    "perspectiveCorrection": True,
    # The image decoder is that of one person, whose layers are colored by the appearance and hide the background.
    "color_by_appearance": True,
    "masks_of_layers": True,
    "upsampling_bilinear": False,
    "decoder_batch_norm": True,
    "decoder_rate": 1.0,
    # Masks: of nobody they are empty, and nothing shines through a person.
    "empty_masks": True,
    "opaque_masks": True,
    # The frame's brightness counts, and the target is always another view.
    "match_statistics": False,
    "target_other_view": True,
    "batch_size_train": 16,
    "batch_size_test": 16,
    "validation_crops": 256,
    # A short run gains most from a schedule that ends at zero.
    "num_training_iterations": 12_000,
    "optimizer": "muon",
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
    "learning_rate_schedule": "cosine",
    # Twice as many rooms: how far somebody is, is easily remembered.
    "augment_mirror": True,
    "test_every": 1000,
    "plot_every": 1000,
}
