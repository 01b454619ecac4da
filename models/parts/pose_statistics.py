"""Mean and standard deviation of the poses that a pose decoder learns, kept with its weights."""

import numpy as np
import torch
from torch import nn

from utils.errors import UserError
from utils.readers import reason
from utils.skeleton import NUM_JOINTS


def store_pose_statistics(network: nn.Module, mean: torch.Tensor | np.ndarray, std: torch.Tensor | np.ndarray) -> None:
    """Copy the mean and standard deviation (51,) of poses, meters, into `pose_mean` and `pose_std` of `network`.

    Raises UserError, before either is copied, for other shapes, text, NaN, infinity, and a deviation that is not
    positive; that of the root, which is always at 0, may be 0.
    """
    statistics = {}
    for name, values in {"pose_mean": mean, "pose_std": std}.items():
        try:
            statistics[name] = torch.as_tensor(values, dtype=torch.float32).detach()
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{name} is no array ({reason(error)}); expected numbers, ({3 * NUM_JOINTS},)") from error
        if statistics[name].shape != (3 * NUM_JOINTS,):
            raise UserError(f"{name} has shape {tuple(statistics[name].shape)}; expected ({3 * NUM_JOINTS},)")
        if not statistics[name].isfinite().all():
            raise UserError(f"{name} contains NaN or infinity; expected finite numbers, meters")
    root, others = statistics["pose_std"].split((3, 3 * NUM_JOINTS - 3))
    if (root < 0).any() or (others <= 0).any():
        least = statistics["pose_std"].min()
        raise UserError(f"pose_std is {least:g} at least; expected more than 0, but for the root, whose may be 0")
    for name, values in statistics.items():
        getattr(network, name).copy_(values)
