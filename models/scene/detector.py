"""The detector: a whole frame in, the boxes of a fixed number of people and their depths out."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from models.parts.blocks import init_residual_convs, residual_stage
from models.parts.encoders import ResidualTrunk
from models.scene.boxes import box_matrices, crop_frames
from utils.geometry import at_least_float32

SIDE = 128  # pixels to which every frame is reduced for it
_LARGEST_SHIFT = 0.05  # of `offset_crop`, of half the frame's side


class Bounds(NamedTuple):
    """Limits of boxes: sides in frame sides, and how far a center may be from the frame's, in half frame sides."""

    min_size: float
    max_size: float
    border_factor: float


class Detector(ResidualTrunk):
    """ResNet-18 with a fourth stage at the resolution of the third, and one linear layer: frame -> boxes and depths.

    `width`: channels of the first layer. `shifts`: in training it sees the frame moved at random by up to 5 % of half
    its side.
    """

    def __init__(self, boxes: int, width: int, bounds: Bounds, shifts: bool):
        from torchvision.models.resnet import BasicBlock

        super().__init__(BasicBlock, (2, 2, 2), width)
        self.bounds, self.shifts = bounds, shifts
        self.layer4 = residual_stage(BasicBlock, 4 * width, 4 * width, 2, stride=1)
        self.to_map = nn.Sequential(
            nn.Conv2d(4 * width, 8 * width, 1),
            nn.BatchNorm2d(8 * width),
            nn.ReLU(inplace=True),
            nn.Conv2d(8 * width, 2 * width, 5, stride=2, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Linear(2 * width * 2 * 2, 5 * boxes)
        init_residual_convs(self)
        # As published: all boxes start equal, in the middle of the frame, 0.7 of it wide and high, at depth 0.
        nn.init.zeros_(self.fc.weight)
        with torch.no_grad():
            self.fc.bias.copy_(torch.tensor([0.5, 0.5, 0.0, 0.0, 0.0]).repeat(boxes))

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames (B,3,H,W) -> boxes (K,B,2,3) as in models/scene/boxes.py, and depths (K,B), of no particular unit."""
        shift = None
        if self.shifts and self.training:
            shift = _LARGEST_SHIFT * (2 * torch.rand(len(frames), 2, device=frames.device, dtype=frames.dtype) - 1)
        x = self.layer4(self.features(reduce_frames(frames, shift)))
        values = at_least_float32(self.fc(self.to_map(x).flatten(1))).unflatten(1, (-1, 5)).transpose(0, 1)
        smallest, largest, border = self.bounds
        size = smallest + (largest - smallest) * torch.sigmoid(values[..., :2])
        center = border * torch.tanh(values[..., 2:4])
        return box_matrices(size, center if shift is None else center + shift), values[..., 4]


def reduce_frames(frames: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
    """Frames (B,3,H,W) -> what the detector sees of them (B,3,128,128), moved by `shift` (B,2) in half frame sides."""
    # As published, without a low-pass filter, and whatever the ratio of the sides.
    if shift is None:
        return functional.interpolate(frames, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
    return crop_frames(frames, box_matrices(torch.ones_like(shift), shift)[None], SIDE)
