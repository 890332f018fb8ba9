"""Landmarks: RTMPose-l for the whole body at 384×288, the network and key names of ``dw-ll_ucoco_384.pth``.

Ports have the names of DWPose's published ONNX file.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .batch_norm import ConvBn, fold_batch_norms
from .interface import LANDMARK_INPUT, LANDMARKS, SIMCC_SPLIT, Network, Port, portable_class
from .samples import Pictures, Sample

#: The backbone divides the picture by this.
REDUCTION = 32


@dataclasses.dataclass(frozen=True)
class RtmPoseSizes:
    """Widths; the defaults are RTMPose-l's."""

    #: Channels of the stem and of the four stages.
    channels: tuple[int, int, int, int, int] = (64, 128, 256, 512, 1024)
    #: Blocks of the four stages.
    blocks: tuple[int, int, int, int] = (3, 6, 6, 3)
    #: Values of one key point's token.
    hidden: int = 256


def landmarks_network(pose: RtmPose) -> Network:
    """The network ``landmarks`` of an ``RtmPose`` with its weights."""
    rows, columns = LANDMARK_INPUT
    pictures = Pictures("landmarks.input", 2.0**-6, lambda count: LANDMARK_INPUT)
    sample = Sample((1, 8, 1), axis=2, axis_strides=(1, 1))
    return Network(
        "landmarks",
        fold_batch_norms(pose),
        [Port("input", ("batch", 3, rows, columns))],
        [
            Port("simcc_x", ("batch", LANDMARKS, columns * SIMCC_SPLIT)),
            Port("simcc_y", ("batch", LANDMARKS, rows * SIMCC_SPLIT)),
        ],
        pictures.example,
        checkpoint=pose,
        pictures=pictures,
        samples={"simcc_x": sample, "simcc_y": sample},
    )


@portable_class
class RtmPose(nn.Module):
    """RGB ``[B, 3, 384, 288]``, normalised, to logits of x ``[B, 133, 576]`` and y ``[B, 133, 768]``."""

    def __init__(self, sizes: RtmPoseSizes | None = None) -> None:
        super().__init__()
        sizes = sizes or RtmPoseSizes()
        self.backbone = CspNext(sizes)
        self.head = SimccHead(sizes)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.backbone(image))


class CspNext(nn.Module):
    """CSPNeXt: a stem, then four stages, each halving the picture; the last alone is given on."""

    def __init__(self, sizes: RtmPoseSizes) -> None:
        super().__init__()
        stem, *stages = sizes.channels
        half = max(stem // 2, 1)
        self.stem = nn.Sequential(silu(3, half, 3, 2), silu(half, half, 3), silu(half, stem, 3))
        inputs = stem
        for number, (outputs, blocks) in enumerate(zip(stages, sizes.blocks), start=1):
            last = number == len(stages)
            layers = [silu(inputs, outputs, 3, 2), *([SpatialPyramid(outputs)] if last else [])]
            layers.append(CspLayer(outputs, blocks, residual=not last))
            setattr(self, f"stage{number}", nn.Sequential(*layers))
            inputs = outputs

    def forward(self, image: Tensor) -> Tensor:
        return self.stage4(self.stage3(self.stage2(self.stage1(self.stem(image)))))


def silu(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> ConvBn:
    """Convolution, batch norm, SiLU."""
    return ConvBn(inputs, outputs, kernel, stride, groups, activation=functional.silu)


class SpatialPyramid(nn.Module):
    """The map beside its maxima over 5, 9 and 13 pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = silu(width, half, 1)
        self.poolings = nn.ModuleList(nn.MaxPool2d(size, 1, size // 2) for size in (5, 9, 13))
        self.conv2 = silu(4 * half, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.conv2(torch.cat([x, *(pooling(x) for pooling in self.poolings)], dim=1))


class CspLayer(nn.Module):
    """Half of the channels through the blocks, half past them; channels are weighed, then mixed."""

    def __init__(self, width: int, blocks: int, residual: bool) -> None:
        super().__init__()
        half = width // 2
        self.main_conv = silu(width, half, 1)
        self.short_conv = silu(width, half, 1)
        self.final_conv = silu(2 * half, width, 1)
        self.blocks = nn.Sequential(*(CspBlock(half, residual) for _ in range(blocks)))
        self.attention = ChannelAttention(2 * half)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), dim=1)
        return self.final_conv(self.attention(both))


class CspBlock(nn.Module):
    """A 3×3 convolution, then a depthwise one of 5×5 and a pointwise one."""

    def __init__(self, width: int, residual: bool) -> None:
        super().__init__()
        self.conv1 = silu(width, width, 3)
        self.conv2 = DepthwiseSeparable(width)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x))
        return out + x if self.residual else out


class DepthwiseSeparable(nn.Module):
    """5×5 within each channel, then 1×1 across them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise_conv = silu(width, width, 5, groups=width)
        self.pointwise_conv = silu(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


class ChannelAttention(nn.Module):
    """Channels weighed by a function of their means."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * functional.hardsigmoid(self.fc(x.mean((2, 3), keepdim=True)))


class SimccHead(nn.Module):
    """A map to one token a key point, and from that to its place on either axis."""

    def __init__(self, sizes: RtmPoseSizes) -> None:
        super().__init__()
        rows, columns = LANDMARK_INPUT
        cells = (rows // REDUCTION) * (columns // REDUCTION)
        self.final_layer = nn.Conv2d(sizes.channels[-1], LANDMARKS, 7, padding=3)
        self.mlp = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, sizes.hidden, bias=False))
        self.gau = GatedAttention(sizes.hidden)
        self.cls_x = nn.Linear(sizes.hidden, columns * SIMCC_SPLIT, bias=False)
        self.cls_y = nn.Linear(sizes.hidden, rows * SIMCC_SPLIT, bias=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.gau(self.mlp(self.final_layer(features).flatten(2)))
        return self.cls_x(tokens), self.cls_y(tokens)


class ScaleNorm(nn.Module):
    """Tokens at one length: x / max(‖x‖ · d^-½, 1e-5) · g. The length is taken in fp32: squares overflow
    f16."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = width**-0.5
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        length = x.float().square().sum(-1, keepdim=True).sqrt() * self.scale
        return x / length.clamp(min=1e-5).to(x.dtype) * self.g


class GatedAttention(nn.Module):
    """One gated attention unit with squared ReLU over the key points, beside a scaled shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expanded, self.keys = 2 * width, width // 2
        self.ln = ScaleNorm(width)
        self.uv = nn.Linear(width, 2 * self.expanded + self.keys, bias=False)
        self.gamma = nn.Parameter(torch.ones(2, self.keys))
        self.beta = nn.Parameter(torch.zeros(2, self.keys))
        self.o = nn.Linear(self.expanded, width, bias=False)
        self.res_scale = Scale(width)

    def forward(self, tokens: Tensor) -> Tensor:
        uv = functional.silu(self.uv(self.ln(tokens)))
        u, v, base = uv.split([self.expanded, self.expanded, self.keys], dim=2)
        query = base * self.gamma[0] + self.beta[0]
        key = base * self.gamma[1] + self.beta[1]
        weight = (query @ key.transpose(1, 2) / math.sqrt(self.keys)).relu().square()
        return self.res_scale(tokens) + self.o(u * (weight @ v))


class Scale(nn.Module):
    """A factor for each value."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale
