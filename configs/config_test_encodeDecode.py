"""Viewing and testing: what changes against stage 2. Unchanged, it shows the packaged example."""

from configs.config_train_encodeDecode_pose import config_dict as stage2
from utils.paths import ROOT, packaged_weights

config_dict = {
    **stage2,
    "network_path": str(packaged_weights("benchmark64")),
    "dataset_folder_test": str(ROOT / "examples" / "sample_set"),
    "output_types": ["img_crop", "3D"],
}
