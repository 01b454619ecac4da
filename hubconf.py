"""torch.hub entry points: a trained network, and poses from crops and photographs (geometry_aware_pose/hub.py).

    network = torch.hub.load(FOLDER, "encode_decode", source="local")  # FOLDER: a copy of this repository
    poses = torch.hub.load(FOLDER, "pose_from_crop", source="local")("crop.png")
    poses, roots, picture = torch.hub.load(FOLDER, "pose_from_photo", "photo.jpg", source="local")

With "owner/repository" in place of FOLDER, and without `source`, torch.hub downloads the repository.
"""

import pathlib

import geometry_aware_pose
from geometry_aware_pose import encode_decode, pose_from_crop, pose_from_photo  # noqa: F401

dependencies = ["torch", "torchvision", "numpy", "PIL", "h5py", "ignite", "roma", "safetensors", "tqdm"]

# An installed copy that is imported already would answer for this folder, with other code and other weights.
if pathlib.Path(__file__).resolve().parent != geometry_aware_pose.ROOT:
    raise ImportError(
        f"another copy of geometry_aware_pose is imported already, from {str(geometry_aware_pose.ROOT)!r}; "
        "load this folder in a process of its own"
    )
