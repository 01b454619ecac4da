"""What the parts of the method are worth: each row leaves one out, with 1 % of the labels."""

METHOD = "the method"

suite = {
    "title": "Ablations with 1 % of the labels",
    "labels": [0.01],
    # Labels as published: not all of these rows have features that rotate with the person, as rotated labels need.
    "stage2": {"label_subjects": None, "augment_yaw": 0.0, "augment_mirror": False},
    "rows": {
        METHOD: {},
        "the method, labels rotated about the vertical": {"stage2": {"augment_yaw": 180.0}},
        # The target is always the input view: points are never rotated.
        "no rotation": {"stage1": {"shuffle_3d": False}},
        "implicit rotation": {"stage1": {"implicit_rotation": True}},
        # One code holds pose and appearance, so that nothing can be taken from another frame.
        "no appearance": {"stage1": {"latent_fg": 0, "shuffle_fg": False, "color_by_appearance": False}},
        "no background": {"stage1": {"skip_background": False, "add_background": False}},
        # Every crop is reconstructed, with its background, from its own code.
        "plain auto-encoder": {
            "stage1": {"shuffle_3d": False, "shuffle_fg": False, "skip_background": False, "add_background": False}
        },
        "U-Net encoder": {"stage1": {"encoderType": "UNet"}},
        "pose decoder with 1 hidden layer": {"stage2": {"n_hidden_to3Dpose": 1}},
        "no perceptual loss": {"stage1": {"loss_weight_imageNet": 0.0}, "scale": 128},
        # The base at 64 px has no perceptual loss, because ImageNet weights are a download: this row adds it, with the
        # weights that perceptual_weights names (None: random ones).
        "with a perceptual loss": {"stage1": {"loss_weight_imageNet": 2.0}, "scale": 64},
    },
    "reference": METHOD,
    "method": METHOD,
    "views": True,
}
