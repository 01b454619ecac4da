"""Viewing and testing several people in full frames: what changes against stage 2."""

from configs.config_train_detect_encode_decode_pose import config_dict as stage2

config_dict = {**stage2, "output_types": ["3D", "spatial_transformer"]}
