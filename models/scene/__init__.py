"""Neural scene decomposition for several people in full frames (Rhodin et al., CVPR 2019)."""

from models.parts.options import ENCODER_START_KEYS, POSE_DECODER_KEYS
from models.scene.network import DetectEncodeDecode as Network
from models.scene.options import ARCHITECTURE_KEYS, BEHAVIOR_KEYS, name_parts
from models.scene.published import POSE_STATISTICS, is_published, published_names

POSE_DECODER = "pose_decoder"
# It chooses frames, matching and composing anew.
KEPT_IN_STAGE1: tuple[str, ...] = ()
# The network of stage 2 may have no image decoder, and composes no frames.
STAGE1_ONLY = (
    "decoder",
    *("training_mode", "output_types", "latent_dropout", "shuffle_fg", "shuffle_3d", "offset_crop", "dropout_to3Dpose"),
)

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
