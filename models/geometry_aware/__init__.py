"""Unsupervised geometry-aware representation for 3D human pose (Rhodin, Salzmann, Fua, ECCV 2018)."""

from models.geometry_aware.network import ARCHITECTURE_KEYS
from models.geometry_aware.network import EncodeDecode as Network
from models.geometry_aware.published import is_published, published_names
from models.geometry_aware.run_name import name_parts
from models.parts.options import ENCODER_START_KEYS, POSE_DECODER_KEYS

# A trained network renders views as it was taught to.
BEHAVIOR_KEYS = KEPT_IN_STAGE1 = ("center_targets",)
POSE_DECODER = "to_pose"
# Its network has all parts in both stages.
STAGE1_ONLY: tuple[str, ...] = ()
# The published data set holds them.
POSE_STATISTICS = None

__all__ = [
    "ARCHITECTURE_KEYS",
    "BEHAVIOR_KEYS",
    "ENCODER_START_KEYS",
    "KEPT_IN_STAGE1",
    "POSE_DECODER",
    "POSE_DECODER_KEYS",
    "POSE_STATISTICS",
    "STAGE1_ONLY",
    "Network",
    "is_published",
    "name_parts",
    "published_names",
]
