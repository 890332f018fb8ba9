"""What every network of a bundle has in common: named ports, sizes, and the constants of the pipeline.

In: an ``nn.Module`` with its weights. Out: a :class:`Network`, which the exporters and the goldens take.
"""

from __future__ import annotations

import dataclasses
from typing import Callable, Mapping

import torch
from torch import Tensor, nn

from .samples import Pictures, Sample

#: Columns and rows of the face that UNet and VAE see.
IMAGE_SIZE = 256
#: Channels of one latent; the UNet takes two latents, of the masked and of the whole face.
LATENT_CHANNELS = 4
#: Columns and rows of a latent.
LATENT_SIZE = IMAGE_SIZE // 8
#: Factor between the VAE's posterior and a scaled latent; the default of diffusers, absent from sd-vae's
#: file.
SCALING_FACTOR = 0.18215
#: Values of one hidden state of the published Whisper encoder, and the width of the UNet's context.
FEATURE_DIM = 384
#: Hidden states of the encoder: the input of its first layer and the output of each.
HIDDEN_STATES = 5
#: Encoder steps that one video frame hears.
WINDOW_STEPS = 10
#: Audio tokens of one video frame.
AUDIO_TOKENS = WINDOW_STEPS * HIDDEN_STATES
#: Mel bands.
MEL_BINS = 80
#: Mel frames of 30 s, the longest piece that the encoder takes.
MEL_FRAMES = 3000
#: Encoder steps of one second.
FEATURES_PER_SECOND = 50
#: The diffusion step that MuseTalk runs, and the only one.
UNET_TIMESTEP = 0
#: Columns and rows of the picture that face parsing sees.
PARSING_SIZE = 512
#: Classes of face parsing.
PARSING_CLASSES = 19
#: Rows and columns of the picture that the landmark network sees.
LANDMARK_INPUT = (384, 288)
#: Key points of a whole body; 23…90 are the face's.
LANDMARKS = 133
#: SimCC bins per input pixel.
SIMCC_SPLIT = 2

#: The networks that version 1 of the maker of bundles wrote; their goldens are stored whole by default.
FIRST_MODELS = ("unet", "vae_decoder", "vae_encoder", "whisper_encoder")
#: The seven networks of the pipeline and the small decoder, in the order in which they are written.
MODEL_NAMES = (*FIRST_MODELS, "taesd_decoder", "face_parsing", "landmarks", "face_detector")


@dataclasses.dataclass
class Port:
    """One named tensor of a network's interface; a dynamic axis has a name instead of a length."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "f32"

    def dynamic_axes(self) -> dict[int, str]:
        """The named axes, by index."""
        return {i: size for i, size in enumerate(self.shape) if isinstance(size, str)}


@dataclasses.dataclass
class Network:
    """A network together with its interface and example inputs.

    ``module`` is what is exported. ``checkpoint`` has the weights under their published names, where it is
    another module than that: batch norms are folded into ``module``'s convolutions, say.
    """

    name: str
    module: nn.Module
    inputs: list[Port]
    outputs: list[Port]
    #: Makes inputs for a batch of that many.
    example: Callable[[int, torch.Generator], tuple[Tensor, ...]]
    checkpoint: nn.Module | None = None
    #: Where goldens shall be small: what the one input is made of, and the part that is kept of each output.
    pictures: Pictures | None = None
    samples: Mapping[str, Sample] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for module in (self.module, self.checkpoint):
            if module is not None:
                module.eval().requires_grad_(False)

    def run(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The outputs for ``tensors``, in the order of the ports."""
        with torch.no_grad():
            out = self.module(*tensors)
        return out if isinstance(out, tuple) else (out,)

    def weights(self) -> dict[str, Tensor]:
        """The weights under the names of the published checkpoint."""
        state = (self.checkpoint or self.module).state_dict()
        return {official_name(key): value.detach().contiguous().clone() for key, value in state.items()}


def official_name(key: str) -> str:
    """``key`` without the wrapper's own prefix: ``unet.conv_in.weight`` is ``conv_in.weight``."""
    return key.removeprefix("unet.")


def portable_class(cls: type[nn.Module]) -> type[nn.Module]:
    """Name ``cls`` in TorchScript archives by its bare name, wherever the class is defined.

    Otherwise an archive would hold the path of the Python module, and change when that is renamed.
    """
    cls._jit_override_qualname = f"__torch__.{cls.__name__}"  # type: ignore[attr-defined]
    return cls
