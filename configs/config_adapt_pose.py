"""Stage 2 of an adaptation: encoder and pose decoder learn from labels of the recording, beside rendered people.

    python configs/train_encodeDecode_pose.py --config configs/config_adapt_pose.py network_path=output/latest \\
        dataset_folder_train=data/mine

Labels of `dataset_folder_train` may be few (`label_fraction`) or triangulated (prepare_videos.py --triangulate).
"""

from configs.config_adapt import SETS
from configs.config_train_encodeDecode_pose import config_dict as published

config_dict = {
    **published,
    **SETS,
    # The run of config_adapt.py has poses, so that nothing begins anew.
    "freeze_encoder": False,
    "label_fraction": 1.0,
    "label_subjects": None,
    "latent_dropout": 0.0,
    "dropout_to3Dpose": 0.1,
    "augment_mirror": True,
    "learning_rate_schedule": "cosine",
    "num_training_iterations": 600,
    "learning_rate": 3e-4,
    "test_every": 50,
}
