"""The method and supervision on the wild world with 1 % of the labels.

The method sees crops as they are in both stages: to change them costs it poses at this length (docs/results.md), where
supervision gains from what keeps it from learning few crops by heart. It is best with the longest of its schedules,
which may not be long enough, and with distances as its loss, as the method is (docs/results.md).
"""

from configs.config_demo import DECODER
from configs.config_robust import AUGMENTATION
from configs.config_silhouettes import SILHOUETTES
from configs.config_train_better import RECIPE
from configs.config_train_better_pose import DISTANCE, LABELS
from configs.suites.labels import METHOD, STAGE2, SUPERVISED, group, schedules

LONGER = {"num_training_iterations": 66_000, "test_every": 3000}

suite = {
    "title": "3D pose in the wild world with 1 % of the labels",
    "preset": "wild",
    "labels": [0.01],
    "stage1": {"actor_subset": None},
    "stage2": {"actor_subset": None, "label_subjects": None},
    "rows": {
        METHOD: {"stage1": {**RECIPE, **DECODER, **SILHOUETTES, **LONGER}, "stage2": {**LABELS, **STAGE2}},
        **group(
            SUPERVISED,
            64,
            [
                {"stage1": None, "stage2": {**AUGMENTATION, **DISTANCE, **s}}
                for s in schedules((8_000, 32_000), (5e-4, 2e-3))
            ],
        ),
    },
    "reference": SUPERVISED,
    "method": METHOD,
    "views": True,
}
