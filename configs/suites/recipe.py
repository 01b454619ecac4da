"""What beats the published recipe at the same number of iterations: one change at a time, then all that helped."""

from configs.config_train_better import RECIPE
from configs.config_train_better_pose import LABELS
from configs.config_train_encodeDecode import config_dict

PUBLISHED = "published recipe"
BETTER = "config_train_better.py"
# The base at 64 px, config_64px.py, has another recipe: this undoes it, and keeps network and schedule length.
published = {key: config_dict[key] for key in RECIPE}
_wider = {**RECIPE, "encoder_width": 64}
_colors_alone = {**RECIPE, "loss_weight_masks": 0.0}
_layers = {"add_background": True, "color_by_appearance": True}

_changes = {
    PUBLISHED: {},
    "target always another view": {"target_other_view": True},
    "L2 loss": {"MAE": False},
    "predicts the difference to the background": {"add_background": True},
    "colors by appearance": {"color_by_appearance": True},
    "difference to the background, colors by appearance": _layers,
    "silhouettes, difference to the background, colors by appearance": {
        **_layers,
        "loss_weight_masks": RECIPE["loss_weight_masks"],
    },
    "no dropout": {"latent_dropout": 0.0},
    "targets from all four cameras": {"useCamBatches": 4},
    "Muon": {"optimizer": "muon"},
    "cosine schedule": {"learning_rate_schedule": "cosine"},
    "weight decay": {"weight_decay": 0.05},
    "mirrored pairs": {"augment_mirror": True},
    "color augmentation": {"augment_color": 0.3},
    "in-plane rotation": {"augment_rotation": 30.0},
}

suite = {
    "title": "Recipes with 1 % of the labels, at the same number of iterations",
    "labels": [0.01],
    "stage2": {"label_subjects": None, "augment_yaw": 0.0, "augment_mirror": False},
    "rows": {
        **{name: {"stage1": {**published, **change}} for name, change in _changes.items()},
        "no sigmoid bottleneck": {"stage1": {**published, "sigmoid_bottleneck": False}, "scale": 128},
        "larger encoder": {"stage1": {**published, "encoder_width": 64}, "scale": 64},
        # Half the width makes up for the time that the finer map takes.
        "encoder with a finer last map": {
            "stage1": {**published, "encoder_max_pool": False, "encoder_width": 16},
            "scale": 64,
        },
        "labels rotated about the vertical": {"stage1": published, "stage2": {"augment_yaw": 180.0}},
        "mirrored labels": {"stage1": published, "stage2": {"augment_mirror": True}},
        "rotated and mirrored labels": {"stage1": published, "stage2": LABELS},
        BETTER: {"stage1": RECIPE},
        f"{BETTER}, rotated and mirrored labels": {"stage1": RECIPE, "stage2": LABELS},
        f"{BETTER} without silhouettes, rotated and mirrored labels": {"stage1": _colors_alone, "stage2": LABELS},
        f"{BETTER}, larger encoder": {"stage1": _wider, "scale": 64},
        f"{BETTER}, larger encoder, rotated and mirrored labels": {"stage1": _wider, "stage2": LABELS, "scale": 64},
    },
    "reference": PUBLISHED,
    "method": BETTER,
    "views": True,
}
