"""Viewing and testing: what changes against stage 2. Unchanged, it shows the packaged example."""

from configs.config_train_encodeDecode_pose import config_dict as stage2
from utils.paths import ROOT

config_dict = {
    **stage2,
    "network_path": str(ROOT / "examples" / "weights" / "benchmark64.safetensors"),
    "dataset_folder_test": str(ROOT / "examples" / "sample_set"),
    "output_types": ["img_crop", "3D"],
}
