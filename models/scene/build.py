"""Detector and decoder of a configuration."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from models.parts.decoders import ImageDecoder
from models.parts.options import coarsest_grid, decoder_widths, option
from models.scene.detector import Bounds, Detector
from utils.errors import UserError

# What masks that are shares of layers need: they are neither scaled nor weakened.
_OF_LAYERS = {
    "color_by_appearance": True,
    "masked_blending": True,
    "empty_masks": True,
    "normalize_mask_density": False,
}


def build_detector(config: Mapping[str, Any]) -> Detector:
    bounds = Bounds(**option(config, "spatial_transformer_bounds"))
    if bounds.min_size > bounds.max_size:
        raise UserError(
            f"config: spatial_transformer_bounds has min_size = {bounds.min_size}, expected at most its max_size = "
            f"{bounds.max_size}"
        )
    boxes, width = option(config, "spatial_transformer_num"), option(config, "detector_width")
    return Detector(
        boxes,
        width,
        bounds,
        shifts=option(config, "offset_crop"),
        square=option(config, "square_boxes"),
        spread=option(config, "distinct_starts"),
        smooth=option(config, "smooth_detector_input"),
        background=option(config, "detector_background"),
    )


def build_decoder(config: Mapping[str, Any]) -> ImageDecoder:
    of_layers = option(config, "masks_of_layers")
    for key, value in _OF_LAYERS.items():
        if of_layers and option(config, key) != value:
            raise UserError(f"config: masks_of_layers = True, expected {key} = {value} with it")
    decoder = ImageDecoder(
        decoder_widths(config),
        coarsest_grid(config),
        option(config, "latent_fg"),
        option(config, "latent_3d"),
        option(config, "latent_dropout"),
        upsampling_bilinear=option(config, "upsampling_bilinear") == "upper",
        skip_background=False,
        add_background=of_layers,
        color_by_appearance=option(config, "color_by_appearance"),
        # Layers give their masks beside the colors.
        channels=4 if option(config, "masked_blending") and not of_layers else 3,
        batch_norm=option(config, "decoder_batch_norm"),
    )
    if not option(config, "decoder_batch_norm"):
        # The start that was published.
        for part in decoder.modules():
            if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.xavier_normal_(part.weight)
                nn.init.zeros_(part.bias)
    return decoder
