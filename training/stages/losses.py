"""Training losses: novel views against the crops that the cameras saw, and poses against labels."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.parts.options import option
from models.parts.perceptual import PerceptualFeatures
from training.metrics import foreground_mask
from utils.errors import UserError
from utils.images import IMAGE_STD, per_channel


class ImageLoss(nn.Module):
    """Weighted sum of image losses between rendered and true crops, published config keys.

    `MAE`: absolute errors, else squared ones. `loss_weight_rgb`: pixels. `loss_weight_gradient`: Sobel edges.
    `loss_weight_imageNet`: mean over three maps of a fixed ResNet-18 (`perceptual_weights`).
    `loss_weight_foreground`: pixel errors of the person and its surroundings count 1 + this times as much as
    those of the background (0 as published). Parts of weight 0 are neither built nor computed.
    """

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        self.absolute = bool(option(config, "MAE"))
        self.weight_rgb = _weight(config, "loss_weight_rgb")
        self.weight_gradient = _weight(config, "loss_weight_gradient")
        self.weight_perceptual = _weight(config, "loss_weight_imageNet")
        self.weight_foreground = _weight(config, "loss_weight_foreground")
        if not (self.weight_rgb or self.weight_gradient or self.weight_perceptual):
            raise UserError("config: all of loss_weight_rgb, loss_weight_gradient, loss_weight_imageNet are 0")
        self.features = None
        if self.weight_perceptual:
            self.features = PerceptualFeatures(option(config, "perceptual_weights"))

    def forward(
        self, output: torch.Tensor, target: torch.Tensor, background: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Compare normalised images (B,3,R,R); `background` of the target is needed for foreground weights.

        Returns scalars: `loss`, to be minimised, and its weighted parts among `rgb`, `gradient`, `imageNet`.
        Gradients flow to `output` only.
        """
        target = target.detach()
        pixel_weight = None
        if self.weight_foreground:
            pixel_weight = 1 + self.weight_foreground * wide_foreground(target, background)
        parts = {}
        if self.weight_rgb:
            parts["rgb"] = self.weight_rgb * self._compare(output, target, pixel_weight)
        if self.weight_gradient:
            parts["gradient"] = self.weight_gradient * self._compare(sobel(output), sobel(target), pixel_weight)
        if self.features is not None:
            parts["imageNet"] = self.weight_perceptual * self._perceptual(output, target)
        return {"loss": sum(parts.values()), **parts}

    def _compare(
        self, output: torch.Tensor, target: torch.Tensor, pixel_weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        if pixel_weight is None:
            return _MeanError.apply(output, target, self.absolute)
        difference = output.float() - target.float()
        error = difference.abs() if self.absolute else difference.square()
        return (error.mean(dim=1, keepdim=True) * pixel_weight).sum() / pixel_weight.sum()

    def _perceptual(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = self.features(target)
        made = self.features(output)
        return sum(self._compare(ours, true) for ours, true in zip(made, wanted, strict=True)) / 3


class _MeanError(torch.autograd.Function):
    """Mean over all elements of |output - target|, or of its square, in float32; the gradient flows to `output` only.

    Of the differences nothing is kept but the gradient, in `output`'s precision and layout.
    """

    @staticmethod
    def forward(context, output: torch.Tensor, target: torch.Tensor, absolute: bool) -> torch.Tensor:
        gradient = torch.empty_like(output) if context.needs_input_grad[0] else None
        total = output.new_zeros((), dtype=torch.float32)
        # a few crops at a time stay in a CPU's cache; a GPU is quicker with all at once
        step = len(output) if output.is_cuda else 4
        for first in range(0, len(output), step):
            part = slice(first, first + step)
            difference = output[part].float() - target[part].float()
            if gradient is not None:
                gradient[part] = difference.sign() if absolute else 2 * difference
            total += (difference.abs() if absolute else difference.square()).sum()
        context.save_for_backward(gradient)
        return total / output.numel()

    @staticmethod
    def backward(context, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = context.saved_tensors
        return gradient * (upstream / gradient.numel()).to(gradient.dtype), None, None


def wide_foreground(target: torch.Tensor, background: torch.Tensor | None) -> torch.Tensor:
    """Where normalised crops (B,3,R,R) differ from their background, and up to R/16 pixels around: (B,1,R,R), 0 or 1.

    Around it too, because a network soon finds that smearing the person over unweighted pixels costs nothing.
    """
    if background is None:
        raise UserError("loss_weight_foreground needs bg_crop, the background of the target")
    # in colours of 0..1 but for the mean, which a difference does not see
    std = per_channel(IMAGE_STD, target.device)
    differs = foreground_mask(target.float() * std, background.float() * std).unsqueeze(1)
    reach = max(1, target.shape[-1] // 16)
    wide = functional.max_pool2d(differs.float(), (1, 2 * reach + 1), stride=1, padding=(0, reach))
    return functional.max_pool2d(wide, (2 * reach + 1, 1), stride=1, padding=(reach, 0))


def sobel(images: torch.Tensor) -> torch.Tensor:
    """Horizontal and vertical Sobel gradients per channel, same size: (B,C,R,R) -> (B,2C,R,R), float32."""
    slope = torch.arange(-1.0, 2.0, device=images.device)  # -1, 0, 1
    smooth = 2 - slope.abs()
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)]) / 8
    channels = images.shape[1]
    with torch.autocast(images.device.type, enabled=False):
        padded = functional.pad(images.float(), (1, 1, 1, 1), mode="replicate")
        return functional.conv2d(padded, kernels[:, None].repeat(channels, 1, 1, 1), groups=channels)


def pose_loss(
    output: torch.Tensor, label: torch.Tensor, pose_mean: torch.Tensor, pose_std: torch.Tensor
) -> torch.Tensor:
    """Mean squared error between the network's pose (B,51) and (label - pose_mean) / pose_std.

    `label` (B,51): metres, root-centred, camera frame; `pose_mean`, `pose_std` (51,) or (B,51): metres.
    """
    return functional.mse_loss(output.float(), (label - pose_mean) / pose_std)


def _weight(config: Mapping[str, Any], key: str) -> float:
    value = option(config, key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise UserError(f"config: {key} = {value!r}, expected a number that is not negative")
    return float(value)
