"""Perceptual features: the first layers of a fixed network."""

import torch
from torch import nn

from models.parts.blocks import BasicBlock, init_residual_convs, residual_stage
from models.parts.efficientnet import EfficientNetTrunk
from models.parts.weights import load_pretrained

EFFICIENTNET = "efficientnet-lite0"


def perceptual_features(weights: str | None) -> nn.Module:
    """What `perceptual_weights` names: EfficientNet-lite0 of its package, or a ResNet-18 (see `PerceptualFeatures`)."""
    return EfficientNetFeatures("imagenet") if weights == EFFICIENTNET else PerceptualFeatures(weights)


class EfficientNetFeatures(nn.Module):
    """EfficientNet-lite0's first three stages, never trained: normalized images (B,3,R,R) -> three feature maps.

    They are (B,16,R/2,R/2), (B,24,R/4,R/4) and (B,40,R/8,R/8), each channel divided by its deviation over photographs.
    Batch norm uses the stored statistics, in training too. `weights`: as `EfficientNetTrunk.load_imagenet`.
    """

    def __init__(self, weights: str):
        super().__init__()
        # A run that is resumed must draw the same numbers after it.
        with torch.random.fork_rng(devices=[]):
            self.trunk = EfficientNetTrunk(depth=3)
        self.trunk.load_imagenet(weights, key="perceptual_weights")
        self.trunk.fix_statistics()
        self.requires_grad_(False)
        for number, stage in enumerate(self.trunk.stages):
            # The last layer of a stage is batch norm, whose weight is the deviation of what it puts out. Channels that
            # hardly vary are left small.
            deviation = stage[-1].project[1].weight.abs()
            deviation = deviation.clamp(min=0.1 * float(deviation.mean()))
            self.register_buffer(f"inverse_deviation{number}", (1 / deviation).view(-1, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps = self.trunk(images)
        return tuple(value * getattr(self, f"inverse_deviation{number}") for number, value in enumerate(maps))


class PerceptualFeatures(nn.Module):
    """ResNet-18 up to layer2, never trained: normalized images (B,3,R,R) -> three feature maps.

    The maps follow the first ReLU (B,64,R/2,R/2), layer1 (B,64,R/4,R/4) and layer2 (B,128,R/8,R/8). In train mode
    batch norm uses the statistics of the batch, as the published training does, and leaves the stored ones unchanged.

    `weights`: "imagenet", the path of a torchvision ResNet-18 state dict, or None for random features that are
    the same in every run.
    """

    def __init__(self, weights: str | None):
        super().__init__()
        # A run that is resumed must see the same random features, and must draw the same numbers after them: a seed
        # of their own, and the caller's random state restored.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.layer1 = residual_stage(BasicBlock, 64, 64, 2, stride=1)
            self.layer2 = residual_stage(BasicBlock, 64, 128, 2, stride=2)
            init_residual_convs(self)
        if weights is not None:
            load_pretrained(self, ["conv1", "bn1", "layer1", "layer2"], weights, "resnet18", key="perceptual_weights")
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                # With momentum 0 an update of the statistics leaves them as they are. No counter: it would be one
                # operation more per layer.
                part.momentum, part.num_batches_tracked = 0.0, None
        self.requires_grad_(False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        first = torch.relu_(self.bn1(self.conv1(images)))
        second = self.layer1(nn.functional.max_pool2d(first, 3, stride=2, padding=1))
        return first, second, self.layer2(second)
