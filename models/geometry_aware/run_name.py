"""What of a config shows in the names of run folders: the published beginning of the published names."""

from collections.abc import Mapping
from typing import Any


def name_parts(config: Mapping[str, Any]) -> list[str]:
    """Network and losses, in the published order: "resL3_ResNet", "layers4", ..."""
    return [
        f"resL3_{config['encoderType']}",
        f"layers{config['num_encoding_layers']}",
        f"implR{config['implicit_rotation']}",
        f"wRGB{config['loss_weight_rgb']:g}",
        f"wGrad{config['loss_weight_gradient']:g}",
        f"wImgNet{config['loss_weight_imageNet']:g}",
        f"skipBG{config['skip_background']}",
        f"fg{config['latent_fg']}",
        f"3d{config['latent_3d']}",
        f"lh3Dp{config['n_hidden_to3Dpose']}",
        f"ldrop{config['latent_dropout']:g}",
    ]
