"""What might improve config_train_better.py: one change at a time, with few and with many labels."""

from configs.config_train_better import RECIPE

BETTER = "config_train_better.py"

_changes = {
    BETTER: {},
    "targets from all four cameras": {"useCamBatches": 4},
    "in-plane rotation": {"augment_rotation": 20.0},
    "more color augmentation": {"augment_color": 0.3},
    "no weight decay": {"weight_decay": 0.0},
    "more weight decay": {"weight_decay": 0.2},
    "Adam instead of Muon": {"optimizer": "adam"},
    "Adam, no weight decay": {"optimizer": "adam", "weight_decay": 0.0},
    "50 points": {"latent_3d": 150},
}
_at_64_px = {
    "encoder of twice the width": {"encoder_width": 64},
    "encoder with a finer last map": {"encoder_max_pool": False},
    "encoder with a finer last map, of half the width": {"encoder_max_pool": False, "encoder_width": 16},
}

suite = {
    "title": "Changes to the better recipe, at the same number of iterations",
    "labels": [0.01, 0.25],
    "stage2": {"label_subjects": None},
    "rows": {
        **{name: {"stage1": {**RECIPE, **change}} for name, change in _changes.items()},
        **{name: {"stage1": {**RECIPE, **change}, "scale": 64} for name, change in _at_64_px.items()},
    },
    "reference": BETTER,
    "method": BETTER,
}
