"""Encoders: one crop in, an appearance vector and 3D points out.

Every encoder maps normalized crops (B,3,R,R) to appearance (B,A) and points (B,N,3), N = latent_3d / 3.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.parts.blocks import BasicBlock, Bottleneck, double_conv, init_residual_convs, residual_stage
from models.parts.efficientnet import EfficientNetTrunk
from models.parts.options import coarsest_grid, decoder_widths, option
from models.parts.weights import load_pretrained
from utils.errors import UserError


class ResidualTrunk(nn.Module):
    """ResNet's stem and layer1..layer3 with torchvision's names: (B,C,R,R) -> (B,D,R/16,R/16); R/8 without max-pool."""

    def __init__(
        self, block: type, counts: tuple[int, int, int], width: int, max_pool: bool = True, in_channels: int = 3
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if max_pool else nn.Identity()
        self.layer1 = residual_stage(block, width, width, counts[0], stride=1)
        self.layer2 = residual_stage(block, width * block.expansion, 2 * width, counts[1], stride=2)
        self.layer3 = residual_stage(block, 2 * width * block.expansion, 4 * width, counts[2], stride=2)
        self.out_channels = 4 * width * block.expansion

    def features(self, img: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(img))))
        return self.layer3(self.layer2(self.layer1(x)))

    def trunk_names(self) -> list[str]:
        """Names of the parts that exist in torchvision's ResNet and may be pretrained."""
        return ["conv1", "bn1", "layer1", "layer2", "layer3"]

    def freeze_stem(self) -> None:
        """Stop the training of stem, layer1 and layer2, as published."""
        # Their batch norm keeps its mode: in training it still uses, and updates, the statistics of batches.
        for part in (self.conv1, self.bn1, self.layer1, self.layer2):
            part.requires_grad_(False)


class ResNetEncoder(ResidualTrunk):
    """The published encoder: ResNet-50 up to layer3, three more bottlenecks, a sigmoid bottleneck, one linear layer.

    All latents are then an affine map of 128 sigmoids (at 128 px). Without `sigmoid_bottleneck` the linear layer sees
    the whole map of 6x6 positions, reduced to 128 channels.
    """

    def __init__(self, size: int, latent_fg: int, latent_3d: int, sigmoid_bottleneck: bool):
        if size % 32 or size < 128:
            raise UserError(f"config: encoderType 'ResNet' with inputDimension = {size}, expected 128, 160, 192, ...")
        super().__init__(Bottleneck, (3, 4, 6), width=64)
        self.latent_fg = latent_fg
        self.layer4_reg = residual_stage(Bottleneck, self.out_channels, 256, 3, stride=1)
        narrow = (
            [nn.Conv2d(512, 128, 5, stride=2, bias=False), nn.BatchNorm2d(128), nn.Sigmoid()]
            if sigmoid_bottleneck
            else [nn.Conv2d(512, 128, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU(inplace=True)]
        )
        self.to_vector = nn.Sequential(
            nn.Conv2d(self.out_channels, 512, 3), nn.BatchNorm2d(512), nn.ReLU(inplace=True), *narrow, nn.Flatten()
        )
        # layer3 leaves size / 16 positions a side. The 3x3 convolution without padding removes two of them; the 5x5
        # one with stride 2 then gives (size / 16 - 2 - 5) // 2 + 1.
        grid = size // 32 - 3 if sigmoid_bottleneck else size // 16 - 2
        self.fc = nn.Linear(128 * grid**2, latent_fg + latent_3d)
        init_residual_convs(self)

    def forward(self, img: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _split(self.fc(self.to_vector(self.layer4_reg(self.features(img)))), self.latent_fg)


class SmallResNetEncoder(ResidualTrunk):
    """ResNet-18 up to layer3 and one linear layer on its whole grid: fast, and usable from 32 px upwards.

    `width` is the number of channels of layer1; pretrained weights exist only for torchvision's 64. Without `max_pool`
    the grid is twice as fine.
    """

    def __init__(self, size: int, width: int, latent_fg: int, latent_3d: int, max_pool: bool = True):
        if size % 16:
            raise UserError(f"config: encoderType 'ResNet18' with inputDimension = {size}, expected a multiple of 16")
        super().__init__(BasicBlock, (2, 2, 2), width, max_pool)
        self.latent_fg = latent_fg
        # In a crop of 64 px an arm is 3 px wide, and disappears where the stem reduces by four.
        grid = size // 16 if max_pool else size // 8
        self.fc = nn.Linear(self.out_channels * grid**2, latent_fg + latent_3d)
        init_residual_convs(self)

    def forward(self, img: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _split(self.fc(self.features(img).flatten(1)), self.latent_fg)


class EfficientNetEncoder(nn.Module):
    """EfficientNet-lite0 up to its fifth stage, and one linear layer on its third and its fifth map.

    `side`: crops are enlarged to it first. `width`: channels that each of the two maps is reduced to.
    """

    # Measured on rendered people by ridge regression of poses on frozen maps: these two together are best, and the
    # last two stages, which hold two thirds of the weights, make it worse.
    MAPS = (3, 5)

    def __init__(self, side: int, width: int, latent_fg: int, latent_3d: int):
        super().__init__()
        if side % 16:
            raise UserError(
                f"config: encoderType 'EfficientNetLite0' with crops of {side} px, expected a multiple of 16"
            )
        self.side, self.latent_fg = side, latent_fg
        self.trunk = EfficientNetTrunk(depth=max(self.MAPS))
        # A convolution of stride 2 brings the third map to the grid of the fifth, and keeps where things are in it.
        self.reduce_third = _reduction(40, width, kernel=3, stride=2)
        self.reduce_fifth = _reduction(112, width, kernel=1, stride=1)
        self.fc = nn.Linear(2 * width * (side // 16) ** 2, latent_fg + latent_3d)

    def forward(self, img: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if img.shape[-1] != self.side:
            img = functional.interpolate(img, size=(self.side, self.side), mode="bilinear", align_corners=False)
        maps = self.trunk(img)
        third, fifth = (maps[stage - 1] for stage in self.MAPS)
        maps = torch.cat([self.reduce_third(third), self.reduce_fifth(fifth)], dim=1)
        return _split(self.fc(maps.flatten(1)), self.latent_fg)


def _reduction(in_channels: int, out_channels: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class UNetEncoder(nn.Module):
    """The encoder half of a U-Net, for the published ablation, and two linear heads on its coarsest feature map."""

    def __init__(self, widths: list[int], grid: int, latent_fg: int, latent_3d: int, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleList(double_conv(i, o) for i, o in zip([3, *widths], widths, strict=False))
        self.pool = nn.MaxPool2d(2)
        features = widths[-1] * grid * grid
        self.to_points = nn.Sequential(nn.Linear(features, latent_3d), nn.Dropout(dropout))
        self.to_appearance = None
        if latent_fg:
            self.to_appearance = nn.Sequential(nn.Linear(features, latent_fg), nn.Dropout(dropout), nn.ReLU())

    def forward(self, img: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.blocks[0](img)
        for block in self.blocks[1:]:
            x = block(self.pool(x))
        x = x.flatten(1)
        appearance = x[:, :0] if self.to_appearance is None else self.to_appearance(x)
        return appearance, self.to_points(x).unflatten(1, (-1, 3))


def _split(latent: torch.Tensor, latent_fg: int) -> tuple[torch.Tensor, torch.Tensor]:
    return latent[:, :latent_fg], latent[:, latent_fg:].unflatten(1, (-1, 3))


def build_encoder(config: Mapping[str, Any], load: bool = True) -> nn.Module:
    """Build the encoder that `encoderType` names; load and freeze what `encoder_weights` asks for.

    Without `load` nothing is loaded, because other weights are about to be, but as much is frozen. Raises UserError for
    an unknown encoder, a size that it cannot take, or weights that are not available.
    """
    kind, size = option(config, "encoderType"), option(config, "inputDimension")
    latents = option(config, "latent_fg"), option(config, "latent_3d")
    if kind == "UNet":
        return UNetEncoder(decoder_widths(config), coarsest_grid(config), *latents, option(config, "latent_dropout"))
    width, weights = option(config, "encoder_width"), option(config, "encoder_weights")
    if kind == "EfficientNetLite0":
        encoder = EfficientNetEncoder(option(config, "encoder_side") or size, width, *latents)
        # Without weights a frozen stem would keep random features, so freeze_encoder_stem then does nothing.
        if weights is not None:
            _start_from_photographs(encoder.trunk, config, load)
        return encoder
    if kind == "ResNet":
        encoder = ResNetEncoder(size, *latents, option(config, "sigmoid_bottleneck"))
        architecture = "resnet50"
    else:
        encoder = SmallResNetEncoder(size, width, *latents, option(config, "encoder_max_pool"))
        architecture = "resnet18"
    if weights is not None:
        if load:
            load_pretrained(encoder, encoder.trunk_names(), weights, architecture, key="encoder_weights")
        if option(config, "freeze_encoder_stem"):
            encoder.freeze_stem()
    return encoder


def _start_from_photographs(trunk: EfficientNetTrunk, config: Mapping[str, Any], load: bool) -> None:
    if load:
        trunk.load_imagenet(option(config, "encoder_weights"), key="encoder_weights")
    if option(config, "encoder_statistics") == "stored":
        trunk.fix_statistics()
    if option(config, "freeze_encoder_stem"):
        trunk.freeze(option(config, "encoder_frozen_stages"))
