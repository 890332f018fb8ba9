"""The Whisper encoder with all of its hidden states, for pieces of any even length."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .interface import FEATURE_DIM, HIDDEN_STATES, MEL_BINS, Network, Port, portable_class
from .samples import Sample


def whisper_network(encoder: nn.Module, width: int = FEATURE_DIM) -> Network:
    """The network ``whisper_encoder`` around a ``transformers`` ``WhisperEncoder`` of that many columns."""
    return Network(
        "whisper_encoder",
        StackedWhisperEncoder(encoder, width),
        [Port("mel", ("batch", MEL_BINS, "mel_frames"))],
        [Port("features", ("batch", "steps", HIDDEN_STATES, FEATURE_DIM))],
        whisper_example,
        samples={"features": Sample((1, 4, 1, 1))},
    )


def whisper_example(count: int, rng: torch.Generator) -> tuple[Tensor, ...]:
    """A batch of mels. The length varies with the batch, so that checks cover that axis too."""
    return (torch.randn(count, MEL_BINS, 48 + 8 * count, generator=rng),)


@portable_class
class StackedWhisperEncoder(nn.Module):
    """Return all hidden states of a Whisper encoder as [B, T/2, 5, 384].

    Unlike the library's own ``forward`` this accepts any even number of mel frames up to 3000, which lets a
    streaming caller encode short pieces. With 3000 frames both give the same numbers.

    Narrow presets end in one linear layer that widens the features to 384 columns; the published width needs
    none.
    """

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.widen = nn.Identity() if width == FEATURE_DIM else nn.Linear(width, FEATURE_DIM, bias=False)

    def forward(self, mel: Tensor) -> Tensor:
        enc = self.encoder
        state = nn.functional.gelu(enc.conv1(mel))
        state = nn.functional.gelu(enc.conv2(state)).transpose(1, 2)
        state = state + enc.embed_positions.weight[: state.shape[1]]
        states = [state]
        for layer in enc.layers:
            out = layer(state, None)
            state = out[0] if isinstance(out, tuple) else out
            states.append(state)
        states[-1] = enc.layer_norm(states[-1])
        return self.widen(torch.stack(states, dim=2))
