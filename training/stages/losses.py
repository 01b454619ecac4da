"""Training losses: of novel views against true crops, and of poses against labels."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.parts.options import option
from models.parts.perceptual import perceptual_features
from training.trained.fusion import DEPTH
from utils.errors import UserError
from utils.geometry import at_least_float32, rotate_points

# Of distances between joints, meters: below it, `pose_loss` is nearly a square.
_ROUNDED = 0.02


class ImageLoss(nn.Module):
    """Weighted sum of image losses between rendered and true crops, by published config keys.

    `MAE`: absolute errors, else squared ones. `loss_weight_rgb`: pixels. `loss_weight_gradient`: Sobel edges.
    `loss_weight_imageNet`: mean over three maps of a fixed network (`perceptual_weights`).
    Parts of weight 0 are neither built nor computed.
    """

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        self.absolute = option(config, "MAE")
        self.weight_rgb = option(config, "loss_weight_rgb")
        self.weight_gradient = option(config, "loss_weight_gradient")
        self.weight_perceptual = option(config, "loss_weight_imageNet")
        if not (self.weight_rgb or self.weight_gradient or self.weight_perceptual):
            raise UserError("config: all of loss_weight_rgb, loss_weight_gradient, loss_weight_imageNet are 0")
        # Neither built nor downloaded where its weight is zero.
        self.features = None
        if self.weight_perceptual:
            self.features = perceptual_features(option(config, "perceptual_weights"))

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compare normalized images (B,3,R,R).

        Returns scalars: `loss`, to be minimized, and its weighted parts among `rgb`, `gradient`, `imageNet`.
        Gradients flow to `output` only.
        """
        target = target.detach()
        parts = {}
        if self.weight_rgb:
            parts["rgb"] = self.weight_rgb * self._compare(output, target)
        if self.weight_gradient:
            parts["gradient"] = self.weight_gradient * self._compare(sobel(output), sobel(target))
        if self.features is not None:
            parts["imageNet"] = self.weight_perceptual * self._perceptual(output, target)
        return {"loss": sum(parts.values()), **parts}

    def _compare(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return _MeanError.apply(output, target, self.absolute)

    def _perceptual(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            true_features = self.features(target)
        features = self.features(output)
        return sum(self._compare(ours, true) for ours, true in zip(features, true_features, strict=True)) / 3


class _MeanError(torch.autograd.Function):
    """Mean over all elements of |output - target|, or of its square, in float32; the gradient flows to `output` only.

    Memory: only the gradient is kept for the backward pass, in the precision and layout of `output`.
    """

    @staticmethod
    def forward(context: Any, output: torch.Tensor, target: torch.Tensor, absolute: bool) -> torch.Tensor:
        # Autograd itself would keep float32 differences until the backward pass.
        gradient = torch.empty_like(output) if context.needs_input_grad[0] else None
        total = output.new_zeros((), dtype=torch.float32)
        # A few crops at a time stay in a CPU's cache, while a GPU is faster with all at once.
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
    def backward(context: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = context.saved_tensors
        return gradient * (upstream / gradient.numel()).to(gradient.dtype), None, None


def mask_loss(masks: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of how much all people fill each pixel, by masks (K,B,1,H,W), and the silhouettes.

    `shown` (B,H,W), as `silhouettes` gives them. Colors alone teach a mask little where a person looks like what is
    behind, and a limb late.
    """
    return functional.mse_loss(at_least_float32(masks).sum(0).squeeze(1), shown)


def sobel(images: torch.Tensor) -> torch.Tensor:
    """Horizontal and vertical Sobel gradients per channel, same size: (B,C,R,R) -> (B,2C,R,R), float32."""
    # -1, 0, 1 and 1, 2, 1: made on the device, because copying a list there would wait for it.
    slope = torch.arange(-1.0, 2.0, device=images.device)
    smooth = 2 - slope.abs()
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)]) / 8
    channels = images.shape[1]
    with torch.autocast(images.device.type, enabled=False):
        padded = functional.pad(images.float(), (1, 1, 1, 1), mode="replicate")
        return functional.conv2d(padded, kernels[:, None].repeat(channels, 1, 1, 1), groups=channels)


def pose_loss(
    output: torch.Tensor,
    label: torch.Tensor,
    pose_mean: torch.Tensor,
    pose_std: torch.Tensor,
    kind: str = "squared",
) -> torch.Tensor:
    """Error of the network's normalized poses (B,51) by `kind`, the key `pose_loss`; about 1 for the mean pose.

    `squared`: the mean squared difference to (label - pose_mean) / pose_std, as published. `distance`: the mean
    distance of joints in meters, over the root of the mean square of their distances from the mean pose.

    `label` (B,51): meters, root-centered, camera frame; `pose_mean`, `pose_std` (51,) or (B,51): meters.
    """
    difference = output.float() - (label - pose_mean) / pose_std
    return joint_distances(difference * pose_std, pose_std).mean() if kind == "distance" else difference.square().mean()


def joint_distances(difference: torch.Tensor, pose_std: torch.Tensor) -> torch.Tensor:
    """Mean distance of the joints of each pose, (B,51) differences in meters -> (B,), in the unit of `pose_loss`."""
    squares = difference.unflatten(-1, (-1, 3)).square().sum(-1)
    # A square root has no gradient at 0, and a root joint is exact.
    distances = (squares + _ROUNDED**2).sqrt() - _ROUNDED
    # The deviation of what never varies, as the root joint, is stored as 1.
    variances = torch.where(pose_std == 1, 0, pose_std)[..., 3:].square().sum(-1) / distances.shape[-1]
    return distances.mean(-1) / variances.sqrt().clamp(min=1e-3)


def known_pose_loss(
    output: torch.Tensor,
    label: torch.Tensor,
    pose_mean: torch.Tensor,
    pose_std: torch.Tensor,
    kind: str = "squared",
) -> torch.Tensor:
    """`pose_loss` over the rows of `label` (B,51) that have no NaN; 0 where there is none.

    A fixed number of operations, whichever rows are labeled: a CUDA graph can hold it.
    """
    known = torch.isfinite(label).all(1, keepdim=True)
    # NaN times zero is NaN, in the gradient too: unknown labels are replaced, not weighted.
    target = torch.where(known, (label - pose_mean) / pose_std, output.detach().float())
    difference = output.float() - target
    if kind == "distance":
        # Where a row is unknown its difference is 0, and so is its distance.
        return joint_distances(difference * pose_std, pose_std).sum() / known.sum().clamp(min=1)
    return difference.square().sum() / (known.sum() * label.shape[1]).clamp(min=1)


def agreement_loss(
    output: torch.Tensor,
    camera_to_world: torch.Tensor,
    label: torch.Tensor,
    cameras: int,
    pose_mean: torch.Tensor,
    pose_std: torch.Tensor,
) -> torch.Tensor:
    """How far the poses that `cameras` successive crops give of one instant are from their mean in the world frame.

    Along its viewing direction a camera weighs 1 / DEPTH^2 in that mean, as where cameras are fused: each learns its
    depth from those that see it from the side. The mean is a target, and gets no gradient.

    The sum of squared distances, over that of `pose_std` squared, in which the root joint, whose deviation is stored as
    1, adds 3 square meters: with poses of `wild128` the unit is about 2.7 times that of squared `pose_loss`.

    `output` (B,51): the network's poses, as in `pose_loss`. `camera_to_world` (B,3,3). Crops whose `label` (B,51) is
    known do not count: it says more. 0 where there is no other one. As `known_pose_loss`, a fixed number of operations.
    """
    poses = (output.float() * pose_std + pose_mean).unflatten(1, (-1, 3))
    worlds = rotate_points(poses, camera_to_world).unflatten(0, (-1, cameras))
    target = _mean_pose(worlds.detach(), camera_to_world[:, :, 2].to(worlds).unflatten(0, (-1, cameras)))
    squared = (worlds - target.unsqueeze(1)).square().sum((2, 3)).flatten()
    unknown = ~torch.isfinite(label).all(1)
    # With the root joint, because the weights of this loss were chosen so (config_adapt.py).
    return (squared * unknown).sum() / (unknown.sum() * pose_std.square().sum()).clamp(min=1e-6)


def _mean_pose(worlds: torch.Tensor, forward: torch.Tensor) -> torch.Tensor:
    """Means (I,J,3) of the poses (I,C,J,3) of C cameras; along its `forward` (I,C,3) each weighs 1 / DEPTH^2."""
    # Sums and cross products in place of matrix products and a solver: exact under autocast, and no GPU is waited for.
    outer = forward.unsqueeze(3) * forward.unsqueeze(2)
    precision = torch.eye(3, device=worlds.device) - (1 - DEPTH**-2) * outer
    sums = (precision.unsqueeze(2) * worlds.unsqueeze(3)).sum(4).sum(1)
    first, second, third = precision.sum(1).unbind(1)
    adjugate = torch.stack([second.cross(third, 1), third.cross(first, 1), first.cross(second, 1)], 2)
    determinant = (first * adjugate[:, :, 0]).sum(1)
    return (adjugate.unsqueeze(1) * sums.unsqueeze(2)).sum(3) / determinant[:, None, None]
