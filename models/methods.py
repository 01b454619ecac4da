"""The methods of this project: one sub-package each, and the lookup by the config key `method`.

A method's package gives
- `Network`: the class, built from a config; `forward(input_dict)` returns a dictionary of outputs. It has
  `output_types`, which may be changed, `to_pose` (the pose decoder), `stage1_parameters()`, `stage2_parameters()`,
  `set_pose_statistics(mean, std)` and `denormalize_pose(normalized)`, as the networks that are here;
- `ARCHITECTURE_KEYS`: config keys that decide which tensors a network has, and `POSE_DECODER_KEYS`, those among them
  that concern only the pose decoder, which stage 2 trains; `ENCODER_START_KEYS`: how a pretrained encoder trains on;
  `BEHAVIOR_KEYS`: what else a trained network computes as it did in training; `KEPT_IN_STAGE1`, those among them of
  which this is so where another stage 1 trains it on;
- `POSE_DECODER`: the name of that part, and `STAGE1_ONLY`, the names of parts and keys that stage 2 does not
  take over;
- `name_parts(config)`: the beginning of a run folder's name, as the published implementation has it;
- `POSE_STATISTICS`: mean and standard deviation of the poses that published weights learned, or None where the
  published data set holds them;
- `is_published(weights)` and `published_names(names, keys)`: whether weights are in the published layout, and the
  published key of each of our names.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from models import geometry_aware, scene
from models.parts.sizes import bounded_size
from utils.config import method_name

METHODS = {"geometry_aware": geometry_aware, "scene": scene}


def method_of(config: Mapping[str, Any]) -> ModuleType:
    """The package of the method that `config` names. UserError for an unknown one."""
    return METHODS[method_name(config)]


def build_network(config_dict: Mapping[str, Any], load: bool = True, most: int | None = None) -> nn.Module:
    """Build the network that `config_dict` describes (published keys, see configs/config_train_encodeDecode.py).

    Parameters that `freeze_encoder_stem` fixes have requires_grad off; this applies only where
    `encoder_weights` gives them something worth keeping. Without `load` that file is not read: for networks whose
    weights are about to be loaded. most: bytes of its parameters; None: those of main memory. Raises UserError that
    names the key, and for a larger network.
    """
    with bounded_size(most):
        return method_of(config_dict).Network(config_dict, load)
