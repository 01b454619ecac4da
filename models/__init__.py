"""The network and its checkpoints. `models` knows no data set, no training and no file format but checkpoints."""

from models.checkpoints import Checkpoint, load_network, load_weights, read_checkpoint, save_weights
from models.geometry_aware.network import OUTPUT_TYPES, EncodeDecode, build_network
from models.geometry_aware.published import PublishedReport, is_published, load_published_weights
from models.parts.latent import evaluation_permutations, training_permutations

__all__ = [
    "OUTPUT_TYPES",
    "Checkpoint",
    "EncodeDecode",
    "PublishedReport",
    "build_network",
    "evaluation_permutations",
    "is_published",
    "load_network",
    "load_published_weights",
    "load_weights",
    "read_checkpoint",
    "save_weights",
    "training_permutations",
]
