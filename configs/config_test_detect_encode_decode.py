"""Viewing and testing several people in full frames: what changes against stage 2. Unchanged, it shows the packaged
example."""

from configs.config_train_detect_encode_decode_pose import config_dict as stage2
from utils.paths import ROOT, packaged_weights

config_dict = {
    **stage2,
    "network_path": str(packaged_weights("scenes")),
    "dataset_folder_test": str(ROOT / "examples" / "scenes"),
    "output_types": ["3D", "spatial_transformer"],
}
