"""Training losses of several people in full frames: of composed frames against true ones, and of their poses."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models.parts.options import option
from models.parts.perceptual import perceptual_features
from models.scene.boxes import box_matrices, box_sizes, crop_frames
from models.scene.options import frame_size
from training.scene_metrics import crops_around
from utils.errors import UserError
from utils.geometry import at_least_float32

_ENLARGED = 1.25  # what `loss_around_boxes` sees, in sides of a box: a person may reach out of it
_HEIGHT = 0.4  # of the frame: the average box of the prior, which is two thirds as wide as high, in pixels


class FrameLoss(nn.Module):
    """Weighted sum of the losses of composed frames, by published config keys.

    `match_statistics`: outputs are compared after their mean and deviation were matched with those of the target, so
    that brightness and contrast do not count. `MAE`: absolute errors, else squared ones. `loss_weight_rgb`: pixels.
    `loss_weight_imageNet`: mean over three maps of a fixed network (`perceptual_weights`). `loss_weight_boxes`: the
    prior of boxes. `loss_around_boxes`: in training only boxes, enlarged, are compared, each as a crop of the
    network's size. Parts of weight 0 are neither built nor computed.
    """

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        self.match_statistics = option(config, "match_statistics")
        self.square_boxes, self.distinct = option(config, "square_boxes"), option(config, "distinct_starts")
        self.crop = option(config, "inputDimension") if option(config, "loss_around_boxes") else None
        self.compare = functional.l1_loss if option(config, "MAE") else functional.mse_loss
        self.weight_rgb = option(config, "loss_weight_rgb")
        self.weight_perceptual = option(config, "loss_weight_imageNet")
        self.weight_boxes = 0.0 if option(config, "disable_detector") else option(config, "loss_weight_boxes")
        if not (self.weight_rgb or self.weight_perceptual):
            raise UserError("config: loss_weight_rgb and loss_weight_imageNet are 0, expected one above 0")
        width, height = frame_size(config)
        self.ratio = width / height
        self.features = perceptual_features(option(config, "perceptual_weights")) if self.weight_perceptual else None

    def forward(
        self, output: torch.Tensor, target: torch.Tensor, boxes: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Compare normalized frames (B,3,H,W); `boxes` (K,B,2,3) of the detector, or None, as in tests: whole frames,
        and no prior.

        Returns scalars: `loss`, to be minimized, and its weighted parts among `rgb`, `imageNet`, `boxes`.
        Gradients flow to `output` and `boxes` only.
        """
        target, shares, parts = target.detach(), None, {}
        if self.crop and boxes is not None:
            output, target, shares = around_boxes(output, target, boxes, self.crop)
        if self.weight_rgb:
            parts["rgb"] = self.weight_rgb * self._compare(output, target, shares)
        if self.features is not None:
            with torch.no_grad():
                true_maps = self.features(target)
            errors = [self._compare(*maps, shares) for maps in zip(self.features(output), true_maps, strict=True)]
            parts["imageNet"] = self.weight_perceptual * sum(errors) / len(errors)
        if self.weight_boxes and boxes is not None:
            parts["boxes"] = self.weight_boxes * box_prior(boxes, self.ratio, self.square_boxes, self.distinct)
        return {"loss": sum(parts.values()), **parts}

    def _compare(self, output: torch.Tensor, target: torch.Tensor, shares: torch.Tensor | None) -> torch.Tensor:
        output, target = at_least_float32(output), at_least_float32(target)
        output = match_statistics(output, target) if self.match_statistics else output
        if shares is None:
            return self.compare(output, target)
        return (self.compare(output, target, reduction="none").mean((1, 2, 3)) * shares).sum()


def around_boxes(
    output: torch.Tensor, target: torch.Tensor, boxes: torch.Tensor, side: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What frames (B,3,H,W) show around boxes (K,B,2,3): crops (K*B,3,side,side), and their shares of all frames.

    Weighted by their shares (K*B,), errors of crops are as large as those of frames that are right elsewhere.
    """
    # Without gradient: a box would flee to where nothing is to be drawn.
    boxes = boxes.detach()
    enlarged = box_matrices(_ENLARGED * box_sizes(boxes), boxes[..., 2])
    shares = box_sizes(enlarged).prod(-1).flatten() / len(output)
    return crop_frames(output, enlarged, side), crop_frames(target, enlarged, side), shares.to(output.dtype)


def match_statistics(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """`output` (B,C,H,W) with the mean and standard deviation that `target` has, in each image and channel."""
    (std, mean), (true_std, true_mean) = (torch.std_mean(x, (2, 3), keepdim=True) for x in (output, target))
    return (output - mean) / (std + 1e-5) * (true_std + 1e-5) + true_mean


def box_prior(boxes: torch.Tensor, ratio: float, square: bool = False, together: bool = False) -> torch.Tensor:
    """How far the average of boxes (K,B,2,3) over the batch is from the frame's center, and from its size.

    `ratio`: width of the frames over their height. `square`: of the size, the height counts only. `together`: the
    average is of the boxes, too, which may then stay on sides of their own.
    """
    # The batch's average, not each box: people may be anywhere, and near or far.
    average = boxes.mean((0, 1) if together else 1)
    scale = average.new_tensor([1.5 * ratio, 1.0])
    position = (average[..., 2] * scale).square().mean()
    size = box_sizes(average) * scale
    return position + ((size[..., 1:] if square else size) - _HEIGHT).square().mean()


def true_box_loss(boxes: torch.Tensor, true: torch.Tensor, size: tuple[int, int], chosen: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of boxes (B,P,2,3) and crops around people (B,P,4), pixels of frames of `size` (H,W).

    Only people who are `chosen` (B,P) count.
    """
    ours, wanted = (torch.cat([box[..., 2], box_sizes(box)], dim=-1) for box in (boxes, crops_around(true, size)))
    difference = (ours - wanted).abs()
    return difference[chosen].sum() / (difference[chosen].numel() or 1)


def scene_pose_loss(
    output: torch.Tensor, label: torch.Tensor, pose_mean: torch.Tensor, pose_std: torch.Tensor
) -> torch.Tensor:
    """Mean squared error, square meters, between denormalized poses `output` and `label`, (B,K,17,3), row by row.

    `pose_mean`, `pose_std`: (51,) or (B,K,17,3), meters. UserError if frames have other numbers of labels than boxes.
    """
    if label.shape[1] != output.shape[1]:
        raise UserError(
            f"labels of {label.shape[1]} people in a frame, expected as many as boxes "
            f"(spatial_transformer_num = {output.shape[1]})"
        )
    joints = output.shape[-2:]
    pose_mean, pose_std = (x.unflatten(-1, joints) if x.dim() == 1 else x for x in (pose_mean, pose_std))
    return functional.mse_loss(at_least_float32(output) * pose_std + pose_mean, label)
