"""The network: four small convolutions over time, and how its weights are trained and written.

In: features f32 `[frames, 40]`. Out: f32 `[frames, 5]`: opening, width, teeth, closed, speech.
An output sees 8 frames ahead (80 ms) and 24 back.
"""

import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from . import features

# (inputs, outputs, kernel, dilation, frames ahead)
LAYERS = (
    (features.BANDS, 48, 5, 1, 2),
    (48, 48, 3, 2, 2),
    (48, 48, 3, 4, 4),
    (48, 48, 3, 8, 0),
    (48, 5, 1, 1, 0),
)
AHEAD = sum(layer[4] for layer in LAYERS)
BEHIND = sum((k - 1) * d - ahead for _, _, k, d, ahead in LAYERS)
SLOPE = 0.1  # of the leaky rectifier
MAGIC = b"LCVISEM1"
# The first frame whose window does not begin before the sound.
FIRST_WHOLE = 2

CROP = 240
BATCH = 24
DROPOUT = 0.1


def logits(weights, x, key=None):
    """`[batch, frames, 40]` to `[batch, frames, 5]` before the squashing; with a key, hidden channels drop out."""
    for i, ((_, _, kernel, dilation, ahead), (w, b)) in enumerate(zip(LAYERS, weights)):
        behind = (kernel - 1) * dilation - ahead
        padded = jnp.pad(x, ((0, 0), (behind, ahead), (0, 0)))
        count = x.shape[1]
        taps = [padded[:, k * dilation : k * dilation + count] for k in range(kernel)]
        y = jnp.concatenate(taps, -1) @ w + b
        if i < len(LAYERS) - 1:
            y = jnp.where(y > 0, y, SLOPE * y)
            if y.shape == x.shape:
                y = y + x
            if key is not None:
                key, draw = jax.random.split(key)
                # A channel drops out for the whole crop, not for single frames.
                kept = jax.random.bernoulli(draw, 1 - DROPOUT, (y.shape[0], 1, y.shape[2]))
                y = y * kept / (1 - DROPOUT)
        x = y
    return x


def squash(z):
    """Opening, teeth, closed and speech lie in 0..1, width in -1..1."""
    s = jax.nn.sigmoid(z)
    return jnp.stack([s[..., 0], 2 * s[..., 1] - 1, s[..., 2], s[..., 3], s[..., 4]], -1)


def _loss(weights, x, y, key=None):
    z = logits(weights, x, key)[:, BEHIND:-AHEAD]
    y = y[:, BEHIND:-AHEAD]
    out = squash(z)
    speech = y[..., 4]
    square = jnp.square(out - y)

    def entropy(k):
        return jax.nn.softplus(z[..., k]) - y[..., k] * z[..., k]

    return (
        6.0 * jnp.mean(square[..., 0])
        + 1.5 * jnp.mean(square[..., 1] * (0.2 + 0.8 * speech))
        + 1.0 * jnp.mean(square[..., 2])
        + 2.0 * jnp.mean(entropy(3))
        + 0.3 * jnp.mean(entropy(4))
    )


def _initial(seed):
    rng = np.random.default_rng(seed)
    out = []
    for inputs, outputs, kernel, _, _ in LAYERS:
        scale = np.sqrt(2.0 / (inputs * kernel)) * (0.3 if outputs == 5 else 0.7)
        w = rng.standard_normal((inputs * kernel, outputs)) * scale
        out.append((jnp.asarray(w, jnp.float32), jnp.zeros(outputs, jnp.float32)))
    return out


def train(train_set, held_out, steps: int, seed: int):
    """Adam with a cosine schedule; the average of the last tenth's weights is what comes out."""
    x, y, _ = train_set
    rng = np.random.default_rng(seed)
    weights = _initial(seed)
    first = jax.tree.map(jnp.zeros_like, weights)
    second = jax.tree.map(jnp.zeros_like, weights)

    @jax.jit
    def step(weights, first, second, i, rate, xb, yb, key):
        value, gradient = jax.value_and_grad(_loss)(weights, xb, yb, key)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, second, gradient)
        weights = jax.tree.map(
            lambda w, m, v: w - rate * (m / (1 - 0.9**i) / (jnp.sqrt(v / (1 - 0.99**i)) + 1e-6) + 1e-4 * w),
            weights, first, second,
        )
        return weights, first, second, value

    total, average, averaged = 0.0, None, 0
    for i in range(1, steps + 1):
        rate = 3e-3 * min(1.0, i / 200) * (0.5 + 0.5 * np.cos(np.pi * i / steps)) + 2e-5
        at = rng.integers(0, len(x) - CROP, BATCH)
        xb = _vary(rng, np.stack([x[a : a + CROP] for a in at]))
        yb = np.stack([y[a : a + CROP] for a in at])
        weights, first, second, value = step(
            weights, first, second, float(i), rate, xb, yb, jax.random.key(i)
        )
        total += float(value)
        if i > steps * 0.9:
            averaged += 1
            average = weights if average is None else jax.tree.map(
                lambda a, w: a + (w - a) / averaged, average, weights
            )
        if i % 500 == 0:
            held = float(_loss(weights, held_out[0][None, :30_000], held_out[1][None, :30_000]))
            print(f"step {i}: loss {total / 500:.4f}, held-out voice {held:.4f}", flush=True)
            total = 0.0
    return [(np.asarray(w), np.asarray(b)) for w, b in average]


def _vary(rng, x):
    """Other microphones and other heads: a smooth random curve over the bands, and a shift along them."""
    batch = len(x)
    bands = np.linspace(-1, 1, features.BANDS)
    curve = rng.normal(0, 3, (batch, 1)) * bands + rng.normal(0, 1.5, (batch, 1))
    for k in (1, 2, 3, 5):
        curve += rng.normal(0, 1.5, (batch, 1)) * np.cos(np.pi * k * bands + rng.uniform(0, 6.3, (batch, 1)))
    out = x + (curve / features.INPUT_SCALE_DB)[:, None, :]
    shift = rng.uniform(-2, 2, (batch, 1)) * (rng.random((batch, 1)) < 0.7)
    warp = rng.uniform(-1.5, 1.5, (batch, 1)) * np.sin(np.pi * np.arange(features.BANDS) / features.BANDS)
    where = np.clip(np.arange(features.BANDS) + shift + warp, 0, features.BANDS - 1.001)
    low = where.astype(int)
    part = (where - low)[:, None, :]
    low = np.broadcast_to(low[:, None, :], out.shape)
    out = np.take_along_axis(out, low, 2) * (1 - part) + np.take_along_axis(out, low + 1, 2) * part
    return np.clip(out, *features.INPUT_RANGE).astype(np.float32)


def outputs(weights, x: np.ndarray) -> np.ndarray:
    """`[frames, 40]` to `[frames, 5]`; before the first whole window it was as it is in that."""
    first = x[FIRST_WHOLE]
    before = np.tile(first, (BEHIND + FIRST_WHOLE, 1))
    x = np.concatenate([before, x[FIRST_WHOLE :]])
    return np.asarray(squash(logits(weights, jnp.asarray(x)[None]))[0, BEHIND:])


def _hash(data: bytes) -> int:
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def save(weights, path: Path):
    """Little-endian: magic, u32 layers, per layer u32 inputs, outputs, kernel, dilation, ahead, then f32 weights
    `[outputs, kernel, inputs]` and biases; last a u64 FNV-1a of all before."""
    data = MAGIC + struct.pack("<I", len(LAYERS))
    for layer, (w, b) in zip(LAYERS, weights):
        inputs, outputs_, kernel, _, _ = layer
        data += struct.pack("<5I", *layer)
        data += np.asarray(w).reshape(kernel, inputs, outputs_).transpose(2, 0, 1).astype("<f4").tobytes()
        data += np.asarray(b).astype("<f4").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data + struct.pack("<Q", _hash(data)))


def read(path: Path):
    data = path.read_bytes()
    assert data[:8] == MAGIC and struct.unpack("<Q", data[-8:])[0] == _hash(data[:-8]), f"{path} is damaged"
    at, weights = 12, []
    for layer in LAYERS:
        assert struct.unpack_from("<5I", data, at) == layer
        inputs, outputs_, kernel, _, _ = layer
        at += 20
        w = np.frombuffer(data, "<f4", inputs * outputs_ * kernel, at).reshape(outputs_, kernel, inputs)
        at += w.nbytes
        b = np.frombuffer(data, "<f4", outputs_, at)
        at += b.nbytes
        weights.append((w.transpose(1, 2, 0).reshape(-1, outputs_).copy(), b.copy()))
    return weights


def save_golden(weights, path: Path):
    """What the Rust side must reproduce for one second of a synthetic signal.

    Little-endian: u32 samples, i16 PCM (times 1/32768), u32 frames, f32 features `[frames, 40]`, f32 outputs
    `[frames, 5]`; the last 8 frames of the outputs see zeros for features ahead of the end.
    """
    n = np.arange(16_000)
    rng = np.random.default_rng(4)
    glide = np.cumsum(120 + 60 * np.sin(2 * np.pi * n / 9000)) / 16_000
    voice = sum(np.sin(2 * np.pi * k * glide) / (1 + abs(k - 6)) for k in range(1, 40))
    pcm = 0.12 * voice * np.maximum(0, np.sin(2 * np.pi * n / 5000)) + 0.01 * rng.standard_normal(len(n))
    pcm[12_000:] *= 1e-3
    pcm = np.clip(np.round(pcm * 32768), -32768, 32767).astype("<i2")
    x = features.features(pcm.astype(np.float32) / 32768)
    y = outputs(weights, x)
    path.write_bytes(
        struct.pack("<I", len(pcm)) + pcm.tobytes() + struct.pack("<I", len(x))
        + x.astype("<f4").tobytes() + y.astype("<f4").tobytes()
    )
