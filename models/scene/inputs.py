"""What the network reads of its input dictionary: one line where something is missing, or shapes do not fit."""

from collections.abc import Mapping

import torch

from utils.errors import UserError


def checked_frames(input_dict: Mapping[str, torch.Tensor], needed: Mapping[str, object], boxes: int) -> torch.Tensor:
    """The frames `img` (B,3,H,W); UserError where an input is missing, or shapes do not fit together.

    `needed`: the names of inputs, and what needs each, as the message says it. `boxes`: of each frame.
    """
    for name, reason in sorted(needed.items()):
        if name not in input_dict:
            raise UserError(f"input {name!r} is missing, expected it for {reason}")
    frames = input_dict["img"]
    if frames.dim() != 4 or frames.shape[1] != 3:
        raise UserError(f"img has shape {tuple(frames.shape)}, expected (frames, 3, height, width)")
    if not frames.is_floating_point():
        raise UserError(f"img is {frames.dtype}, expected floats, as utils.images.normalize makes them")
    expected = {
        "bg": tuple(frames.shape),
        "R_cam_2_world": (len(frames), 3, 3),
        "intrinsics": (len(frames), 3, 3),
        "spatial_transformer": (len(frames) * boxes, 2, 3),
    }
    for name, shape in expected.items():
        if name in input_dict and tuple(input_dict[name].shape) != shape:
            found = tuple(input_dict[name].shape)
            of_boxes = f" (spatial_transformer_num = {boxes} a frame)" if name == "spatial_transformer" else ""
            raise UserError(f"{name} has shape {found}, expected {shape}{of_boxes} for img {tuple(frames.shape)}")
    return frames
