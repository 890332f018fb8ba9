"""Networks in half precision."""

from __future__ import annotations

import copy
import dataclasses

from .interface import Network
from .unet import OneStepUNet


def half(network: Network) -> Network:
    """``network`` in half precision, as a copy; its ports then carry f16.

    The UNet's time step is folded, so that a TorchScript file runs on whatever device it is loaded to.
    """
    module = copy.deepcopy(network.module)
    for part in module.modules():
        if isinstance(part, OneStepUNet):
            part.fold_time()
    return dataclasses.replace(network, module=module.half())
