"""Convolution blocks that several parts of the network share."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional


def conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution that keeps the size, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
    )


def conv_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution that keeps the size, ReLU."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.ReLU(inplace=True))


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two `conv_bn_relu`: (B,in_channels,H,W) -> (B,out_channels,H,W)."""
    return nn.Sequential(
        OrderedDict(conv1=conv_bn_relu(in_channels, out_channels), conv2=conv_bn_relu(out_channels, out_channels))
    )


def double_conv_without_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution and ReLU, twice: what follows each upsampling in the decoder."""
    return nn.Sequential(
        OrderedDict(conv1=conv_relu(in_channels, out_channels), conv2=conv_relu(out_channels, out_channels))
    )


class Doubling(nn.ConvTranspose2d):
    """Transposed convolution of size and stride 2, which doubles the resolution: (B,C,H,W) -> (B,C',2H,2W)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Each position becomes a square of 2x2 of its own, so that all of them are rows of one product. The general
        # transposed convolution of a CPU takes several times as long, and its copies more than its products.
        rows = x.permute(0, 2, 3, 1)
        kernel = self.weight.permute(2, 3, 1, 0).flatten(0, 2)
        squares = functional.linear(rows, kernel, self.bias.repeat(4)).unflatten(3, (2, 2, -1))
        return squares.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def convolve_both(conv: nn.Conv2d, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """`conv` of the concatenation of (B,C1,H,W) and (B,C2,H,W), without forming it."""
    # A convolution is a sum over its input channels, so each input can be convolved by its share of the kernel.
    # At full resolution the concatenation and its gradient would be among the largest tensors of a training step.
    parts = conv.weight.split([first.shape[1], second.shape[1]], dim=1)
    return functional.conv2d(first, parts[0], None, conv.stride, conv.padding) + functional.conv2d(
        second, parts[1], conv.bias, conv.stride, conv.padding
    )


def in_layout_of(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """`x` (B,C,H,W) in the memory layout of a convolution's `weight`: channels last if those of `weight` are."""
    # Convolutions keep the layout of their input, and are faster when it is that of their weight. What comes out of
    # a linear layer is contiguous: without this copy the whole decoder would run in the slower layout.
    # A kernel with one input channel or of size 1x1 has both layouts, which says nothing.
    last = weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    return x.contiguous(memory_format=torch.channels_last) if last else x


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions: (B,in_channels,H,W) -> (B,planes,H/stride,W/stride).

    `downsample` makes the input fit to be added. Source: He et al., Deep Residual Learning (CVPR 2016). Names and order
    of its parts are torchvision's, whose weights therefore load by name; importing its models takes two seconds
    and 160 MiB.
    """

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int = 1, downsample: nn.Module | None = None):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Bottleneck(nn.Module):
    """Residual block of 1x1, 3x3 and 1x1 convolutions: (B,in_channels,H,W) -> (B,4*planes,H/stride,W/stride).

    As `BasicBlock`; the stride is that of the 3x3 convolution, as in torchvision.
    """

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int = 1, downsample: nn.Module | None = None):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, self.expansion * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.expansion * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


def residual_stage(block: type, in_channels: int, planes: int, count: int, stride: int) -> nn.Sequential:
    """`count` residual blocks (`BasicBlock` or `Bottleneck`), the first with `stride`."""
    out_channels = planes * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    blocks = [block(in_channels, planes, stride, downsample)]
    blocks += [block(out_channels, planes) for _ in range(count - 1)]
    return nn.Sequential(*blocks)


def init_residual_convs(module: nn.Module) -> None:
    """Draw the convolutions from a normal with std sqrt(2 / (k*k*out)), as published; batch norm starts at 1 and 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
