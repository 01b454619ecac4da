"""The method and supervision on the wild world with 1 % of the labels, both with the same changes of the labeled crops.

Stage 1 sees crops as they are: to change them costs poses at this length (docs/results.md).
"""

from configs.config_demo import DECODER
from configs.config_robust import AUGMENTATION
from configs.config_robust_pose import config_dict as copies
from configs.config_silhouettes import SILHOUETTES
from configs.config_train_better import RECIPE
from configs.config_train_better_pose import LABELS
from configs.suites.labels import METHOD, SUPERVISED, group, schedules

LONGER = {"num_training_iterations": 14_000, "test_every": 2000}

suite = {
    "title": "3D pose in the wild world with 1 % of the labels",
    "labels": [0.01],
    "stage1": {"actor_subset": None},
    "stage2": {"actor_subset": None, "label_subjects": None},
    "rows": {
        METHOD: {"stage1": {**RECIPE, **DECODER, **SILHOUETTES, **LONGER}, "stage2": {**LABELS, **copies}},
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
