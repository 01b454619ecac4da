"""Stage 2 after config_robust.py: many changed copies of each label, encoded once.

Give it after the config of stage 2: `python configs/train_encodeDecode_pose.py --config
configs/config_train_better_pose.py --config configs/config_robust_pose.py network_path=RUN`.
"""

from configs.config_robust import AUGMENTATION

# For 1 % of the labels. Encoding grows with both: fewer copies where there are more labels.
config_dict = {**AUGMENTATION, "augment_copies": 32}
