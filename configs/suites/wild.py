"""The method and supervision on the wild world with 1 % of the labels, both with the same changes of the input view."""

from configs.config_robust import AUGMENTATION
from configs.config_robust_pose import config_dict as copies
from configs.config_train_better import RECIPE
from configs.config_train_better_pose import LABELS
from configs.suites.labels import METHOD, SUPERVISED, group, schedules

suite = {
    "title": "3D pose in the wild world with 1 % of the labels",
    "labels": [0.01],
    "stage1": {"actor_subset": None},
    "stage2": {"actor_subset": None, "label_subjects": None},
    "rows": {
        METHOD: {"stage1": {**RECIPE, **AUGMENTATION}, "stage2": {**LABELS, **copies}},
        **group(
            SUPERVISED,
            64,
            [{"stage1": None, "stage2": {**AUGMENTATION, **s}} for s in schedules((2_000, 8_000), (5e-4, 2e-3))],
        ),
    },
    "reference": SUPERVISED,
    "method": METHOD,
    "views": True,
}
