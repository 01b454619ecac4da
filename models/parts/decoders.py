"""Decoders: latents to an image, and latents to a 3D pose."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from models.parts.blocks import (
    Doubling,
    conv_bn_relu,
    conv_relu,
    convolve_both,
    double_conv,
    double_conv_without_norm,
    in_layout_of,
)
from models.parts.enlarge import Enlarge
from utils.errors import UserError
from utils.skeleton import NUM_JOINTS


class _UpLevel(nn.Module):
    """Double the side `side` of maps, put a feature map in front if one is given, then two convolutions."""

    def __init__(
        self, in_channels: int, out_channels: int, skip_channels: int, side: int, bilinear: bool, batch_norm: bool
    ):
        super().__init__()
        if bilinear:
            # As published, with align_corners, and with a batch norm that the other convolutions of the level lack.
            layers = conv_bn_relu(in_channels, out_channels) if batch_norm else conv_relu(in_channels, out_channels)
            self.up = nn.Sequential(Enlarge(side), *layers)
        else:
            self.up = Doubling(in_channels, out_channels)
        self.conv = double_conv_without_norm(out_channels + skip_channels, out_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        x = self._double(x)
        if skip is None:
            return self.conv(x)
        first, activation = self.conv.conv1
        return self.conv.conv2(activation(convolve_both(first, skip, x)))

    def _double(self, x: torch.Tensor) -> torch.Tensor:
        # A GPU has memory for them, and time is short.
        if x.is_cuda or not (isinstance(self.up, nn.Sequential) and torch.is_grad_enabled()):
            return self.up(x)
        # The upsampled map is four times as large as its input and cheap to compute: it is recomputed in the backward
        # pass instead of being kept (not its convolution: checkpoint stops when it has what the backward pass needs).
        # Batch norm stays outside, as it would update its statistics twice.
        upsample_and_convolve, normalize = self.up[:2], self.up[2:]
        return normalize(checkpoint(upsample_and_convolve, x, use_reentrant=False, preserve_rng_state=False))


class ColoredLayers(nn.Module):
    """Sum of layers, each in a color computed from the appearance. `over_background`: each also hides a share of it."""

    def __init__(self, layers: int, latent_fg: int, over_background: bool, channels: int = 3):
        super().__init__()
        self.channels = channels
        self.colors = nn.Linear(latent_fg, channels * layers)
        self.shares = nn.Parameter(torch.empty(layers)) if over_background else None

    def forward(
        self, layers: torch.Tensor, appearance: torch.Tensor, background: torch.Tensor | None, with_mask: bool = False
    ) -> torch.Tensor:
        """layers (B,L,R,R), appearance (B,A), background (B,C,R,R) -> image (B,C,R,R).

        `over_background`, but without one: what is added to it, and in a last channel the share of it that is hidden.
        `with_mask`: that channel also where there is one.
        """
        mix = self.colors(appearance).unflatten(1, (-1, self.channels))
        if self.shares is not None:
            mix = torch.cat([mix, self.shares[:, None].expand(mix.shape[0], -1, 1)], dim=2)
        # One matrix product per crop, over all pixels. In channels-last memory the pixels of a crop are the rows of
        # a matrix already, so that nothing is copied.
        mixed = layers.permute(0, 2, 3, 1).flatten(1, 2) @ mix.to(layers.dtype)
        mixed = mixed.unflatten(1, layers.shape[2:]).permute(0, 3, 1, 2)
        if self.shares is None or background is None:
            return mixed
        added, hidden = mixed[:, : self.channels], mixed[:, self.channels :]
        image = background + added - hidden * background
        return torch.cat([image, hidden], dim=1) if with_mask else image


class ImageDecoder(nn.Module):
    """Render appearance and (rotated) points over a background, as one normalized image of `channels` channels.

    `widths`: channels per level, finest first; `grid`: side of the coarsest feature map. With `skip_background` the
    features of the background enter before the finest level. With `add_background` the output is the difference to the
    background. It starts at zero, so that the background need not be learned. With `color_by_appearance` the finest
    features are layers. The appearance gives each layer its color, and with `add_background` each layer hides a learned
    share of the background. Without `batch_norm` no level normalizes what it enlarged.
    """

    def __init__(
        self,
        widths: list[int],
        grid: int,
        latent_fg: int,
        latent_3d: int,
        dropout: float,
        upsampling_bilinear: bool,
        skip_background: bool,
        add_background: bool,
        color_by_appearance: bool,
        channels: int = 3,
        batch_norm: bool = True,
    ):
        super().__init__()
        if color_by_appearance and not latent_fg:
            raise UserError("config: color_by_appearance = True, expected latent_fg above 0 with it")
        self.grid, self.add_background = grid, add_background
        self.uses_background = skip_background or add_background
        point_channels = widths[-1] - latent_fg
        if point_channels < 1:
            raise UserError(
                f"config: latent_fg = {latent_fg}, expected less than {widths[-1]}: the decoder's coarsest map has "
                f"{widths[-1]} channels (set by feature_scale), and the 3D points need some of them"
            )
        self.from_points = nn.Sequential(
            nn.Linear(latent_3d, point_channels * grid * grid), nn.Dropout(dropout), nn.ReLU(inplace=True)
        )
        self.background = double_conv(3, widths[0]) if skip_background else None
        coarse_to_fine = widths[::-1]
        skips = [0] * (len(widths) - 2) + [widths[0] if skip_background else 0]
        self.levels = nn.ModuleList(
            _UpLevel(i, o, skip, grid * 2**level, upsampling_bilinear, batch_norm)
            for level, (i, o, skip) in enumerate(zip(coarse_to_fine, coarse_to_fine[1:], skips, strict=False))
        )
        self.layered = color_by_appearance
        # The color of a pixel is a product: where a limb is (from the points) times what it wears (from the
        # appearance). Convolutions add the two, and need many channels to approximate their product.
        if color_by_appearance:
            self.to_image = ColoredLayers(widths[0], latent_fg, over_background=add_background, channels=channels)
        else:
            self.to_image = nn.Conv2d(widths[0], channels, 1)
        # The first outputs are then the background itself.
        if add_background:
            for parameter in self.to_image.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self,
        appearance: torch.Tensor,
        points: torch.Tensor,
        background: torch.Tensor | None = None,
        with_mask: bool = False,
    ) -> torch.Tensor:
        """appearance (B,A), points (B,N,3), background (B,3,R,R) -> image (B,channels,R,R).

        Layers over a background that is not given come as `ColoredLayers` has them. `with_mask`: a channel more, the
        share of the background that they hide. UserError where no layers do.
        """
        if with_mask and not self.has_mask:
            raise UserError("mask_crop needs layers over a background; expected color_by_appearance and add_background")
        x = self.coarsest_map(appearance, points)
        for level in self.levels[:-1]:
            x = level(x)
        skip = None if self.background is None else self.background(background)
        x = self.levels[-1](x, skip)
        if self.layered:
            return self.to_image(x, appearance, background, with_mask)
        image = self.to_image(x)
        return background + image if self.add_background else image

    @property
    def has_mask(self) -> bool:
        """Whether it knows where the person is: layers that hide the background."""
        return self.layered and self.add_background

    def coarsest_map(self, appearance: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Appearance (B,A), repeated at every position, in front of a map made from the points: (B,C,grid,grid)."""
        shape = self.from_points(points.flatten(1)).unflatten(1, (-1, self.grid, self.grid))
        repeated = appearance.to(shape.dtype)[:, :, None, None].expand(-1, -1, self.grid, self.grid)
        return in_layout_of(self.levels[0].conv.conv1[0].weight, torch.cat([repeated, shape], dim=1))


class PoseDecoder(nn.Module):
    """Points (B,N,3) in the camera frame -> normalized pose (B,51), 17 joints x (x,y,z), root-centered."""

    def __init__(self, latent_3d: int, num_hidden: int, width: int, dropout: float):
        super().__init__()
        layers: list[nn.Module] = []
        features = latent_3d
        for _ in range(num_hidden):
            layers += [nn.Linear(features, width), nn.ReLU(inplace=True), nn.BatchNorm1d(width)]
            # As published: the decoder with a single hidden layer has no dropout.
            layers += [nn.Dropout(dropout)] if num_hidden > 1 else []
            features = width
        self.layers = nn.Sequential(*layers, nn.Linear(features, 3 * NUM_JOINTS))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.layers(points.flatten(1))
