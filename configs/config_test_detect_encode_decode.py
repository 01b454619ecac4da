"""Viewing and testing several people in full frames: what changes against stage 2. Unchanged, it shows the packaged
example."""

from configs.config_train_detect_encode_decode_pose import config_dict as stage2
from utils.paths import ROOT

config_dict = {
    **stage2,
    "network_path": str(ROOT / "examples" / "weights" / "scenes.safetensors"),
    "dataset_folder_test": str(ROOT / "examples" / "scenes"),
    "output_types": ["3D", "spatial_transformer"],
}
