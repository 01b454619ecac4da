"""What the parts of the method are worth: each row leaves one out, with 1 % of the labels."""

FULL = "the method"

suite = {
    "title": "Ablations with 1 % of the labels",
    "labels": [0.01],
    # labels as published; only features that turn with the person would allow to turn labels about the vertical
    "stage2": {"label_subjects": None, "augment_yaw": 0.0, "augment_mirror": False},
    "rows": {
        FULL: {},
        "the method, labels turned about the vertical": {"stage2": {"augment_yaw": 180.0}},
        # the target is always the crop's own view: points are never turned
        "no rotation": {"stage1": {"shuffle_3d": False}},
        "implicit rotation": {"stage1": {"implicit_rotation": True}},
        # one code has to tell pose and appearance: nothing can be taken from another instant
        "no appearance": {"stage1": {"latent_fg": 0, "shuffle_fg": False, "color_by_appearance": False}},
        "no background": {"stage1": {"skip_background": False, "add_background": False}},
        # every crop paints itself, background and all, from its own code
        "plain auto-encoder": {
            "stage1": {"shuffle_3d": False, "shuffle_fg": False, "skip_background": False, "add_background": False}
        },
        "U-Net encoder": {"stage1": {"encoderType": "UNet"}},
        "pose decoder with 1 hidden layer": {"stage2": {"n_hidden_to3Dpose": 1}},
        "no perceptual loss": {"stage1": {"loss_weight_imageNet": 0.0}, "scale": 128},
        # the base at 64 px has none (ImageNet weights are a download): there the row adds it, with whatever weights
        # perceptual_weights names; None: random ones
        "with a perceptual loss": {"stage1": {"loss_weight_imageNet": 2.0}, "scale": 64},
    },
    "reference": FULL,
    "views": True,
}
