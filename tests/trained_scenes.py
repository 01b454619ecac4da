"""Networks of several people for tests of what is done with trained ones: tiny, of random weights, in a file."""

from pathlib import Path

import torch

from models import build_network, save_weights
from tests.scene_networks import SMALL, SMALL_POSE, move_boxes

SIZE = 40, 72  # height and width of frames
_CHANGES = {"fullFrameResolution": [SIZE[1], SIZE[0]], "num_workers": 0, "batch_size_test": 4, "precision": "float32"}


def scene_network_config(mode: str, data: str | Path, **changes) -> dict:
    """The config of a tiny network of training mode `mode`, tested on the set in `data`."""
    outputs = {"NVS": ["img"], "pose": ["3D"], "both": ["img", "3D"]}[mode]
    stored = SMALL if mode == "NVS" else SMALL_POSE
    folders = {"dataset_folder_test": str(data)}
    return {**stored, **_CHANGES, "training_mode": mode, "output_types": outputs, **folders, **changes}


def write_scene_network(path: Path, mode: str, data: str | Path, **changes) -> Path:
    """Write its file, and return the path."""
    torch.manual_seed(0)
    config = scene_network_config(mode, data, **changes)
    network = build_network(config)
    move_boxes(network)
    save_weights(path, network, config)
    return path
