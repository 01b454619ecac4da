"""Neural scene decomposition for several people in full frames (Rhodin et al., CVPR 2019)."""

from models.parts.options import ENCODER_START_KEYS, POSE_DECODER_KEYS
from models.scene.network import DetectEncodeDecode as Network
from models.scene.options import ARCHITECTURE_KEYS, BEHAVIOR_KEYS, name_parts
from models.scene.published import is_published, published_names

__all__ = [
    "ARCHITECTURE_KEYS",
    "BEHAVIOR_KEYS",
    "ENCODER_START_KEYS",
    "POSE_DECODER_KEYS",
    "Network",
    "is_published",
    "name_parts",
    "published_names",
]
