"""From speech to audio tokens. In: f32 samples at 16 kHz. Out: one window of 50 tokens for each video
frame."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..networks import Network
from ..networks.interface import FEATURES_PER_SECOND

SAMPLE_RATE = 16_000
#: Samples of one segment, 30 s; each has a mel of its own.
SEGMENT = 480_000
#: Video frames of context on either side.
LEFT = RIGHT = 2


def log_mel(samples: np.ndarray) -> Tensor:
    """Log-mel f32 ``[segments, 80, 3000]``, each segment scaled by its own maximum."""
    from transformers import WhisperFeatureExtractor

    extract = WhisperFeatureExtractor()
    segments = [samples[start : start + SEGMENT] for start in range(0, len(samples), SEGMENT)]
    mels = [extract(segment, sampling_rate=SAMPLE_RATE, return_tensors="pt") for segment in segments]
    return torch.cat([mel.input_features for mel in mels])


def mel_bank() -> np.ndarray:
    """The mel filter bank, f64 ``[201, 80]``."""
    from transformers import WhisperFeatureExtractor

    return np.asarray(WhisperFeatureExtractor().mel_filters, dtype=np.float64)


def hidden_states(whisper: Network, mel: Tensor, samples: int) -> Tensor:
    """The library's five hidden states of each step, ``[T, 5, 384]``, as long as the speech."""
    with torch.no_grad():
        states = whisper.module.encoder(mel, output_hidden_states=True).hidden_states
        features = whisper.module.widen(torch.stack(states, dim=2))
    return features.flatten(0, 1)[: feature_rows(samples)]


def feature_rows(samples: int) -> int:
    """T: encoder steps of that many samples."""
    return math.floor((samples / SAMPLE_RATE) * FEATURES_PER_SECOND)


def video_frames(samples: int, fps: float) -> int:
    """F: video frames of that many samples; frame rates lose their fraction."""
    return math.floor((samples / SAMPLE_RATE) * int(fps))


def first_rows(samples: int, fps: float) -> np.ndarray:
    """The first feature row of each frame's window, i32 ``[F]``; rows before 0 and from T on are zeros."""
    multiple = FEATURES_PER_SECOND / int(fps)
    padding = math.ceil(multiple) * LEFT
    frames = range(video_frames(samples, fps))
    return np.array([math.floor(frame * multiple) - padding for frame in frames], np.int32)


def windows(features: Tensor, samples: int, fps: float) -> Tensor:
    """Windows ``[F, 50, 384]``; a token is one state of one step, states of a step one after the other."""
    multiple = FEATURES_PER_SECOND / int(fps)
    padding = math.ceil(multiple)
    # The reference pads with slices of zeros, which are no longer than the features.
    nothing = torch.zeros_like(features)
    padded = torch.cat((nothing[: padding * LEFT], features, nothing[: padding * 3 * RIGHT]))
    length = 2 * (LEFT + RIGHT + 1)
    pieces = []
    for frame in range(video_frames(samples, fps)):
        start = math.floor(frame * multiple)
        piece = padded[start : start + length]
        if len(piece) != length:
            raise ValueError(f"frame {frame} of {samples} samples at {fps} fps: the reference gives up here")
        pieces.append(piece.flatten(0, 1))
    return torch.stack(pieces)
