"""Stage 2 after config_robust.py: many changed copies of each label, encoded once.

Give it after the config of stage 2: `python configs/train_encodeDecode_pose.py --config
configs/config_train_better_pose.py --config configs/config_robust_pose.py network_path=RUN`.
"""

from configs.config_robust import AUGMENTATION

# Of 1 % of the labels. With all labels, 4 copies take as long to encode, and are enough.
config_dict = {**AUGMENTATION, "augment_copies": 32}
