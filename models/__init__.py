"""Networks and their checkpoints, without datasets and training. METHODS names the methods."""

from models.checkpoints import (
    Checkpoint,
    PublishedReport,
    load_pose_decoder,
    load_published_weights,
    load_weights,
    network_of,
    read_checkpoint,
    save_weights,
)
from models.geometry_aware.network import OUTPUT_TYPES, EncodeDecode
from models.methods import METHODS, build_network, method_of
from models.parts.latent import evaluation_permutations, training_permutations

__all__ = [
    "METHODS",
    "OUTPUT_TYPES",
    "Checkpoint",
    "EncodeDecode",
    "PublishedReport",
    "build_network",
    "evaluation_permutations",
    "load_pose_decoder",
    "load_published_weights",
    "load_weights",
    "method_of",
    "network_of",
    "read_checkpoint",
    "save_weights",
    "training_permutations",
]
