"""The detector: a whole frame in, the boxes of a fixed number of people and their depths out."""

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from models.parts.blocks import BasicBlock, init_residual_convs, residual_stage
from models.parts.encoders import ResidualTrunk
from models.scene.boxes import box_matrices, crop_frames
from utils.geometry import at_least_float32

SIDE = 128  # pixels to which every frame is reduced for it
_LARGEST_SHIFT = 0.05  # of `offset_crop`, of half the frame's side


class Bounds(NamedTuple):
    """Limits of boxes: sides in frame sides, and how far a center may be from the frame's, in half frame sides.

    Sides of square boxes are limited by their height.
    """

    min_size: float
    max_size: float
    border_factor: float


class Detector(ResidualTrunk):
    """ResNet-18 with a fourth stage at the resolution of the third, and one linear layer: frame -> boxes and depths.

    `width`: channels of the first layer. `shifts`: in training it sees the frame moved at random by up to 5 % of half
    its side. `square`: boxes are square in pixels. `spread`: new boxes stand side by side. `smooth`: a low-pass filter
    before frames are reduced. `background`: it also sees what differs from the empty background.
    """

    def __init__(
        self,
        boxes: int,
        width: int,
        bounds: Bounds,
        *,
        shifts: bool = False,
        square: bool = False,
        spread: bool = False,
        smooth: bool = False,
        background: bool = False,
    ):
        super().__init__(BasicBlock, (2, 2, 2), width, in_channels=6 if background else 3)
        self.bounds, self.shifts, self.smooth, self.background = bounds, shifts, smooth, background
        self.sides = 1 if square else 2
        self.layer4 = residual_stage(BasicBlock, 4 * width, 4 * width, 2, stride=1)
        self.to_map = nn.Sequential(
            nn.Conv2d(4 * width, 8 * width, 1),
            nn.BatchNorm2d(8 * width),
            nn.ReLU(inplace=True),
            nn.Conv2d(8 * width, 2 * width, 5, stride=2, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Linear(2 * width * 2 * 2, (self.sides + 3) * boxes)
        init_residual_convs(self)
        # As published: all boxes start equal, in the middle of the frame, 0.7 of it wide and high, at depth 0. Their
        # gradients are then equal, too, but for what dropout does.
        nn.init.zeros_(self.fc.weight)
        start = torch.tensor([0.5] * self.sides + [0.0, 0.0, 0.0]).repeat(boxes, 1)
        if spread:
            start[:, self.sides] = torch.tensor([math.atanh((2 * box + 1 - boxes) / boxes) for box in range(boxes)])
        with torch.no_grad():
            self.fc.bias.copy_(start.flatten())

    def forward(
        self, frames: torch.Tensor, backgrounds: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames (B,3,H,W) -> boxes (K,B,2,3) as in models/scene/boxes.py, and depths (K,B), of no particular unit.

        `backgrounds` (B,3,H,W): the frames without people, of `background`.
        """
        shift = None
        if self.shifts and self.training:
            shift = _LARGEST_SHIFT * (2 * torch.rand(len(frames), 2, device=frames.device, dtype=frames.dtype) - 1)
        seen = reduce_frames(frames, shift, self.smooth)
        if self.background:
            seen = torch.cat([seen, seen - reduce_frames(backgrounds, shift, self.smooth)], dim=1)
        x = self.to_map(self.layer4(self.features(seen))).flatten(1)
        values = at_least_float32(self.fc(x)).unflatten(1, (-1, self.sides + 3)).transpose(0, 1)
        size, center, depth = values.split((self.sides, 2, 1), dim=-1)
        smallest, largest, border = self.bounds
        size = smallest + (largest - smallest) * torch.sigmoid(size)
        if self.sides == 1:
            height, width = frames.shape[-2:]
            size = torch.cat([size * ((height - 1) / (width - 1)), size], dim=-1)
        center = border * torch.tanh(center)
        return box_matrices(size, center if shift is None else center + shift), depth.squeeze(-1)


def reduce_frames(frames: torch.Tensor, shift: torch.Tensor | None = None, smooth: bool = False) -> torch.Tensor:
    """Frames (B,3,H,W) -> what the detector sees of them (B,3,128,128), moved by `shift` (B,2) in half frame sides.

    Without `smooth`, as published, there is no low-pass filter, and what is thin may disappear.
    """
    if smooth:
        # With both, torch moves the picture: aligned corners are left out, which scales it by less than a pixel.
        frames = functional.interpolate(frames, size=(SIDE, SIDE), mode="bilinear", antialias=True)
    if shift is not None:
        return crop_frames(frames, box_matrices(torch.ones_like(shift), shift)[None], SIDE)
    return frames if smooth else functional.interpolate(frames, (SIDE, SIDE), mode="bilinear", align_corners=True)
