"""Weights drawn from a seed for the networks that look for the face, and for the small decoder.

They are settled on made-up pictures, so that every class of face parsing that a width leaves room for wins
somewhere, and faces are found here and there.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from .. import portable, scene
from ..presets import Preset
from .bisenet import BiSeNet, face_parsing_network
from .interface import LANDMARK_INPUT, LATENT_CHANNELS, LATENT_SIZE, PARSING_SIZE, Network
from .rtmpose import RtmPose, landmarks_network
from .s3fd import HEADS, S3fd, face_detector_network
from .settle import Target, settle
from .taesd import taesd_decoder_network

#: Deviation of SimCC's logits, of face parsing's, of the detector's class logits, and of its box values.
SIMCC_GAIN, PARSING_GAIN, CLASS_GAIN, BOX_GAIN = 3.0, 3.0, 1.5, 0.7
#: Mean logit of background less that of face: one cell in a hundred or so has a face.
BACKGROUND = 3.0


def random_taesd(preset: Preset, seed: int) -> Network:
    """TAESD's decoder with pictures around mid grey."""
    from diffusers import AutoencoderTiny

    torch.manual_seed(seed + 3)
    taesd = AutoencoderTiny(**preset.taesd_config())
    draw_weights(taesd)
    latent = portable.floats_of("settle.latent", (1, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE), 1.7)
    last = f"layers.{len(taesd.decoder.layers) - 1}"
    settle(taesd.decoder, on_device(latent), {last: Target(0.2, (0.5, 0.5, 0.5))})
    return taesd_decoder_network(taesd)


def random_face_parsing(preset: Preset, seed: int) -> Network:
    """BiSeNet whose last layer is blind to what all channels have in common: no class wins everywhere."""
    torch.manual_seed(seed + 4)
    bisenet = BiSeNet(preset.parsing_width)
    draw_weights(bisenet)
    last = bisenet.conv_out.conv_out.weight
    last.data -= last.data.mean(1, keepdim=True)
    settle(bisenet, pictures(PARSING_SIZE, PARSING_SIZE, 2.0), {"conv_out.conv_out": Target(PARSING_GAIN)})
    return face_parsing_network(bisenet)


def random_landmarks(preset: Preset, seed: int) -> Network:
    """RTMPose with key points all over the picture."""
    torch.manual_seed(seed + 5)
    pose = RtmPose(preset.pose)
    draw_weights(pose)
    targets = {f"head.{layer}": Target(SIMCC_GAIN) for layer in ("cls_x", "cls_y")}
    targets["head.gau.o"] = Target(0.3)  # Its gates are products: a larger share has few tokens rule.
    settle(pose, pictures(*LANDMARK_INPUT, 2.0), targets)
    return landmarks_network(pose)


def random_face_detector(preset: Preset, seed: int) -> Network:
    """S3FD whose heads find a face in few cells."""
    torch.manual_seed(seed + 6)
    detector = S3fd(preset.detector_width)
    draw_weights(detector)
    targets = {}
    for name, _, classes in HEADS:
        background = [BACKGROUND] * (classes - 1)
        targets[f"{name}_mbox_conf"] = Target(CLASS_GAIN, (*background, 0.0))
        targets[f"{name}_mbox_loc"] = Target(BOX_GAIN, (0.0,) * 4)
    settle(detector, pictures(scene.HEIGHT, scene.WIDTH, 127.0), targets)
    return face_detector_network(detector)


def pictures(rows: int, columns: int, amplitude: float) -> Tensor:
    """A backdrop less its mean, and noise: f32 ``[2, 3, rows, columns]`` in ±``amplitude``."""
    smooth = (scene.backdrop("settle", columns, rows).astype(np.float32) - 128) * (amplitude / 128)
    noise = portable.floats_of("settle.noise", (3, rows, columns), amplitude)
    return on_device(np.stack((smooth.transpose(2, 0, 1), noise)))


def on_device(array: np.ndarray) -> Tensor:
    """``array`` where new tensors are made."""
    return torch.from_numpy(array).to(torch.get_default_device())


def draw_weights(module: nn.Module) -> None:
    """Draw every weight of ``module``: gains for ReLU, small biases, batch norms and scales near one."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.1)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, mean=1.0, std=0.1)
            nn.init.normal_(layer.bias, std=0.1)
        else:
            for name, parameter in layer.named_parameters(recurse=False):
                near_one = parameter.data if name in ("weight", "gamma") else torch.ones_like(parameter)
                if name == "beta":
                    near_one = torch.zeros_like(parameter)
                parameter.data = near_one + 0.1 * torch.randn_like(parameter)
