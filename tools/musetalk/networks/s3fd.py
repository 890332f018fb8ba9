"""Face detection: S3FD on VGG-16, the network and key names of ``s3fd-619a316812.pth``.

Widths are multiples of ``width``, 64 in the published network. Heads give logits; the caller takes the
softmax.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .interface import Network, Port, portable_class
from .samples import Pictures

#: Convolutions and channels, in multiples of the width, of each stage of the trunk.
TRUNK = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))
#: The layers that have a head, their channels in multiples of the width, and the channels of the class head.
HEADS = (
    ("conv3_3_norm", 4, 4),
    ("conv4_3_norm", 8, 2),
    ("conv5_3_norm", 8, 2),
    ("fc7", 16, 2),
    ("conv6_2", 8, 2),
    ("conv7_2", 4, 2),
)
#: The learned scales that the published network began with.
NORM_SCALES = {"conv3_3_norm": 10.0, "conv4_3_norm": 8.0, "conv5_3_norm": 5.0}


def face_detector_network(detector: S3fd) -> Network:
    """The network ``face_detector`` of an ``S3fd`` with its weights."""
    outputs = []
    for head in range(len(HEADS)):
        grid = (f"rows{head}", f"columns{head}")
        outputs += [Port(f"class{head}", ("batch", 2, *grid)), Port(f"box{head}", ("batch", 4, *grid))]
    inputs = [Port("image", ("batch", 3, "height", "width"))]
    # The size varies with the batch, so that checks cover those axes too.
    pictures = Pictures("face_detector.image", 1.0, lambda count: (90 + 17 * count, 128 + 14 * count))
    return Network("face_detector", detector, inputs, outputs, pictures.example, pictures=pictures)


@portable_class
class S3fd(nn.Module):
    """RGB ``[B, 3, H, W]`` in 0…255 less (104, 117, 123) to six pairs of maps, finest first: class logits
    ``[B, 2, h, w]`` (background, face) and boxes ``[B, 4, h, w]``."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        inputs = 3
        for stage, (convolutions, multiple) in enumerate(TRUNK, start=1):
            for number in range(1, convolutions + 1):
                setattr(self, f"conv{stage}_{number}", nn.Conv2d(inputs, multiple * width, 3, padding=1))
                inputs = multiple * width
        # A padding of 3 around a kernel of 3: the map grows by 4.
        self.fc6 = nn.Conv2d(inputs, 16 * width, 3, padding=3)
        self.fc7 = nn.Conv2d(16 * width, 16 * width, 1)
        self.conv6_1 = nn.Conv2d(16 * width, 4 * width, 1)
        self.conv6_2 = nn.Conv2d(4 * width, 8 * width, 3, 2, 1)
        self.conv7_1 = nn.Conv2d(8 * width, 2 * width, 1)
        self.conv7_2 = nn.Conv2d(2 * width, 4 * width, 3, 2, 1)
        for name, multiple, classes in HEADS:
            if name in NORM_SCALES:
                setattr(self, name, ChannelNorm(multiple * width, NORM_SCALES[name]))
            setattr(self, f"{name}_mbox_conf", nn.Conv2d(multiple * width, classes, 3, padding=1))
            setattr(self, f"{name}_mbox_loc", nn.Conv2d(multiple * width, 4, 3, padding=1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps = self.features(image)
        outputs: list[Tensor] = []
        for (name, _, _), features in zip(HEADS, maps):
            if name in NORM_SCALES:
                features = getattr(self, name)(features)
            scores = getattr(self, f"{name}_mbox_conf")(features)
            if scores.shape[1] == 4:
                # Three kinds of background, so that small faces stand out: the strongest counts.
                scores = torch.cat((scores[:, :3].amax(1, keepdim=True), scores[:, 3:]), dim=1)
            outputs += [scores, getattr(self, f"{name}_mbox_loc")(features)]
        return tuple(outputs)

    def features(self, image: Tensor) -> list[Tensor]:
        """The six maps that have heads, before their norms."""
        maps = []
        x = image
        for stage, (convolutions, _) in enumerate(TRUNK, start=1):
            for number in range(1, convolutions + 1):
                x = getattr(self, f"conv{stage}_{number}")(x).relu()
            if stage >= 3:
                maps.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.fc7(self.fc6(x).relu()).relu()
        maps.append(x)
        for stage in (6, 7):
            x = getattr(self, f"conv{stage}_1")(x).relu()
            x = getattr(self, f"conv{stage}_2")(x).relu()
            maps.append(x)
        return maps


class ChannelNorm(nn.Module):
    """Each cell's values at length one, times a learned scale. The length is taken in fp32: squares overflow
    f16."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        length = x.float().square().sum(1, keepdim=True).sqrt() + 1e-10
        return (x.float() / length).to(x.dtype) * self.weight[:, None, None]
