"""Face parsing: BiSeNet with a ResNet-18 context path, the network and key names of ``79999_iter.pth``.

Widths are multiples of ``width``, 64 in the published network. Three outputs are trained; the first alone is
used, and the weights of the two others are kept for the checkpoint's sake.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .batch_norm import ConvBn, Foldable, fold_batch_norms
from .interface import PARSING_CLASSES, PARSING_SIZE, Network, Port, portable_class
from .samples import Pictures, Sample


def face_parsing_network(bisenet: BiSeNet) -> Network:
    """The network ``face_parsing`` of a ``BiSeNet`` with its weights."""
    pictures = Pictures("face_parsing.image", 2.0**-6, lambda count: (PARSING_SIZE, PARSING_SIZE))
    return Network(
        "face_parsing",
        fold_batch_norms(bisenet),
        [Port("image", ("batch", 3, PARSING_SIZE, PARSING_SIZE))],
        [Port("logits", ("batch", PARSING_CLASSES, PARSING_SIZE, PARSING_SIZE))],
        pictures.example,
        checkpoint=bisenet,
        pictures=pictures,
        samples={"logits": Sample((1, 1, 16, 16), axis=1, axis_strides=(1, 2, 2))},
    )


@portable_class
class BiSeNet(nn.Module):
    """RGB ``[B, 3, 512, 512]``, less ImageNet's mean over its deviation, to logits ``[B, 19, 512, 512]``."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.cp = ContextPath(width)
        self.ffm = FeatureFusion(4 * width)
        self.conv_out = Output(4 * width, 4 * width)
        self.conv_out16 = Output(2 * width, width)
        self.conv_out32 = Output(2 * width, width)

    def forward(self, image: Tensor) -> Tensor:
        fine, context = self.cp(image)
        logits = self.conv_out(self.ffm(fine, context))
        size = (PARSING_SIZE, PARSING_SIZE)
        return functional.interpolate(logits, size, mode="bilinear", align_corners=True)


class ContextPath(nn.Module):
    """A picture to two maps at an eighth of its size: ResNet's own, and one that knows what lies around."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.resnet = ResNet18(width)
        self.arm16 = AttentionRefinement(4 * width, 2 * width)
        self.arm32 = AttentionRefinement(8 * width, 2 * width)
        self.conv_head32 = ConvBn(2 * width, 2 * width, 3)
        self.conv_head16 = ConvBn(2 * width, 2 * width, 3)
        self.conv_avg = ConvBn(8 * width, 2 * width, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        eighth, sixteenth, thirty_second = self.resnet(image)
        # One value a channel: broadcasting is what upsampling by nearest would give.
        average = self.conv_avg(thirty_second.mean((2, 3), keepdim=True))
        coarse = double(self.arm32(thirty_second) + average)
        middle = double(self.arm16(sixteenth) + self.conv_head32(coarse))
        return eighth, self.conv_head16(middle)


def double(x: Tensor) -> Tensor:
    """``x`` at twice the size, by nearest."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class ResNet18(Foldable):
    """ResNet-18 without its classifier: maps at 1/8, 1/16 and 1/32 of the picture's size."""

    norms = {"bn1": "conv1"}

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = stage(width, width, 1)
        self.layer2 = stage(width, 2 * width, 2)
        self.layer3 = stage(2 * width, 4 * width, 2)
        self.layer4 = stage(4 * width, 8 * width, 2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quarter = self.maxpool(functional.relu(self.bn1(self.conv1(image))))
        eighth = self.layer2(self.layer1(quarter))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


def stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Two blocks; the first changes width and size."""
    return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1))


class BasicBlock(Foldable):
    """Two 3×3 convolutions beside a shortcut."""

    norms = {"bn1": "conv1", "bn2": "conv2"}

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = Shortcut(inputs, outputs, stride) if inputs != outputs or stride != 1 else None

    def forward(self, x: Tensor) -> Tensor:
        residual = functional.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(shortcut + residual)


class Shortcut(nn.Sequential, Foldable):
    """The shortcut where width or size changes."""

    norms = {"1": "0"}

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class AttentionRefinement(Foldable):
    """A 3×3 convolution whose channels are weighed by their means."""

    norms = {"bn_atten": "conv_atten"}

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvBn(inputs, outputs, 3)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x)
        weight = self.bn_atten(self.conv_atten(features.mean((2, 3), keepdim=True)))
        return features * weight.sigmoid()


class FeatureFusion(nn.Module):
    """Both maps at 1/8 to one of as many channels; channels are raised by their means."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convblk = ConvBn(width, width, 1)
        self.conv1 = nn.Conv2d(width, width // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(width // 4, width, 1, bias=False)

    def forward(self, fine: Tensor, context: Tensor) -> Tensor:
        features = self.convblk(torch.cat((fine, context), dim=1))
        weight = self.conv2(functional.relu(self.conv1(features.mean((2, 3), keepdim=True))))
        return features * weight.sigmoid() + features


class Output(nn.Module):
    """A head: 3×3, then 1×1 to the classes."""

    def __init__(self, inputs: int, middle: int) -> None:
        super().__init__()
        self.conv = ConvBn(inputs, middle, 3)
        self.conv_out = nn.Conv2d(middle, PARSING_CLASSES, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv(x))
